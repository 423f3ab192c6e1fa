"""Platforms: scopes, control topics and events."""

import asyncio
import logging
import time
from typing import Any

import pytest

from mmplatform import (
    LocalError,
    Message,
    RequestFailed,
    Unreachable,
)
from mmplatform.codec import encode
from mmplatform.directory import lookups
from mmplatform.identity.circles import Circle
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import DELIVERED, Delivery
from mmplatform.peers import exchange as exchange_module
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import World, collect, identity, listen_to

# Scopes and control topics.


async def test_scopes_follow_the_circles() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        names: list[str] = []
        for scope in ("self", "friends", "public"):
            bob.messaging.on(f"{scope}.hi", lambda topic, sender, payload: names.append(topic))
        await alice.add(bob.ticket())
        await (await alice.messaging.send("hi", bob.sign_id))
        bob.contacts.friends.add(alice.sign_id)
        await (await alice.messaging.send("hi", bob.sign_id))
        bob.contacts.devices.add(alice.sign_id)
        await (await alice.messaging.send("hi", bob.sign_id))
        assert names == ["public.hi", "friends.hi", "self.hi"]
        assert {status.scope for status in bob.peers()} == {"self"}


async def test_a_device_cannot_write_a_control_topic(caplog: pytest.LogCaptureFixture) -> None:
    async with World().nodes() as [alice, bob]:
        bob.contacts.devices.add(alice.sign_id)
        heard = collect(bob, "self.>")
        await alice.connect(bob.sign_id)
        await until(lambda: bob.parts.peers.peer(alice.sign_id).link)
        heard.clear()
        peer = alice.parts.peers.peer(bob.sign_id)
        queue = alice.parts.outbox.queue(bob.sign_id)
        settled: list[Delivery] = []
        for topic in ("devices.update", "transports.nodeInfo", "a..b", "*", "x.update"):
            delivery, saved = alice.parts.outbox.put(queue, 2, topic, "ms", encode([]), 2**52)
            await saved
            settled.append(delivery)
            peer.exchange.send_event(exchange_module.Event(topic, "ms", encode([])), 10)
            with pytest.raises(RequestFailed, match="bad-topic"):
                await peer.exchange.request(topic, "ms", encode([]), 5.0, 1.0)
        for delivery in settled:
            outcome = await asyncio.gather(delivery, return_exceptions=True)
            assert "bad-topic" in str(outcome[0])
        assert heard == []
        assert alice.sign_id in bob.contacts.devices


async def test_circles_are_updated_over_the_bus_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    keys = [identity(n).sign_id for n in range(1, 9)]
    requests: list[str] = []

    class Friends(Service):
        """The one who knows the friends: pushes them at its start, and when asked."""

        async def start(self, host: ServiceHost) -> None:
            host.messaging.on("self.*.updateRequest", lambda topic, sender, payload: requests.append(topic))
            await host.messaging.send("friends.update", "local", [keys[1], keys[2]])

        async def stop(self) -> None: ...

    async with World().node(1, storage=storage, services=[Friends()], devices=[keys[5]]) as alice:
        assert requests == ["self.friends.updateRequest", "self.devices.updateRequest"]
        assert list(alice.contacts.friends) == [keys[1], keys[2]]
        await alice.messaging.send("friends.update", "local", [keys[3]])
        await alice.messaging.send("devices.update", "local", [keys[4]])
        events = listen_to(alice)
        await alice.messaging.send("friends.update", "local", ["nobody"])
        assert [event[1] for event in events] == ["InvalidKey"]
    async with World().node(1, storage=storage) as again:
        assert (list(again.contacts.friends), list(again.contacts.devices)) == ([keys[3]], [keys[4]])
        again.contacts.friends.discard(keys[3])
    async with World().node(1, storage=storage, friends=Circle("friends", [keys[6]])) as third:
        assert list(third.contacts.friends) == [keys[6]]


