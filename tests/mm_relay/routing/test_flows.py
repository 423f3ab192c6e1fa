"""The queues of flows against a model: order, turns, sums that are right, and nobody pays for another."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm_relay.routing.flows import OVERHEAD, QUANTUM, Attachment, Bounds, Flow, Queues, cost
from mm_transports.relay.protocol.items import RELAY, Closed, Data, Forwarded
from tests.sim.relay.world import key_of
from tests.support.flows import attachment

BOUNDS = Bounds(pause=2000, flow=10_000, peer=20_000, relay=30_000, attachment=25_000, total=60_000)


def flow(source: Attachment, target: Attachment) -> Flow:
    return Flow(source.key, target.key, source, target)


def data(size: int, number: int = 0) -> Data:
    return Data(bytes(32), number, bytes(size))


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.queues = Queues(BOUNDS)
        self.sources = [attachment("a"), attachment("b"), attachment("r", RELAY), attachment("p", RELAY, "p1")]
        self.targets = [attachment("x"), attachment("y"), attachment("z", RELAY)]
        self.flows = [flow(source, target) for source in self.sources for target in self.targets]
        self.model: dict[Flow, list[object]] = {each: [] for each in self.flows}
        self.number = 0

    @rule(index=st.integers(0, 11), size=st.one_of(st.integers(0, 200), st.integers(0, 9000)))
    def put(self, index: int, size: int) -> None:
        self.number += 1
        chosen, item = self.flows[index], data(size, self.number)
        self.model[chosen].append(item)
        for each in self.queues.put(chosen, item):
            assert each.items
            assert self.queues.clear(each) == self.model[each]
            self.model[each] = []

    @rule(index=st.integers(0, 2), times=st.integers(1, 30))
    def take(self, index: int, times: int) -> None:
        for _ in range(times):
            if self.targets[index].active:
                chosen, item = self.queues.take(self.targets[index])
                assert chosen.egress is self.targets[index]
                assert item is self.model[chosen].pop(0)

    @rule(index=st.integers(0, 11))
    def clear(self, index: int) -> None:
        assert self.queues.clear(self.flows[index]) == self.model[self.flows[index]]
        self.model[self.flows[index]] = []

    @rule(index=st.integers(0, 11), ingress=st.integers(0, 3), egress=st.integers(0, 2))
    def move(self, index: int, ingress: int, egress: int) -> None:
        self.queues.move(self.flows[index], self.sources[ingress], self.targets[egress])

    @precondition(lambda self: self.queues.size)
    @rule()
    def all_come_out(self) -> None:
        for target in self.targets:
            while target.active:
                chosen, item = self.queues.take(target)
                assert item is self.model[chosen].pop(0)

    @invariant()
    def sums_are_right(self) -> None:
        sizes = {each: sum(cost(item) for item in items) for each, items in self.model.items()}  # type: ignore[arg-type]
        assert all(each.size == size for each, size in sizes.items())
        assert self.queues.size == sum(sizes.values())
        assert self.queues.count == sum(len(items) for items in self.model.values())
        for source in self.sources:
            assert source.bytes_brought == sum(size for each, size in sizes.items() if each.ingress is source)
        for target in self.targets:
            assert target.bytes_waiting == sum(size for each, size in sizes.items() if each.egress is target)
            assert set(target.active) == {each for each in self.flows if each.items and each.egress is target}
            assert len(set(target.active)) == len(target.active)
        assert set(self.queues._waiting) == {each for each in self.flows if each.items}

    @invariant()
    def turns_are_bounded(self) -> None:
        assert all(0 <= each.deficit <= QUANTUM + 9000 + OVERHEAD for each in self.flows)


class Bounded(Model):
    """As nothing moves here, bounds hold after every step."""

    move = None  # type: ignore[assignment]

    @invariant()
    def bounds_hold(self) -> None:
        assert all(each.size <= BOUNDS.flow for each in self.flows)
        assert all(each.bytes_brought <= BOUNDS.peer for each in self.sources[:2])
        assert self.sources[2].bytes_brought <= BOUNDS.relay
        assert all(each.bytes_waiting <= BOUNDS.attachment for each in self.targets)
        assert self.queues.size <= BOUNDS.total


Model.TestCase.settings = Bounded.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


TestModel = Model.TestCase


TestBounded = Bounded.TestCase


def test_turns_are_by_bytes() -> None:
    queues, target = Queues(), attachment("x")
    large, small = flow(attachment("a"), target), flow(attachment("b"), target)
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
    queues, target = Queues(BOUNDS), attachment("x")
    heavy = flow(attachment("heavy"), target)
    light = [flow(attachment(f"light{number}"), target) for number in range(20)]
    for _ in range(9):
        assert queues.put(heavy, data(1000 - OVERHEAD)) == []
    victims: list[Flow] = []
    for number in range(20):
        victims += queues.put(light[number], data(850 - OVERHEAD))
        for each in victims:
            queues.clear(each)
    assert victims == [heavy]


def test_who_takes_most_of_the_relay_gives_way() -> None:
    queues = Queues(BOUNDS)
    heavy = [flow(source, attachment(f"x{number}")) for source in [attachment("heavy")] for number in range(10)]
    for each in heavy:
        queues.put(each, data(1900 - OVERHEAD))
    victims: list[Flow] = []
    for number in range(11):
        victims += queues.put(flow(attachment(f"s{number}"), attachment(f"t{number}")), data(4000 - OVERHEAD))
        for each in victims:
            queues.clear(each)
    assert victims
    assert {each.ingress for each in victims} == {heavy[0].ingress}


def test_all_keys_at_one_address_share_a_bound_also_when_they_have_left() -> None:
    """A stranger has any number of keys: each had as much as one may bring, until the whole relay was full."""
    queues, left, held = Queues(), attachment("left", RELAY), 0
    honest = flow(attachment("honest", place=b"elsewhere"), attachment("x"))
    queues.put(honest, data(100_000))
    for number in range(300):
        source, target = attachment(f"s{number}", place=b"there"), attachment(f"t{number}")
        each = flow(source, target)
        for victim in queues.put(each, data(250_000)):
            assert victim is not honest
            queues.clear(victim)
        if each.items:
            queues.move(each, left, target)
        held = max(held, queues.size)
    assert held < 26 * 1024 * 1024
    assert not queues.crowded(honest)


@pytest.mark.parametrize(("count", "crowded"), [(1, False), (8, True)])
def test_a_pause_is_due_early(count: int, crowded: bool) -> None:
    queues = Queues(BOUNDS)
    each = flow(attachment("a"), attachment("x"))
    for _ in range(count):
        queues.put(each, data(0))
    assert queues.crowded(each) is crowded


def test_a_seat_that_speaks_for_many_is_told_who_says_it_to_whom() -> None:
    shut = Closed(key_of("a"), 1, "closed")
    assert flow(attachment("a"), attachment("x")).wrap(shut) is shut
    assert flow(attachment("a"), attachment("x", RELAY)).wrap(shut) == Forwarded(key_of("a"), key_of("x"), shut)
