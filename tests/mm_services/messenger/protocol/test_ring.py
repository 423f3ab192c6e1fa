"""Everybody chooses a few neighbours, and all hear from all in few hops."""

import random
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.limits import MAX_HOPS
from mm_services.messenger.protocol.ring import ERRORS, MOST_MARKED, PERIOD, BadMarks, chosen
from mmplatform.identity.keys import SignId

Graph = dict[SignId, set[SignId]]

OWN = SignId("m")
peers = st.sets(st.text("abcdwxyz", min_size=1, max_size=3).map(SignId), max_size=30)


def nodes(count: int, seed: int = 0) -> list[SignId]:
    rnd = random.Random(seed)
    return [SignId(f"{rnd.getrandbits(64):016x}") for _ in range(count)]


def choices(everybody: Collection[SignId], limit: int, bad: Collection[SignId] = ()) -> Graph:
    """Return whom each living one chooses."""
    return {one: set(chosen(one, everybody, bad, limit)) for one in everybody if one not in bad}


def both_ways(graph: Mapping[SignId, Iterable[SignId]]) -> Graph:
    """Return who meets whom: at a meeting bundles go both ways, whoever chose the other."""
    met: defaultdict[SignId, set[SignId]] = defaultdict(set)
    for one, others in graph.items():
        met[one].update(others)
        for other in others:
            met[other].add(one)
    return met


def hops(graph: Mapping[SignId, Collection[SignId]], start: SignId) -> dict[SignId, int]:
    """Return in how many hops each is reached."""
    found, waiting = {start: 0}, deque([start])
    while waiting:
        one = waiting.popleft()
        for other in graph.get(one, ()):
            if other not in found:
                found[other] = found[one] + 1
                waiting.append(other)
    return found


# How far it is.


def furthest(graph: Graph, everybody: Iterable[SignId]) -> int:
    """Return the most hops that anything needs; all are reached from everywhere."""
    everybody = set(everybody)
    distances = [hops(graph, one) for one in everybody]
    assert all(set(found) & everybody == everybody for found in distances)
    return max(found[other] for found in distances for other in everybody)


@pytest.mark.parametrize("seed", range(5))
def test_sixty_four_with_six_neighbours_are_six_hops_apart(seed: int) -> None:
    everybody = nodes(64, seed)
    graph = choices(everybody, 6)
    assert furthest(graph, everybody) <= 6
    assert max(map(len, both_ways(graph).values())) <= 12
    assert furthest(both_ways(graph), everybody) <= 4


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_may_be_dead(seed: int, known: bool) -> None:
    """Known to be bad they are not chosen; until then they are chosen in vain, and the others suffice."""
    everybody = nodes(64, seed)
    dead = set(random.Random(seed).sample(everybody, 13))
    living = set(everybody) - dead
    graph = choices(everybody, 6, dead if known else ())
    graph = {one: others & living for one, others in graph.items() if one in living}
    assert furthest(graph, living) <= 10
    assert furthest(both_ways(graph), living) <= 4
    assert not known or {len(others) for others in graph.values()} == {6}


@pytest.mark.parametrize("seed", range(5))
def test_two_neighbours_suffice_within_fifty_hops(seed: int) -> None:
    everybody = nodes(64, seed)
    assert furthest(choices(everybody, 2), everybody) == 32 < 50 < MAX_HOPS
    assert furthest(both_ways(choices(everybody, 2)), everybody) == 16


def test_one_neighbour_each_makes_a_ring_that_reaches_all() -> None:
    everybody = nodes(32)
    graph = choices(everybody, 1)
    assert furthest(graph, everybody) == 31
    assert {len(others) for others in both_ways(graph).values()} == {2}


