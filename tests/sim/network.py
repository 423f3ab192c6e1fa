"""A full mesh of pure peers on a virtual clock: latency, links that die, nodes that are killed, all from one seed.

After each start a node has no handlers for a while: what friends send is kept until then, what strangers send is left
with them. Half of the pairs are friends.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations, count
from typing import Any

from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import TAKEN, UNHEARD, End, Record
from mmplatform.message import Outcome as MessageOutcome
from tests.sim.endpoint import KEEP, LATER, LEAVE, Answer, Endpoint, Key, Link

SECOND = 1000  # of the virtual clock, in milliseconds
TOPICS = ["a", "b", "c"]
ANSWERS: list[Answer] = [TAKEN, UNHEARD, (End.REFUSED, "busy"), (End.FAILED, "ValueError: no"), LATER]


@dataclass
class Outcome:
    """What a run came to; ``repeated`` are messages whose receiver was killed before it saved that it handled them."""

    seed: int
    sent: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    kept: int = 0  # times that a message was kept for a handler to come
    left: int = 0  # times that one was left with its sender
    kills: int = 0
    cuts: int = 0
    took: float = 0.0  # seconds of the virtual clock
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ends = ", ".join(f"{state} {number}" for state, number in sorted(self.ends.items()))
        return (
            f"seed {self.seed}: sent {self.sent}, {ends}, kept {self.kept}, left {self.left}, "
            f"repeated at kill {self.repeated}, kills {self.kills}, cuts {self.cuts}, "
            f"{self.took:.0f} s of its own time, wrong: {self.wrong or 'nothing'}"
        )


class Node:
    """All endpoints of one node, by peer. Its epoch grows with each start."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.epoch = 1
        self.ends: dict[int, Endpoint] = {}


class Pair:
    """Two nodes' link and its fate; the payload of a message is its number."""

    def __init__(self, near: Endpoint, far: Endpoint) -> None:
        self.near, self.far = near, far
        self.link: Link | None = None