async def test_the_topics_of_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    seen: list[tuple[str, Any]] = []
    alice = world.node(1)
    for topic in ("myNodeInfo", "online", "offline", "failed"):
        alice.messaging.on(
            f"self.transports.{topic}", lambda topic, sender, payload: seen.append((topic.split(".")[-1], payload))
        )
    async with alice, world.node(2) as bob:
        assert [topic for topic, _ in seen] == ["myNodeInfo"]
        assert NodeInfo.from_payload(seen[0][1], time.time()).sign_id == alice.sign_id
        assert seen[0][1]["expireTime"] > time.time() * 1000
        await alice.messaging.send("transports.requestMyNodeInfo", "local", {})
        assert seen.pop() == seen[0]

        asked: list[str] = []

        @alice.messaging.on("self.transports.requestNodeInfo")
        async def mdns(topic: str, sender: str, payload: str) -> None:
            asked.append(payload)
            if payload == bob.sign_id:
                assert bob.directory.own_record is not None
                await alice.messaging.send("transports.nodeInfo", "local", bob.directory.own_record.payload())

        await alice.connect(bob.sign_id)
        await alice.disconnect(bob.sign_id)
        await until(lambda: len(seen) == 3)
        assert seen[1:] == [("online", bob.sign_id), ("offline", bob.sign_id)]
        monkeypatch.setattr(lookups, "LOOKUP_TIMEOUT", 0.01)
        with pytest.raises(Unreachable):
            await alice.connect(identity(9).sign_id, timeout=0.1)
        assert ("failed", identity(9).sign_id) in seen
        assert asked == [bob.sign_id, identity(9).sign_id]
        assert {status.found_by for status in alice.peers()} >= {"service"}


async def test_a_ticket_is_a_way_into_the_network_for_services() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        seen: list[Any] = []
        alice.messaging.on("self.transports.nodeInfoBootstrap", lambda topic, sender, payload: seen.append(payload))
        await alice.add(bob.ticket())
        assert [(one["signId"], one["foundBy"]) for one in seen] == [(bob.sign_id, "ticket")]


async def test_a_live_session_needs_no_look_up() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        questions: list[str] = []
        bob.messaging.on("self.transports.requestNodeInfo", lambda topic, sender, payload: questions.append(payload))
        got = collect(alice, "public.>")
        await alice.add(bob.ticket())
        await alice.connect(bob.sign_id)
        bob.directory._forget(alice.sign_id)
        await (await bob.messaging.send("chat", alice.sign_id, "hi"))
        assert got == ["hi"]
        assert questions == []


async def test_a_forged_record_on_the_bus_is_refused_and_told() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        assert bob.directory.own_record is not None
        events = listen_to(alice)
        forged = bob.directory.own_record.payload()
        record = bytearray(forged["record"])  # type: ignore[call-overload]
        record[-1] ^= 1
        forged["record"] = bytes(record)
        await alice.messaging.send("transports.nodeInfo", "local", forged)
        assert [event[1] for event in events] == ["InvalidRecord"]
        assert alice.directory.known(bob.sign_id) is None


# Events.


async def test_events() -> None:
    world = World()
    alice = world.node(1)
    told = listen_to(alice)
    messages: list[Message] = []

    @alice.on("message")
    async def message(message: Message) -> None:
        messages.append(message)

    async with alice, world.node(2) as bob:
        await bob.add(alice.ticket(), circle="friends")
        sent = await bob.send(destination=alice.sign_id, topic="a", payload=b"\xc1", protocol="zz")
        assert await sent == DELIVERED, "who watches has had it"
        await bob.messaging.send("b", alice.sign_id, 1, realtime=True)
        await until(lambda: len(messages) == 2)
        first, second = messages
        assert (first.topic, first.protocol, first.payload) == ("a", "zz", b"\xc1")
        assert (first.sender, first.scope, first.kind) == (bob.sign_id, "public", "durable")
        assert first.id == sent.id.replace(alice.sign_id, bob.sign_id)
        assert first.expires > first.time > 0
        assert (second.topic, second.kind, second.id) == ("b", "realtime", "")
        await bob.disconnect(alice.sign_id)
        await until(lambda: told[-1][0] == "disconnected")
    assert told == [
        ("ready",),
        ("connection", bob.sign_id),
        ("disconnected", bob.sign_id, "closed by the peer: closed"),
    ]
    with pytest.raises(ValueError, match="there are ready, connection"):
        alice.on("conection", print)


async def test_handlers_of_events_that_fail_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    node = World().node(1)

    def errors() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.levelno >= logging.ERROR]

    @node.on("ready")
    def broken() -> None:
        raise KeyError("sync")

    @node.on("ready")
    async def broken_too() -> None:
        raise KeyError("async")

    node.on("ready", lambda: None)
    async with node:
        await until(lambda: len(errors()) == 2)
        node.upstream.failed(LocalError("inside"))
        node.upstream.failed(LocalError("in a handler"), "self.x")
    assert len(errors()) == 4
