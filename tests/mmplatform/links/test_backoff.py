"""Delays double up to a bound, and chance keeps peers out of step."""

from itertools import pairwise

from mmplatform.links.backoff import FIRST_DELAY, LONGEST_DELAY, Backoff


def test_delays_double_up_to_a_minute_with_jitter() -> None:
    backoff = Backoff(lambda: 0.0)
    delays = [backoff.next() for _ in range(12)]
    assert delays[0] == FIRST_DELAY
    assert all(later == min(2 * earlier, LONGEST_DELAY) for earlier, later in pairwise(delays))
    backoff.reset()
    assert backoff.next() == FIRST_DELAY
    assert Backoff(lambda: 1.0).next() == FIRST_DELAY / 2
