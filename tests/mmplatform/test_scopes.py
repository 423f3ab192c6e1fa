"""What no peer may do, whoever it is: write a control topic, or reach a handler of a scope that is not its own.

Must 7 of the first issue: 100,000 cases against the door of a platform and its circles, then two real nodes.
"""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform import ControlTopic, Platform
from mmplatform.codec import encode
from mmplatform.delivery.wire import Event
from mmplatform.identity.keys import SignId
from mmplatform.message import Priority
from mmplatform.messaging.results import Result
from tests.support.brute_force import matches
from tests.support.bus import Counted
from tests.support.waiting import until
from tests.support.world import World, identity

CASES = 100_000
PEOPLE = [identity(number).sign_id for number in range(2, 12)]
OWN = identity(1)
WORDS = [
    "self", "friends", "public", "devices", "local", "transports", "directory", "update", "updateRequest", "nodeInfo",
    "requestNodeInfo", "myNodeInfo", "get", "getReply", "put", "online", "chat", "a", "b", "*", ">", "", " ", "*a",
    "Transports", "UPDATE", "é", "\u200b", "\x00", "x" * 300,
]  # fmt: skip
FIRST = ["self", "friends", "public", "*", ">"]
SEGMENTS = [*FIRST, "chat", "a", "b", "update", "transports", "directory", "devices"]

# Written again here, from the design and not from the code.
CONTROL = re.compile(r"(transports|directory)\..+|[^.]+\.update|(friends|devices)\.updateRequest", re.DOTALL)


def well_formed(topic: str) -> bool:
    segments = topic.split(".")
    return len(topic.encode()) <= 255 and all(
        segment and segment.isprintable() and " " not in segment and segment not in ("*", ">") for segment in segments
    )


def scope_of(sender: str, friends: set[str], devices: set[str]) -> str:
    if sender in devices or sender == OWN.sign_id:
        return "self"
    return "friends" if sender in friends else "public"


