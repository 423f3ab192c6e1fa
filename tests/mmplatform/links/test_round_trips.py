"""What the latest round trips of a link say: the shortest, and what nine of ten take at most."""

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.links.round_trips import ENOUGH, QUEUED, RECENT, SHORTEST_OF, LinkTrips


def of(*seconds: float) -> LinkTrips:
    trips = LinkTrips()
    for each in seconds:
        trips.add(each)
    return trips


def test_nine_of_ten_take_at_most_so_long() -> None:
    assert of().p90 == of().shortest == 0.0
    assert of(0.3).p90 == 0.3
    assert of(1.3, 0.3).p90 == 0.3, "one slow answer of few says nothing"
    assert of(*[0.3] * 9, 1.3).p90 == 0.3
    assert of(*[0.3] * 8, 1.3, 1.3).p90 == 1.3
    assert of(*[1.3] * 4, *[0.3] * RECENT).p90 == 0.3, "what is long ago does not count"


def test_the_shortest_is_that_of_the_latest() -> None:
    assert of(0.1, *[0.3] * SHORTEST_OF).shortest == 0.3
    assert of(0.3, 0.2, 0.4).shortest == 0.2


def test_what_waited_behind_our_own_traffic_says_nothing_of_losses() -> None:
    trips = of(*[0.3] * ENOUGH)
    for _ in range(RECENT):
        trips.add(5.0, QUEUED + 1)
    assert trips.p90 == 0.3
    trips.add(5.0, QUEUED)
    trips.add(5.0, QUEUED)
    assert trips.p90 == 5.0


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=RECENT))
def test_at_least_nine_of_ten_are_no_longer(seconds: list[float]) -> None:
    trips = of(*seconds)
    assert trips.p90 in seconds
    assert trips.enough == (len(seconds) >= ENOUGH)
    if trips.enough:
        assert sum(each <= trips.p90 for each in seconds) * 10 >= len(seconds) * 9
