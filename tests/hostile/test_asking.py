"""What honest peers note: a stall counts for all that waited in it."""

from tests.hostile.asking import OUTSTANDING, RoundTrips, percentile
from tests.support.waiting import pace


async def test_what_is_under_way_counts_with_its_age() -> None:
    trips = RoundTrips()
    quick, stalled = trips.begin(), trips.begin()
    trips.end(quick)
    await pace(0.05)
    taken = sorted(trips.take())
    assert len(taken) == 2
    assert taken[0] < 0.05 <= taken[1]
    await pace(0.01)
    trips.end(stalled)
    [late] = trips.take()
    assert late > taken[1]
    assert trips.take() == []


def test_enough_under_way_is_enough() -> None:
    trips = RoundTrips()
    for _ in range(OUTSTANDING):
        assert not trips.full
        trips.begin()
    assert trips.full


def test_percentiles() -> None:
    assert percentile([]) == 0.0
    assert percentile([1.0]) == 1.0
    assert percentile([float(n) for n in range(1000)]) == 990.0