class Network:
    """``run`` plays everything and says what came of it."""

    def __init__(self, seed: int, peers: int, messages: int, trouble: float = 3.0) -> None:
        self.draw = random.Random(seed)
        self.outcome = Outcome(seed)
        self.now = 0
        self.trouble = trouble
        self.messages = messages
        self.latency: dict[Link, int] = {}
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self.nodes = [Node(name) for name in range(peers)]
        self.owner: dict[Endpoint, tuple[int, int]] = {}
        self.pairs: list[Pair] = []
        self.handled: dict[tuple[int, int, int, int, int], int] = {}
        self.unsaved: dict[Endpoint, list[tuple[int, int, int, int, int]]] = {}
        self.last: dict[tuple[int, int, int, str], tuple[int, int]] = {}
        self.friends: set[Endpoint] = set()  # the near ends
        self.listening: set[Endpoint] = set()  # those whose node has handlers by now
        self.expected: dict[tuple[int, int, int, int, int], str] = {}
        for a, b in combinations(self.nodes, 2):
            for near, far in ((a, b), (b, a)):
                end = near.ends[far.name] = Endpoint(self._handle, self._settled, self._ended, near.epoch)
                self.owner[end] = (near.name, far.name)
                self.unsaved[end] = []
            if self.draw.random() < 0.5:
                self.friends |= {a.ends[b.name], b.ends[a.name]}
            self.pairs.append(Pair(a.ends[b.name], b.ends[a.name]))

    def at(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self.now + int(delay), next(self._order), action, arguments))

    def run(self) -> Outcome:
        for pair in self.pairs:
            self._dial(pair)
        self.at(0, self._send)
        for pair in self.pairs:
            self.at(self.draw.expovariate(self.trouble / (3 * SECOND)), self._cut, pair)
        for node in self.nodes:
            self._boot(node)
            self.at(self.draw.expovariate(self.trouble / (15 * SECOND)), self._kill, node)
        self._play()
        for pair in self.pairs:  # whatever happened, one fresh link and a quiet network settle everything
            if pair.link is not None:
                self._end(pair.link)
            self._dial(pair)
        self._play()
        self._judge()
        return self.outcome

    def _play(self) -> None:
        while self._events:
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)

    # Applications.

    def _send(self) -> None:
        """One message from somebody to somebody, then the next a little later."""
        if self.outcome.sent == self.messages:
            return
        sender, receiver = self.draw.sample(self.nodes, 2)
        end = sender.ends[receiver.name]
        lane = self.draw.choice([0, 1, 2, 2, 2, 3])
        size = self.draw.choice([0, 10, 100, 1000, 1000, 200_000])
        lives = self.draw.choice([0.5, 5, 10_000, 10_000, 10_000]) * SECOND
        key = end.accept(lane, self.draw.choice(TOPICS), bytes(size), self.now + int(lives))
        self.expected[sender.name, receiver.name, *key] = ""
        self.outcome.sent += 1
        self._later(end)
        self.at(self.draw.expovariate(1 / 20), self._send)

    def _boot(self, node: Node) -> None:
        """A start: each handler comes a little later, and may be there at once."""
        for end in node.ends.values():
            self.listening.discard(end)
            self.at(self.draw.choice([0, 100, 2000, 5000]), self._listen, end, end.receiver)

    def _listen(self, end: Endpoint, run: object) -> None:
        if end.receiver is run:
            self.listening.add(end)
            self._ask_again(end, run)
            self._hand_held(end, run)

    def _ask_again(self, end: Endpoint, run: object) -> None:
        """Ask for what was left. When there is no link, or it dies with the question, the next one brings it anyway."""
        if end.receiver is run and end.link is not None:
            link, to = end.link, end.link.other(end)
            for _ in range(end.ask_again()):
                self._under_way(link, to)

    def _hand_held(self, end: Endpoint, run: object) -> None:
        """Hand over a few messages that were kept, then the next ones a little later."""
        if end.receiver is run and end.hand_held(self.now, self.draw.choice([1, 1, 5])):
            self._later(end)
            self.at(self.draw.expovariate(1 / 50), self._hand_held, end, run)

    def _handle(self, end: Endpoint, lane: int, epoch: int, record: Record) -> Answer:
        if end not in self.listening:
            self.outcome.kept += end in self.friends
            self.outcome.left += end not in self.friends
            return KEEP if end in self.friends else LEAVE
        receiver, sender = self.owner[end]
        name = (sender, receiver, lane, epoch, record.seq)
        if name in self.handled:
            if self.handled[name] != -1:
                self.outcome.wrong.append(f"{name} was handled twice")
            self.outcome.repeated += 1
        place = sender, receiver, lane, record.topic
        if self.last.get(place, (0, 0)) >= (epoch, record.seq):
            self.outcome.wrong.append(f"{name} came out of order")
        self.last[place] = epoch, record.seq
        self.handled[name] = self.now
        self.unsaved[end].append(name)
        held = (lane, epoch, record.seq) in end.held
        answer = self.draw.choices(ANSWERS[:-1] if held else ANSWERS, [6, 1, 1, 1, 2][: 4 if held else 5])[0]
        if answer == LATER:
            self.at(self.draw.expovariate(1 / 200), self._finish, end, end.receiver, record)
        return answer

    def _finish(self, end: Endpoint, run: object, record: Record) -> None:
        for index, (_, each) in enumerate(end.unfinished):
            if each is record and end.receiver is run:
                end.finish(index, TAKEN)
                self._later(end)
                return

    def _settled(self, end: Endpoint, settled: Settled) -> None:
        kept = {seq for low, high, _ in settled.kept for seq in range(low, high + 1)}
        for seq in settled.seqs:
            if seq not in kept:
                outcome = settled.outcomes.get(seq)
                state = outcome.state if outcome is not None else "delivered"
                self._note_end(end, (settled.lane, settled.epoch, seq), state)

    def _ended(self, end: Endpoint, key: Key, outcome: MessageOutcome) -> None:
        self._note_end(end, key, outcome.state)

    def _note_end(self, end: Endpoint, key: Key, state: str) -> None:
        sender, receiver = self.owner[end]
        name = (sender, receiver, *key)
        if name not in self.expected:
            return  # a receipt
        if self.expected[name] in ("", state):
            self.expected[name] = state
        if self.expected[name] == "delivered" and name not in self.handled:
            self.outcome.wrong.append(f"{name} is said to be delivered, but was not")

    # The network.

    def _later(self, end: Endpoint) -> None:
        self.at(0, self._flush, end)

    def _flush(self, end: Endpoint) -> None:
        """What a turn of the loop does: save, then acknowledge and send."""
        end.checkpoint()
        self.unsaved[end].clear()
        link = end.link
        if link is None:
            end.expire(self.now)
        while end.flush(self.now):
            assert link is not None
            self._under_way(link, link.other(end))

    def _under_way(self, link: Link, to: Endpoint) -> None:
        self.at(self._latency(link), self._arrive, link, to)

    def _latency(self, link: Link) -> float:
        """Every frame of a link takes as long, so they keep their order."""
        return self.latency.setdefault(link, self.draw.choice([1, 5, 40, 300]))

    def _arrive(self, link: Link, to: Endpoint) -> None:
        if not link.alive or not link.queues[to]:
            return
        greeted = to not in link.hello
        link.deliver(to, self.now)
        if not greeted and to is link.far:
            self._under_way(link, link.dialler)
        self._later(to)
        if to.torn:
            to.torn = False
            self.at(SECOND, self._ask_again, to, to.receiver)

    def _dial(self, pair: Pair) -> None:
        """A link comes up; sometimes a second one, dialled by the other side."""
        near, far = (pair.near, pair.far) if self.draw.random() < 0.5 else (pair.far, pair.near)
        pair.link = Link(near, far, self.draw.choice([1000, 16_000, 64_000]))
        self._under_way(pair.link, far)

    def _cut(self, pair: Pair) -> None:
        """The link dies; a new one is dialled after a while, or was already."""
        if self.outcome.sent == self.messages:
            if pair.link is None or not pair.link.alive:
                self._dial(pair)
            return
        old = pair.link
        if self.draw.random() < 0.4:
            self._dial(pair)
        else:
            self.at(self.draw.expovariate(1 / (2 * SECOND)), self._dial, pair)
        if old is not None:
            self.at(self.draw.choice([0, 0, 20, 500]), self._end, old)
        self.outcome.cuts += 1
        self.at(self.draw.expovariate(self.trouble / (3 * SECOND)), self._cut, pair)

    def _end(self, link: Link) -> None:
        if link.alive:
            link.cut()
            for end in (link.dialler, link.far):
                self._later(end)

    def _kill(self, node: Node) -> None:
        """SIGKILL: what was handled and not saved comes again."""
        if self.outcome.sent == self.messages:
            return
        node.epoch += 1
        self.outcome.kills += 1
        for end in node.ends.values():
            for link in list(end.links):
                self._end(link)
            for name in self.unsaved[end] + [self._name(end, stream, record) for stream, record in end.unfinished]:
                self.handled[name] = -1
            self.unsaved[end].clear()
            for place in [place for place in self.last if place[:2] == self.owner[end][::-1]]:
                del self.last[place]
            end.boot(node.epoch)
        self._boot(node)
        for pair in self.pairs:
            if pair.near in node.ends.values() or pair.far in node.ends.values():
                if pair.link is not None:
                    self._end(pair.link)
                self._dial(pair)
        self.at(self.draw.expovariate(self.trouble / (15 * SECOND)), self._kill, node)

    def _name(self, end: Endpoint, stream: Any, record: Record) -> tuple[int, int, int, int, int]:
        receiver, sender = self.owner[end]
        return sender, receiver, stream.lane, stream.epoch, record.seq

    def _judge(self) -> None:
        self.outcome.took = self.now / SECOND
        self.outcome.ends.update(state or "never ended" for state in self.expected.values())
        for name, state in self.expected.items():
            if not state:
                self.outcome.wrong.append(f"{name} never ended")
        for node in self.nodes:
            for end in node.ends.values():
                disk = end.disk
                if not end.sender.idle or any(disk.outbox.values()) or disk.inbox or disk.received:
                    self.outcome.wrong.append(f"{self.owner[end]} still holds something")
