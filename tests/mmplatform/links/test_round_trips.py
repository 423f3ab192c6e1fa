"""What the latest round trips of a link say: the shortest, and what all but one of twenty take at most."""

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.links.round_trips import ENOUGH, QUEUED, RECENT, SHORTEST_OF, SLOW, LinkTrips


def of(*seconds: float) -> LinkTrips:
    trips = LinkTrips()
    for each in seconds:
        trips.add(each)
    return trips


def test_all_but_one_of_twenty_take_at_most_so_long() -> None:
    assert of().p95 == of().shortest == 0.0
    assert of(0.3).p95 == 0.3
    assert of(1.3, 0.3).p95 == 0.3, "one slow answer of few says nothing"
    assert of(*[0.3] * 9, 1.3).p95 == 0.3
    assert of(*[0.3] * 8, 1.3, 1.3).p95 == 1.3
    assert of(*[0.3] * 61, *[1.3] * 3).p95 == 0.3
    assert of(*[0.3] * 60, *[1.3] * 4).p95 == 1.3
    assert of(*[1.3] * 4, *[0.3] * RECENT).p95 == 0.3, "what is long ago does not count"


def test_the_longest_leaves_one_bad_moment_out() -> None:
    assert (of().longest, of(0.3).longest, of(0.3, 1.3, 2.0, 0.4).longest) == (0.0, 0.3, 1.3)
    assert of(2.0, 2.0, *[0.3] * RECENT).longest == 0.3


def test_the_shortest_is_that_of_the_latest() -> None:
    assert of(0.1, *[0.3] * SHORTEST_OF).shortest == 0.3
    assert of(0.3, 0.2, 0.4).shortest == 0.2


def test_what_waited_behind_our_own_traffic_says_nothing_of_losses() -> None:
    trips = of(*[0.3] * ENOUGH)
    for _ in range(RECENT):
        trips.add(5.0, QUEUED + 1)
    assert trips.p95 == 0.3
    trips.add(5.0, QUEUED)
    trips.add(5.0, QUEUED)
    assert trips.p95 == 5.0


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=RECENT))
def test_few_are_longer(seconds: list[float]) -> None:
    trips = of(*seconds)
    assert trips.p95 in seconds
    assert (trips.count, trips.enough) == (len(seconds), len(seconds) >= ENOUGH)
    if trips.enough:
        assert sum(each > trips.p95 for each in seconds) <= max(1, len(seconds) // SLOW)
