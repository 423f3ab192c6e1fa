"""One sender and one receiver under everything that can happen to them: Hypothesis looks for a way to break the rules.

Links overlap, are cut at any point with all they carry, cut records differently, and old frames come again, as mail
would bring them. Both sides are killed; the receiver keeps its last checkpoint, or nothing. Messages that no handler
takes are kept, and their ends told by receipts, or left with their sender, and asked for again.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mmplatform.delivery import incoming_stream
from mmplatform.delivery import outgoing_stream as streaming
from mmplatform.delivery import receiver as receiving
from mmplatform.delivery import sender as sending
from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import OVERHEAD, TAKEN, UNHEARD, End, Ending, Record
from mmplatform.errors import ProtocolError
from mmplatform.message import Outcome
from tests.sim.endpoint import KEEP, LATER, LEAVE, Answer, Disk, Endpoint, Key, Link

SMALL_LIMITS = [
    (streaming, "WINDOW", 8),
    (streaming, "WINDOW_BYTES", 2000),
    (sending, "LEAST", 1),
    (receiving, "WINDOW", 8),
    (receiving, "PARTIAL_EVERY", 300),
    (incoming_stream, "WINDOW", 8),
    (incoming_stream, "WINDOW_BYTES", 2000),
    (incoming_stream, "MAX_RANGES", 2),
]
BUSY: Ending = (End.REFUSED, "busy")
ANSWERS: list[Answer] = [TAKEN, TAKEN, UNHEARD, BUSY, LATER, LATER, KEEP, LEAVE]
LARGEST = st.sampled_from([100, 130, 400])  # what a link takes in one frame


class Delivery(RuleBasedStateMachine):
    """``a`` sends, ``b`` receives."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = [patch.object(module, name, value) for module, name, value in SMALL_LIMITS]
        for each in self.patches:
            each.start()
        self.now = 1000
        self.runs = [1]
        self.runs_of_b = 1
        self.a = Endpoint(self.unexpected, self.settled, self.end_of_kept, 1)
        self.b = Endpoint(self.handle, self.receipt_settled, self.unexpected_end, 1)
        self.links: list[Link] = []
        self.answer: Answer = TAKEN  # what the handler says next
        self.accepted: dict[Key, Record] = {}
        self.states: dict[Key, str] = {}  # how each message ended
        self.settled_now: set[Key] = set()  # in this run of the sender
        self.handed: dict[Key, int] = {}
        self.excused: set[Key] = set()  # handled after the last checkpoint of a receiver that was killed
        self.saved: set[Key] = set()  # handled at the last checkpoint
        self.handled: set[Key] = set()
        self.latest: dict[tuple[int, str], tuple[int, int]] = {}  # (lane, topic) -> the last in this run of b
        self.frames: list[bytes] = []  # old ones that may come again

    def teardown(self) -> None:
        try:
            self.heal()
        finally:
            self.stop_patching()

    def stop_patching(self) -> None:
        for each in self.patches:
            each.stop()

    # What the machines say.

    def unexpected(self, *_: object) -> Answer:
        raise AssertionError("b sends nothing but receipts")

    def unexpected_end(self, *_: object) -> None:
        raise AssertionError("a keeps no receipts")

    def receipt_settled(self, end: Endpoint, settled: Settled) -> None:
        assert not settled.outcomes
        assert not settled.kept

    def handle(self, end: Endpoint, lane: int, epoch: int, record: Record) -> Answer:
        if self.answer in (KEEP, LEAVE):
            return self.answer
        key = (lane, epoch, record.seq)
        assert self.accepted[key].payload == record.payload
        assert key not in self.handed or key in self.excused, f"{key} was handed out twice"
        if key not in self.excused:  # what was at work at a kill comes again behind what was kept meanwhile
            place, topic = (self.runs.index(epoch), record.seq), (lane, record.topic)
            assert place > self.latest.get(topic, (-1, 0)), f"{key} came after {self.latest[topic]}"
            self.latest[topic] = place
        self.handed[key] = self.handed.get(key, 0) + 1
        self.excused.discard(key)
        held = key in self.b.held
        if self.answer != LATER or held:
            self.handled.add(key)
        return TAKEN if self.answer == LATER and held else self.answer

    def settled(self, end: Endpoint, settled: Settled) -> None:
        assert settled.base <= end.sender.base(settled.lane, settled.epoch)
        assert settled.outcomes.keys() <= set(settled.seqs)
        kept = {seq for low, high, _ in settled.kept for seq in range(low, high + 1)}
        for seq in settled.seqs:
            key = (settled.lane, settled.epoch, seq)
            assert key not in self.settled_now, f"{key} was settled twice"
            self.settled_now.add(key)
            outcome = settled.outcomes.get(seq)
            if seq not in kept:
                self.end(key, "delivered" if outcome is None else outcome.state)

    def end_of_kept(self, end: Endpoint, key: Key, outcome: Outcome) -> None:
        self.end(key, outcome.state)

    def end(self, key: Key, state: str) -> None:
        if self.states.setdefault(key, state) == "delivered":
            assert key in self.handed, f"{key} was said to be delivered, but nobody got it"

    # What users do.

    @initialize()
    def begin(self) -> None:
        self.open(100, True, 2)

    @rule(
        lane=st.sampled_from([2, 2, 2, 0]),
        size=st.sampled_from([0, 1, 20, 20, 50, 300, 1000, 3000]),
        lives=st.sampled_from([10_000, 10_000, 10_000, 50]),
        number=st.integers(1, 12),
    )
    def accept(self, lane: int, size: int, lives: int, number: int) -> None:
        for _ in range(number):
            payload = bytes([len(self.accepted) % 251]) * size
            topic = "ab"[len(self.accepted) % 3 // 2]
            key = self.a.accept(lane, topic, payload, self.now + lives)
            lane, epoch, seq = key
            self.accepted[key] = self.a.disk.outbox[lane, epoch][seq]

    @rule(which=st.integers(0, 99))
    @precondition(lambda self: len(self.states) < len(self.accepted))
    def cancel(self, which: int) -> None:
        key = pick(sorted(self.accepted.keys() - self.states.keys()), which)
        if self.a.cancel(key):
            assert key not in self.states
            self.states[key] = "cancelled"
            self.settled_now.add(key)

    # What the receiving application does.

    @rule(answer=st.sampled_from(ANSWERS))
    def behave(self, answer: Answer) -> None:
        self.answer = answer

    @rule(which=st.integers(0, 99), answer=st.sampled_from([TAKEN, TAKEN, BUSY]))
    @precondition(lambda self: self.b.unfinished)
    def finish(self, which: int, answer: Ending) -> None:
        index = which % len(self.b.unfinished)
        stream, record = self.b.unfinished[index]
        self.b.finish(index, answer)
        self.handled.add((stream.lane, stream.epoch, record.seq))

    @rule(number=st.integers(1, 5))
    @precondition(lambda self: self.b.held and self.answer not in (KEEP, LEAVE))
    def hand_held(self, number: int) -> None:
        self.b.hand_held(self.now, number)

    @rule()
    @precondition(lambda self: self.b.link)
    def ask_again(self) -> None:
        self.b.ask_again()

    @rule()
    def checkpoint(self) -> None:
        self.a.checkpoint()
        self.b.checkpoint()
        self.saved = set(self.handled)

    # What the network does.

    @rule(largest=LARGEST, dialled=st.booleans(), carried=st.integers(0, 2))
    @precondition(lambda self: len(self.links) < 3)
    def open(self, largest: int, dialled: bool, carried: int) -> None:
        near, far = (self.a, self.b) if dialled else (self.b, self.a)
        self.links.append(Link(near, far, largest))
        for step in range(carried):
            self.carry(-1, to_a=(step == 0) == (far is self.a))

    @rule(which=st.integers(0, 2), largest=st.none() | LARGEST)
    @precondition(lambda self: self.links)
    def cut(self, which: int, largest: int | None) -> None:
        self.links.pop(which % len(self.links)).cut()
        if largest is not None and not self.links:
            self.open(largest, False, 2)

    @rule(
        which=st.integers(0, 2),
        budget=st.sampled_from([1, 90, 250, 1000, 10_000]),
        frames=st.integers(0, 4),
        brought=st.integers(0, 4),
        returned=st.integers(0, 2),
    )
    @precondition(lambda self: self.links)
    def exchange(self, which: int, budget: int, frames: int, brought: int, returned: int) -> None:
        for _ in range(frames):
            self.a.flush(self.now, budget)
        for _ in range(brought):
            self.carry(which, False)
        self.b.flush(self.now)
        for _ in range(returned):
            self.carry(which, True)

    @rule(which=st.integers(0, 2), budget=st.sampled_from([250, 1000]), saved=st.booleans())
    @precondition(lambda self: self.links)
    def exchange_all(self, which: int, budget: int, saved: bool) -> None:
        for _ in range(4):
            self.exchange(which, budget, 3, 3, 2)
            if saved:
                self.checkpoint()

    def carry(self, which: int, to_a: bool) -> None:
        link = self.links[which % len(self.links)]
        end = self.a if to_a else self.b
        if link.queues[end]:
            if not to_a and end not in link.hello:
                self.frames = [*self.frames[-20:], link.queues[end][0]]
            link.deliver(end, self.now)

    @rule(which=st.integers(0, 99))
    @precondition(lambda self: self.frames)
    def repeat_an_old_frame(self, which: int) -> None:
        """Mail may bring what a link brought before; pieces whose beginning is lost are the only thing refused."""
        with suppress(ProtocolError):
            self.b.receive(pick(self.frames, which), self.now)

    @rule(passes=st.sampled_from([1, 10, 60]))
    def pass_time(self, passes: int) -> None:
        self.now += passes
        if self.a.link is None:
            self.a.expire(self.now)

    # What breaks.

    @rule(
        what=st.sampled_from(["sender", "sender", "receiver", "receiver", "disk"]),
        largest=st.none() | LARGEST,
    )
    @precondition(lambda self: self.accepted)
    def kill(self, what: str, largest: int | None) -> None:
        while self.links:
            self.links.pop().cut()
        if what == "sender":
            self.settled_now.clear()
            self.runs.append(self.runs[-1] + 7)
            self.a.boot(self.runs[-1])
        else:
            self.kill_receiver(forgets=what == "disk")
        if largest is not None:
            self.open(largest, True, 2)

    def kill_receiver(self, forgets: bool) -> None:
        self.excused |= self.handed.keys() - self.saved
        if forgets:
            self.b.disk = Disk()
            for key in self.a.disk.received:  # nobody will tell how they ended: a gives them up one day
                self.end(key, "expired")
            self.a.disk.received.clear()
            # What the sender holds comes again: all that is not settled, and after its own restart what a row keeps.
            rows = {(lane, epoch, seq) for (lane, epoch), kept in self.a.disk.outbox.items() for seq in kept}
            self.excused |= rows & self.handed.keys()
            self.frames.clear()
            self.saved.clear()
        self.handled &= self.saved
        self.latest.clear()
        self.runs_of_b += 1
        self.b.boot(self.runs_of_b)

    # What holds always.

    @invariant()
    def windows_hold(self) -> None:
        for lane in self.a.sender._lanes:
            for stream in lane:
                assert len(stream.flight) <= 8
                assert stream.flying == sum(map(sending_size, stream.flight))
                assert len(stream.acked) <= stream.top - stream.base + 1
        for stream in self.b.receiver._streams.values():
            assert len(stream.stash) <= 8
            assert all(stream.done < seq < stream.next for seq in stream.left.numbers)
            assert not stream.finished & stream.left.numbers.keys()
            assert stream.pending_bytes == sum(map(sending_size, stream.stash.values()))
            assert all(seq > stream.done for seq in stream.finished)
            assert stream.done + 1 not in stream.finished
        held = sum(s.assembler.held + s.pending_bytes for s in self.b.receiver._streams.values())
        assert self.b.receiver.account.used == held

    @invariant()
    def the_next_expiry_is_known(self) -> None:
        streams = [stream for lane in self.a.sender._lanes for stream in lane]
        waiting = [r.expires for s in streams for r in islice(s.waiting, bool(s.offset), None) if r.topic]
        assert self.a.sender.next_expiry <= min(waiting, default=sending.NEVER)

    # The network heals.

    def heal(self) -> None:
        for link in self.links:
            link.cut()
        self.answer = TAKEN
        link = Link(self.a, self.b, 130)
        for _ in range(10_000):
            while self.b.unfinished:
                stream, record = self.b.unfinished[0]
                self.b.finish(0, TAKEN)
                self.handled.add((stream.lane, stream.epoch, record.seq))
            self.b.hand_held(self.now, 100)
            if self.b.torn and self.b.link is not None:
                self.b.torn = False
                self.b.ask_again()
            self.a.checkpoint()
            self.b.checkpoint()
            moved = self.a.flush(self.now, 1000) | self.b.flush(self.now)
            for end in (self.a, self.b):
                while link.queues[end]:
                    link.deliver(end, self.now)
                    moved = True
            if not moved:
                break
        unsettled = sorted(self.accepted.keys() - self.states.keys())
        assert not unsettled, f"{unsettled} never end"
        assert self.a.sender.idle
        assert not any(self.a.disk.outbox.values())
        for key, state in self.states.items():
            assert key in self.handed or state in ("expired", "cancelled")
        assert not self.b.disk.inbox
        assert not self.a.disk.received


T = TypeVar("T")


def pick(choices: Sequence[T], which: int) -> T:
    return choices[which % len(choices)]


def sending_size(record: Record) -> int:
    return len(record.payload) + OVERHEAD


Delivery.TestCase.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDelivery = Delivery.TestCase


def walk(seed: int, steps: int) -> Delivery:
    """The same machine, driven at random with the weights of a busy day: reaches further in, but does not shrink."""
    draw = random.Random(seed)
    machine = Delivery()
    actions: list[tuple[int, Callable[[], object]]] = [
        (5, lambda: machine.accept(lane=draw.choice([2, 2, 2, 0]), size=draw.choice([0, 1, 20, 50, 300, 1000, 3000]),
                                   lives=draw.choice([10_000, 10_000, 10_000, 50]), number=draw.randint(1, 9))),
        (1, lambda: len(machine.states) < len(machine.accepted) and machine.cancel(which=draw.randrange(100))),
        (3, lambda: machine.behave(answer=draw.choice(ANSWERS))),
        (4, lambda: machine.b.unfinished and machine.finish(
            which=draw.randrange(100), answer=draw.choice([TAKEN, BUSY]))),
        (4, lambda: machine.b.held and machine.answer not in (KEEP, LEAVE) and machine.hand_held(
            number=draw.randint(1, 5))),
        (1, lambda: machine.b.link and machine.ask_again()),
        (4, machine.checkpoint),
        (2, lambda: len(machine.links) < 3 and machine.open(
            largest=draw.choice([100, 130, 400]), dialled=draw.random() < 0.5, carried=draw.randint(0, 2))),
        (2, lambda: machine.links and machine.cut(which=draw.randrange(3), largest=draw.choice([None, 100, 130, 400]))),
        (8, lambda: machine.links and machine.exchange(
            which=draw.randrange(3), budget=draw.choice([1, 90, 250, 1000, 10_000]), frames=draw.randint(0, 4),
            brought=draw.randint(0, 4), returned=draw.randint(0, 2))),
        (4, lambda: machine.links and machine.exchange_all(
            which=draw.randrange(3), budget=draw.choice([250, 1000]), saved=draw.random() < 0.5)),
        (1, lambda: machine.frames and machine.repeat_an_old_frame(which=draw.randrange(100))),
        (1, lambda: machine.pass_time(passes=draw.choice([1, 10, 60]))),
        (1, lambda: machine.kill(what=draw.choice(["sender", "receiver", "receiver", "sender", "disk"]),
                                 largest=draw.choice([None, 100, 130, 400]))),
    ]  # fmt: skip
    weights = [weight for weight, _ in actions]
    try:
        machine.begin()
        for _ in range(steps):
            draw.choices(actions, weights)[0][1]()
            machine.windows_hold()
            machine.the_next_expiry_is_known()
    except BaseException:
        machine.stop_patching()
        raise
    machine.teardown()
    return machine


@pytest.mark.parametrize("seed", range(60))
def test_a_busy_day(seed: int) -> None:
    machine = walk(seed, 150)
    assert len(machine.handed) > 10