class Case:
    """A platform whose handlers write down what reaches them, and peers who try everything."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.platform = Platform(identity=OWN, transports=(), connection_info=())
        self.ran: list[tuple[str, str, str]] = []
        self.patterns: dict[str, Callable[..., None]] = {}
        self.friends: set[str] = set()
        self.devices: set[str] = set()

    def change_circles(self) -> None:
        self.friends = set(self.draw.sample(PEOPLE, self.draw.randint(0, 5)))
        self.devices = set(self.draw.sample(PEOPLE, self.draw.randint(0, 3)))
        self.platform.contacts.friends.update(self.friends)
        self.platform.contacts.devices.update(self.devices)

    def change_handlers(self) -> None:
        bus = self.platform.messaging
        if self.patterns and self.draw.random() < 0.5:
            pattern = self.draw.choice(sorted(self.patterns))
            bus.off(pattern, self.patterns.pop(pattern))
            return
        pattern = ".".join([self.draw.choice(FIRST), *self.draw.choices(SEGMENTS, k=self.draw.randint(1, 3))])
        if pattern not in self.patterns:
            self.patterns[pattern] = bus.on(pattern, self._handler(pattern))

    def _handler(self, pattern: str) -> Callable[..., None]:
        return lambda topic, sender, payload: self.ran.append((pattern, topic, sender))

    def attack(self) -> None:
        sender = self.draw.choice(PEOPLE)
        topic = ".".join(self.draw.choices(WORDS, k=self.draw.choice([1, 2, 2, 2, 3, 4])))
        scope = self.platform.contacts.scope(sender)
        gate, data = self.platform.parts.dispatcher, encode("x")
        self.ran.clear()
        how = self.draw.randrange(3)
        result: Any = None
        if how == 0:
            gate.events(scope, sender, [Event(topic, "ms", data)], Counted())
        elif how == 1:
            result = gate.message(scope, sender, topic, "ms", data, lambda result: None)
        else:
            result = gate.request(scope, sender, topic, "ms", data, lambda reply: None)
        self.judge(sender, topic, result)

    def judge(self, sender: str, topic: str, result: Any) -> None:
        scope = scope_of(sender, self.friends, self.devices)
        name = f"{scope}.{topic}"
        expected: list[str] = []
        if well_formed(topic) and not CONTROL.fullmatch(topic):
            expected = [each for each in self.patterns if matches(each.split("."), name.split("."))]
        elif result is not None:
            assert isinstance(result, Result)
            assert str(result.error) == "bad-topic"
        assert sorted(pattern for pattern, _, _ in self.ran) == sorted(expected), (sender, scope, topic)
        for pattern, heard, who in self.ran:
            assert (heard, who) == (name, sender)
            assert not pattern.startswith("self.") or sender in self.devices
            assert not pattern.startswith("friends.") or sender in self.friends - self.devices


@pytest.mark.parametrize("seed", range(4))
async def test_no_peer_reaches_what_is_not_for_its_scope(seed: int) -> None:
    case = Case(seed)
    reached = 0
    for turn in range(CASES // 4):
        if turn % 40 == 0:
            case.change_circles()
        if turn % 10 == 0:
            case.change_handlers()
        case.attack()
        reached += bool(case.ran)
    assert reached > CASES // 100, "the cases are not all refusals"


CONTROL_TOPICS = [
    "transports.myNodeInfo", "transports.requestNodeInfo", "transports.nodeInfo", "transports.connect",
    "transports.online", "directory.get", "directory.getReply", "directory.put", "friends.update", "devices.update",
    "friends.updateRequest", "devices.updateRequest", "anything.update",
]  # fmt: skip
DISGUISES = ["self.chat", "self.directory.put", "friends.chat", "self", "local.chat", "public.self.chat"]


async def attack_for_real(attacker: Platform, victim: SignId, topics: list[str]) -> None:
    """What a changed node would send: past every check of its own, in all three ways."""
    peer = attacker.parts.peers.peer(victim)
    await attacker.connect(victim)
    deliveries = []
    for topic in topics:
        delivery, saved = attacker.parts.outbox.put(peer.queue, Priority.NORMAL, topic, "ms", encode([victim]), 1 << 50)
        await saved
        deliveries.append(delivery)
        peer.exchange.send_event(Event(topic, "ms", encode([victim])), 10)
        reply = peer.exchange.request(topic, "ms", encode([victim]), 10.0, 1.0)
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
    await until(lambda: all(delivery.done for delivery in deliveries))
    await attacker.ping(victim)


@pytest.mark.parametrize("circle", ["devices", "friends", None])
async def test_a_real_peer_of_any_scope(circle: str | None) -> None:
    world = World()
    async with world.node(1) as victim, world.node(2) as attacker:
        await attacker.add(victim.ticket())
        if circle is not None:
            getattr(victim.contacts, circle).add(attacker.sign_id)
        scope = {"devices": "self", "friends": "friends", None: "public"}[circle]
        heard: list[str] = []
        for pattern in (
            ">",
            "self.>",
            "friends.>",
            "public.>",
            "*.*",
            "self.*.update",
            *(f"*.{topic}" for topic in CONTROL_TOPICS),
        ):
            victim.messaging.on(
                pattern, lambda topic, sender, payload: sender == attacker.sign_id and heard.append(topic)
            )
        friends, devices = list(victim.contacts.friends), list(victim.contacts.devices)
        await attack_for_real(attacker, victim.sign_id, [*CONTROL_TOPICS, *DISGUISES])
        assert set(heard) == {f"{scope}.{topic}" for topic in DISGUISES}
        assert (list(victim.contacts.friends), list(victim.contacts.devices)) == (friends, devices)
        for topic in CONTROL_TOPICS:
            with pytest.raises(ControlTopic):
                await attacker.messaging.send(topic, victim.sign_id, 1)
            with pytest.raises(ControlTopic):
                await attacker.messaging.request(topic, victim.sign_id, 1)
