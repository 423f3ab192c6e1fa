"""The queues of pairs against a model: order, turns, sums that are right, and nobody pays for another."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm_relay.routing.flows import OVERHEAD, QUANTUM, Bounds, Pair, Queues, Seat, cost
from mm_transports.relay.protocol.items import PEER, RELAY, Carried, Data, Shut
from tests.sim.relay.world import key_of

BOUNDS = Bounds(pause=2000, pair=10_000, peer=20_000, relay=30_000, seat=25_000, total=60_000)


class FakeSession:
    address = ""
    full = True

    def __init__(self, name: str, role: int = PEER) -> None:
        self.key, self.role = key_of(name), role

    def tell(self, item: object) -> None: ...

    def end(self, reason: str, retry: float = 0.0) -> None: ...


def seat(name: str, role: int = PEER, process: str = "") -> Seat:
    return Seat(FakeSession(name, role), process)


def pair(source: Seat, target: Seat) -> Pair:
    return Pair(source.key, target.key, source, target)


def data(size: int, number: int = 0) -> Data:
    return Data(bytes(32), number, bytes(size))


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queues = Queues(BOUNDS)
        self.sources = [seat("a"), seat("b"), seat("r", RELAY), seat("p", RELAY, "p1")]
        self.targets = [seat("x"), seat("y"), seat("z", RELAY)]
        self.pairs = [pair(source, target) for source in self.sources for target in self.targets]
        self.model: dict[Pair, list[object]] = {each: [] for each in self.pairs}
        self.number = 0

    @rule(index=st.integers(0, 11), size=st.one_of(st.integers(0, 200), st.integers(0, 9000)))
    def put(self, index: int, size: int) -> None:
        self.number += 1
        chosen, item = self.pairs[index], data(size, self.number)
        self.model[chosen].append(item)
        for each in self.queues.put(chosen, item):
            assert each.items
            assert self.queues.clear(each) == self.model[each]
            self.model[each] = []

    @rule(index=st.integers(0, 2), times=st.integers(1, 30))
    def take(self, index: int, times: int) -> None:
        for _ in range(times):
            if self.targets[index].ring:
                chosen, item = self.queues.take(self.targets[index])
                assert chosen.outlet is self.targets[index]
                assert item is self.model[chosen].pop(0)

    @rule(index=st.integers(0, 11))
    def clear(self, index: int) -> None:
        assert self.queues.clear(self.pairs[index]) == self.model[self.pairs[index]]
        self.model[self.pairs[index]] = []

    @rule(index=st.integers(0, 11), payer=st.integers(0, 3), outlet=st.integers(0, 2))
    def move(self, index: int, payer: int, outlet: int) -> None:
        self.queues.move(self.pairs[index], self.sources[payer], self.targets[outlet])

    @precondition(lambda self: self.queues.size)
    @rule()
    def all_come_out(self) -> None:
        for target in self.targets:
            while target.ring:
                chosen, item = self.queues.take(target)
                assert item is self.model[chosen].pop(0)

    @invariant()
    def sums_are_right(self) -> None:
        sizes = {each: sum(cost(item) for item in items) for each, items in self.model.items()}  # type: ignore[arg-type]
        assert all(each.size == size for each, size in sizes.items())
        assert self.queues.size == sum(sizes.values())
        assert self.queues.count == sum(len(items) for items in self.model.values())
        for source in self.sources:
            assert source.owed == sum(size for each, size in sizes.items() if each.payer is source)
        for target in self.targets:
            assert target.held == sum(size for each, size in sizes.items() if each.outlet is target)
            assert set(target.ring) == {each for each in self.pairs if each.items and each.outlet is target}
            assert len(set(target.ring)) == len(target.ring)
        assert set(self.queues._waiting) == {each for each in self.pairs if each.items}

    @invariant()
    def turns_are_bounded(self) -> None:
        assert all(0 <= each.credit <= QUANTUM + 9000 + OVERHEAD for each in self.pairs)


class Bounded(Model):
    """As nothing moves here, bounds hold after every step."""

    move = None  # type: ignore[assignment]

    @invariant()
    def bounds_hold(self) -> None:
        assert all(each.size <= BOUNDS.pair for each in self.pairs)
        assert all(each.owed <= BOUNDS.peer for each in self.sources[:2])
        assert self.sources[2].owed <= BOUNDS.relay
        assert all(each.held <= BOUNDS.seat for each in self.targets)
        assert self.queues.size <= BOUNDS.total


Model.TestCase.settings = Bounded.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
TestBounded = Bounded.TestCase


def test_turns_are_by_bytes() -> None:
    queues, target = Queues(), seat("x")
    large, small = pair(seat("a"), target), pair(seat("b"), target)
    for _ in range(100):
        queues.put(large, data(QUANTUM))
    for _ in range(1000):
        queues.put(small, data(100))
    told = {large: 0, small: 0}
    for _ in range(700):
        chosen, item = queues.take(target)
        told[chosen] += cost(item)
    assert abs(told[large] - told[small]) <= 3 * QUANTUM


def test_the_largest_of_a_crowd_gives_way() -> None:
    queues, target = Queues(BOUNDS), seat("x")
    heavy = pair(seat("heavy"), target)
    light = [pair(seat(f"light{number}"), target) for number in range(20)]
    for _ in range(9):
        assert queues.put(heavy, data(1000 - OVERHEAD)) == []
    victims: list[Pair] = []
    for number in range(20):
        victims += queues.put(light[number], data(850 - OVERHEAD))
        for each in victims:
            queues.clear(each)
    assert victims == [heavy]


def test_who_takes_most_of_the_relay_gives_way() -> None:
    queues = Queues(BOUNDS)
    heavy = [pair(source, seat(f"x{number}")) for source in [seat("heavy")] for number in range(10)]
    for each in heavy:
        queues.put(each, data(1900 - OVERHEAD))
    victims: list[Pair] = []
    for number in range(11):
        victims += queues.put(pair(seat(f"s{number}"), seat(f"t{number}")), data(4000 - OVERHEAD))
        for each in victims:
            queues.clear(each)
    assert victims
    assert {each.payer for each in victims} == {heavy[0].payer}


@pytest.mark.parametrize(("count", "crowded"), [(1, False), (8, True)])
def test_a_pause_is_due_early(count: int, crowded: bool) -> None:
    queues = Queues(BOUNDS)
    each = pair(seat("a"), seat("x"))
    for _ in range(count):
        queues.put(each, data(0))
    assert queues.crowded(each) is crowded


def test_a_seat_that_speaks_for_many_is_told_who_says_it_to_whom() -> None:
    shut = Shut(key_of("a"), 1, "closed")
    assert pair(seat("a"), seat("x")).wrap(shut) is shut
    assert pair(seat("a"), seat("x", RELAY)).wrap(shut) == Carried(key_of("a"), key_of("x"), shut)
