"""Who failed lately comes last, and heals."""

from mm_transports.rmb.client.ranks import PERIOD, Ranks


def test_order_by_failures_and_healing() -> None:
    ranks = Ranks()
    assert ranks.sorted("abc", 0) == ["a", "b", "c"]
    ranks.failed("a", 0)
    ranks.failed("a", 10)
    ranks.failed("b", 20)
    assert ranks.sorted("abc", 30) == ["c", "b", "a"]
    assert ranks.sorted("abc", PERIOD + 5) == ["c", "a", "b"]  # one each: the first failure of a is forgotten
    assert ranks.sorted("abc", PERIOD + 20) == ["a", "b", "c"]