@pytest.mark.parametrize("seed", range(10))
def test_twenty_five_in_ten_zones_hear_from_all(seed: int) -> None:
    """Each is in two zones that overlap like scales, and has two neighbours in each: what one has crosses all."""
    everybody = nodes(25, seed)
    zones = [
        [one for number, one in enumerate(everybody) if zone in (number % 10, (number + 1) % 10)] for zone in range(10)
    ]
    graph: Graph = {one: set() for one in everybody}
    for zone in zones:
        for one, others in choices(zone, 2).items():
            graph[one] |= others
    assert furthest(graph, everybody) <= 10
    assert max(map(len, graph.values())) <= 4


# Who is chosen.


@given(peers, peers, st.integers(0, 40))
def test_so_many_are_chosen_and_the_good_ones_first(carriers: set[SignId], bad: set[SignId], limit: int) -> None:
    found = chosen(OWN, carriers | {OWN}, bad, limit)
    assert len(found) == len(set(found)) == (min(limit, len(carriers)) if limit else len(carriers))
    assert set(found) <= carriers
    good = [one in bad for one in found]
    assert not any(good[: len(carriers - bad)]) or len(found) == len(carriers)
    assert found == chosen(OWN, sorted(carriers), sorted(bad, reverse=True), limit)


@given(peers, st.integers(1, 6))
def test_the_distances_double_and_a_clash_slides_on(carriers: set[SignId], limit: int) -> None:
    ring = sorted(carriers, key=lambda one: (one < OWN, one))
    free, expected = list(ring), []
    for power in range(min(limit, len(ring))):
        place = (2**power - 1) % len(ring)
        expected.append(next(one for one in ring[place:] + ring[:place] if one in free))
        free.remove(expected[-1])
    assert chosen(OWN, carriers, set(), limit) == (expected if limit < len(ring) else ring)


def test_a_bad_one_is_passed_over_and_taken_when_nobody_else_is_left() -> None:
    a, b, c, d = (SignId(one) for one in "nopq")
    assert chosen(OWN, [a, b, c, d], [], 2) == [a, b]
    assert chosen(OWN, [a, b, c, d], [a], 2) == [b, c]
    assert chosen(OWN, [a, b, c, d], [a, b, c], 2) == [d, b]
    assert chosen(OWN, [a, b, c, d], [a, b, c, d], 1) == [a]


def test_few_changes_when_one_comes_or_goes() -> None:
    """Meetings go on: whoever is not near the gap keeps most of its neighbours."""
    everybody = nodes(64)
    before, after = choices(everybody, 6), choices(everybody[1:], 6)
    kept = sum(len(before[one] & after[one]) for one in after)
    assert kept > 0.8 * 6 * len(after)


# Bad marks.


def test_ten_errors_in_an_hour_make_a_bad_one() -> None:
    marks = BadMarks()
    for number in range(ERRORS):
        assert marks.bad(1000.0 + number) == set()
        marks.note(OWN, 1000.0 + number)
    assert marks.bad(1010.0) == {OWN}
    assert marks.count(OWN, 1010.0) == ERRORS
    assert marks.bad(1000.0 + PERIOD) == set()  # the first one is forgotten
    assert marks.count(OWN, 1000.0 + PERIOD) == ERRORS - 1
    assert marks.bad(1009.0 + PERIOD) == set()
    assert marks.count(OWN, 1009.0) == 0  # not only not counted


def test_errors_that_are_spread_out_make_nobody_bad() -> None:
    marks = BadMarks()
    for number in range(100):
        marks.note(OWN, number * PERIOD / (ERRORS - 1))
        assert marks.bad(number * PERIOD / (ERRORS - 1)) == set()


def test_a_clock_that_is_put_back_forgives() -> None:
    marks = BadMarks()
    for _ in range(ERRORS):
        marks.note(OWN, 10_000.0)
    assert marks.bad(9_000.0) == set()


def test_the_marks_of_a_crowd_take_no_more_room() -> None:
    marks = BadMarks()
    for number in range(3 * MOST_MARKED):
        marks.note(SignId(str(number)), 1.0)
        marks.note(OWN, 1.0)
    assert marks.bad(1.0) == {OWN}
    assert sum(marks.count(SignId(str(number)), 1.0) for number in range(3 * MOST_MARKED)) == MOST_MARKED - 1
