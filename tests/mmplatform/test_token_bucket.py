"""A burst is free, then the rate counts, and a debt is paid by waiting."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.token_bucket import BURST, TokenBucket, TokenBuckets


def test_a_burst_is_free_and_then_the_rate_counts() -> None:
    bucket = TokenBucket(100, now=5.0)
    assert bucket.spend(int(100 * BURST), 5.0) == 0
    assert bucket.spend(50, 5.0) == 0.5
    assert bucket.spend(0, 5.25) == 0.25
    assert bucket.spend(0, 5.5) == 0
    assert bucket.spend(100, 6.5) == 0


def test_no_limit() -> None:
    assert TokenBucket(0, 0.0).spend(10**12, 0.0) == 0


def test_of_too_many_buckets_the_one_that_nobody_asked_for_is_forgotten() -> None:
    buckets: TokenBuckets[str] = TokenBuckets(100, most=2, burst=1.0)
    assert buckets.of("a", 0.0).spend(150, 0.0) == 0.5
    buckets.of("b", 0.0).spend(150, 0.0)
    assert buckets.of("a", 0.0).spend(0, 0.0) == 0.5
    buckets.of("c", 0.0)
    assert buckets.of("a", 0.0).spend(0, 0.0) == 0.5
    assert buckets.of("b", 0.0).spend(0, 0.0) == 0


@given(st.integers(1, 10**6), st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 10)), max_size=50))
def test_who_waits_as_told_never_exceeds_the_rate(rate: int, spent: list[tuple[int, float]]) -> None:
    bucket, now, total = TokenBucket(rate, 0.0), 0.0, 0
    for amount, pause in spent:
        now += pause
        total += amount
        now += bucket.spend(amount, now)
        assert total <= rate * (BURST + now) * (1 + 1e-9) + 1e-6


def test_the_level_says_what_is_left() -> None:
    bucket = TokenBucket(10, 0.0, burst=2.0)
    bucket.spend(15, 0.0)
    assert [bucket.level(now) for now in (0.0, 1.0, 9.0)] == [5, 15, 20]
    assert TokenBucket(0, 0.0).level(5.0) == inf
