"""Platforms: what applications call, what they are told, and that nothing stays behind."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mm_transports.memory import Memory
from mm_transports.tcp import TCP
from mmplatform import (
    ControlTopic,
    Expired,
    FolderInUse,
    InvalidKey,
    InvalidPayload,
    LocalError,
    Message,
    NoResponders,
    NotRunning,
    Outcome,
    Platform,
    PluginError,
    ProtocolError,
    RequestFailed,
    RequestTimeout,
    Retry,
    StorageCorrupt,
    StorageError,
    TicketError,
    Unreachable,
)
from mmplatform.codec import encode, pack, unpack
from mmplatform.directory import own_record
from mmplatform.identity.circles import Circle
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import Delivery
from mmplatform.messaging.api import API, ProtocolHandler, raw
from mmplatform.messaging.subscriber import Result
from mmplatform.peers import exchange as exchange_module
from mmplatform.plugins import loading
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import World, collect, identity, listen_to, until

KINDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


@pytest.fixture(autouse=True)
async def nothing_escapes(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    yield
    assert escaped == []


# Sending.


@KINDS
async def test_three_nodes_talk_to_one_another(kind: str) -> None:
    async with World(kind).nodes(3) as nodes:
        heard = {node.sign_id: collect(node) for node in nodes}
        deliveries = [
            await one.messaging.send("chat", other.sign_id, [one.sign_id, n])
            for n in range(50)
            for one in nodes
            for other in nodes
        ]
        outcomes = [await delivery for delivery in deliveries]
        remote = [o for o, d in zip(outcomes, deliveries, strict=True) if "@" in d.id and o.handled]
        assert len(remote) == 300
        for node in nodes:
            for other in nodes:
                if other is not node:
                    mine = [n for sender, n in heard[node.sign_id] if sender == other.sign_id]
                    assert mine == list(range(50))


async def test_await_send_means_saved_and_await_delivery_means_handled() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        finish = asyncio.Event()
        bob.messaging.on("friends.slow", lambda topic, sender, payload: finish.wait())

        @bob.messaging.on("friends.work")
        async def work(topic: str, sender: str, payload: Any) -> None:
            await finish.wait()

        delivery = await alice.messaging.send("work", bob.sign_id, 1)
        waiting = asyncio.ensure_future(delivery)
        await until(lambda: alice.parts.outbox.queue(bob.sign_id).linked)
        assert not waiting.done()
        assert await alice.delivery(delivery.id) in ("waiting", "sent")
        finish.set()
        assert await waiting == Outcome("delivered", True)
        assert await alice.delivery(delivery.id) == "delivered"


async def test_unhandled_retried_and_failing_handlers() -> None:
    async with World().nodes() as [alice, bob]:
        events = listen_to(bob)
        tries: list[Any] = []

        @bob.messaging.on("friends.retry")
        def retry(topic: str, sender: str, payload: Any) -> None:
            tries.append(payload)
            if len(tries) < 3:
                raise Retry(0.001)

        @bob.messaging.on("friends.broken")
        def broken(topic: str, sender: str, payload: Any) -> None:
            raise KeyError("broken")

        assert await (await alice.messaging.send("nobody", bob.sign_id)) == Outcome("delivered", False, "unhandled")
        assert (await (await alice.messaging.send("retry", bob.sign_id, 7))).handled
        assert (await (await alice.messaging.send("broken", bob.sign_id))).handled
        assert tries == [7, 7, 7]
        assert ("error", "KeyError", "'broken'", "friends.broken") in events


async def test_local_messages_need_no_start_and_no_network() -> None:
    node = World().node(1)
    heard = collect(node, "self.>")
    assert await (await node.messaging.send("a", payload=1)) == Outcome("delivered", True)
    assert (await (await node.messaging.send("a", node.sign_id, [2]))).handled
    assert await (await node.send(destination="local", topic="a", payload=encode(3))) == Outcome("delivered", True)
    assert heard == [1, [2], 3]
    assert (await (await node.messaging.send("b")) if not node.messaging.off("self.>", print) else None) is not None
    with pytest.raises(LocalError, match="no API"):
        await node.send(destination="local", topic="a", protocol="xx")
    with pytest.raises(NotRunning):
        await node.messaging.send("a", identity(2).sign_id)
    with pytest.raises(NotRunning):
        await node.messaging.request("a", identity(2).sign_id)
    with pytest.raises(NotRunning):
        node.ticket()
    assert not node.ready


async def test_a_local_handler_that_waits_settles_its_delivery_later() -> None:
    node = World().node(1)
    finish = asyncio.Event()

    @node.messaging.on("self.slow")
    async def slow(topic: str, sender: str, payload: Any) -> None:
        await finish.wait()

    delivery = await node.send(destination="local", topic="slow", payload=encode(1))
    assert not delivery.done
    finish.set()
    assert (await delivery).handled
    finish.clear()
    with pytest.raises(RequestTimeout):
        await node.messaging.request("slow", timeout=0.01)
    finish.set()
    await node.messaging.bus.close()


async def test_realtime_is_dropped_with_a_reason_when_no_link_is_up() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        dropped = await alice.messaging.send("n", bob.sign_id, 1, realtime=True)
        assert dropped.state == "dropped"
        assert "no link" in (await dropped).reason
        await alice.connect(bob.sign_id)
        sent = await alice.messaging.send("n", bob.sign_id, 2, realtime=True)
        assert sent.state == "sent"
        await until(lambda: heard == [2])


async def test_a_message_expires_when_nobody_comes() -> None:
    async with World().node(1) as alice:
        delivery = await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=0.02)
        with pytest.raises(Expired):
            await asyncio.wait_for(delivery, 5)
        assert await alice.delivery(delivery.id) == "expired"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12])
async def test_an_impossible_expiry_is_refused(seconds: float) -> None:
    async with World().node(1) as alice:
        with pytest.raises(ValueError, match="expire_after"):
            await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=seconds)


async def test_control_goes_first_and_low_last() -> None:
    world = World()
    world.network.up = False
    async with world.nodes() as [alice, bob]:
        heard = collect(bob)
        sent = [
            await alice.messaging.send("n", bob.sign_id, f"{priority} {n}", priority=priority)
            for n in range(3)
            for priority in ("low", "normal", "high", "control")
        ]
        world.network.up = True
        alice.parts.peers.peer(bob.sign_id).nudge()
        await asyncio.gather(*sent)
        assert heard == [f"{p} {n}" for p in ("control", "high", "normal", "low") for n in range(3)]
        with pytest.raises(ValueError, match="priority"):
            await alice.messaging.send("n", bob.sign_id, 1, priority="urgent")


async def test_what_a_peer_could_never_read_is_refused_here() -> None:
    async with World().nodes() as [alice, bob]:
        for wrong in ("text", None, bytearray(b"x")):
            with pytest.raises(InvalidPayload, match="instead of bytes"):
                await alice.send(destination=bob.sign_id, topic="n", payload=wrong)  # type: ignore[arg-type]
        for protocol in ("ü", "x" * 201):
            with pytest.raises(InvalidPayload, match="protocol"):
                await alice.send(destination=bob.sign_id, topic="n", protocol=protocol)
        with pytest.raises(InvalidPayload, match="at most"):
            await alice.send(destination=bob.sign_id, topic="n", payload=bytes(64 * 1024 * 1024 + 1))
        with pytest.raises(InvalidPayload):
            await alice.torrenting.send("n", bob.sign_id, "text")
        with pytest.raises(InvalidPayload):
            await alice.messaging.request("n", bob.sign_id, object())
        with pytest.raises(InvalidKey):
            await alice.messaging.send("n", "bob")
        for topic in ("transports.nodeInfo", "directory.put", "friends.update", "a.update"):
            for call in (alice.messaging.send, alice.messaging.request):
                with pytest.raises(ControlTopic):
                    await call(topic, bob.sign_id)
        unknown = await alice.send(destination=bob.sign_id, topic="n", protocol="xx", payload=b"?")
        assert await unknown == Outcome("delivered", False, "unhandled")
        assert alice.parts.outbox.queue(bob.sign_id).empty


async def test_raw_bytes_have_their_own_api() -> None:
    async with World().nodes() as [alice, bob]:
        heard: list[bytes] = []
        bob.torrenting.on("friends.piece", lambda topic, sender, payload: heard.append(payload))
        await (await alice.torrenting.send("piece", bob.sign_id, b"\x00\xff"))
        assert heard == [b"\x00\xff"]


# Requests.


@KINDS
async def test_requests_go_both_ways_and_fail_in_three_ways(kind: str) -> None:
    async with World(kind).nodes() as [alice, bob]:
        for node in (alice, bob):
            node.messaging.on("friends.add", lambda topic, sender, payload: sum(payload))

        @bob.messaging.on("friends.hang")
        async def hang(topic: str, sender: str, payload: Any) -> None:
            await asyncio.get_running_loop().create_future()

        @bob.messaging.on("friends.raise")
        def fail(topic: str, sender: str, payload: Any) -> None:
            raise ValueError("not today")

        assert await alice.messaging.request("add", bob.sign_id, [1, 2]) == 3
        assert await bob.messaging.request("add", alice.sign_id, [3, 4]) == 7
        with pytest.raises(NoResponders, match="nothere"):
            await alice.messaging.request("nothere", bob.sign_id)
        with pytest.raises(NoResponders):
            await alice.messaging.request("nothere")
        with pytest.raises(RequestTimeout):
            await alice.messaging.request("hang", bob.sign_id, timeout=0.05)
        with pytest.raises(RequestFailed, match=r"^ValueError: not today$"):
            await alice.messaging.request("raise", bob.sign_id)
        with pytest.raises(NoResponders):
            await alice.upstream.ask(bob.sign_id, "n", "xx", b"", 5)


async def test_a_request_nobody_can_take_times_out() -> None:
    async with World().node(1) as alice:
        with pytest.raises(RequestTimeout):
            await alice.messaging.request("n", identity(9).sign_id, timeout=0.05)


async def test_ten_thousand_requests_at_once() -> None:
    async with World("tcp").nodes() as [alice, bob]:
        bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
        asked = [alice.messaging.request("echo", bob.sign_id, n, timeout=30) for n in range(10_000)]
        assert await asyncio.gather(*asked) == list(range(10_000))


async def test_a_reply_counts_only_from_the_peer_that_was_asked() -> None:
    async with World().nodes(3) as [alice, bob, eve]:
        reached, finish = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("friends.ask")
        async def answer(topic: str, sender: str, payload: Any) -> str:
            reached.set()
            await finish.wait()
            return "bob"

        await eve.connect(alice.sign_id)
        asking = asyncio.create_task(alice.messaging.request("ask", bob.sign_id))
        await reached.wait()
        link = eve.parts.peers.peer(alice.sign_id).link
        assert link is not None
        for number in range(10):
            link.send(exchange_module.Frame(0, 1, [], [], [], [], [exchange_module.Reply(number, 0, encode("eve"))]))
        assert await eve.ping(alice.sign_id) >= 0  # they arrived
        assert not asking.done()
        finish.set()
        assert await asking == "bob"


async def test_a_reply_that_does_not_decode_is_the_peer_s_failure() -> None:
    async with World().nodes() as [alice, bob]:
        api = API(bob.upstream, "raw", raw, bytes)
        api.on("friends.bad", lambda topic, sender, payload: b"\xc1")
        asker = API(alice.upstream, "raw", raw, lambda data: unpack(data))
        with pytest.raises(RequestFailed, match="decoded"):
            await asker.request("bad", bob.sign_id, b"")


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
                await peer.exchange.request(topic, "ms", encode([]), 5)
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
        monkeypatch.setattr("mmplatform.directory.lookups.LOOKUP_TIMEOUT", 0.01)
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
        assert (await (await bob.send(destination=alice.sign_id, topic="a", payload=b"\xc1", protocol="zz"))).handled
        await bob.messaging.send("b", alice.sign_id, 1, realtime=True)
        await until(lambda: len(messages) == 2)
        assert messages[0] == Message("a", "zz", b"\xc1", bob.sign_id, "public")
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

    @node.on("ready")
    def broken() -> None:
        raise KeyError("sync")

    @node.on("ready")
    async def broken_too() -> None:
        raise KeyError("async")

    node.on("ready", lambda: None)
    async with node:
        await until(lambda: len(caplog.records) == 2)
        node.upstream.failed(LocalError("inside"))
        node.upstream.failed(LocalError("in a handler"), "self.x")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 4


# Life.


def footprint() -> tuple[set[str], int, set[str]]:
    """Tasks, open files and threads of this process."""
    gc.collect()
    tasks = {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("mm")}
    return tasks, psutil.Process().num_fds(), {thread.name for thread in threading.enumerate()}


def timers() -> int:
    loop = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]


@KINDS
async def test_stop_leaves_nothing(kind: str, tmp_path: Path) -> None:
    world = World(kind)
    before, waiting = footprint(), timers()
    async with world.node(1, storage=tmp_path / "a") as alice, world.node(2, storage=tmp_path / "b") as bob:
        await alice.add(bob.ticket(), circle="friends")
        await bob.add(alice.ticket(), circle="friends")

        @bob.messaging.on("friends.hang")
        async def hang(topic: str, sender: str, payload: Any) -> None:
            await asyncio.get_running_loop().create_future()

        @bob.messaging.on("friends.retry")
        def retry(topic: str, sender: str, payload: Any) -> None:
            raise Retry(1000)

        bob.on("disconnected", lambda peer, reason: asyncio.sleep(1000))
        bob.messaging.on("self.transports.offline", hang)
        for topic in ("hang", "retry", "n"):
            await alice.messaging.send(topic, bob.sign_id, 1)
        await alice.messaging.send("n", identity(9).sign_id, "away", expire_after=100)
        await alice.ping(bob.sign_id)
        await until(lambda: len(footprint()[0]) >= 2)
    await alice.stop()
    assert footprint() == before
    assert timers() <= waiting + 1  # the test's own time-out
    with pytest.raises(LocalError, match="runs once"):
        await alice.start()
    with pytest.raises(NotRunning):
        await alice.messaging.send("n", bob.sign_id)


async def test_start_twice_is_start_once() -> None:
    async with World().node(1) as alice:
        ticket = alice.ticket()
        await alice.start()
        assert alice.ticket() == ticket
        assert alice.ready


class Broken(Service):
    async def start(self, host: ServiceHost) -> None:
        raise OSError("no such device")

    async def stop(self) -> None:
        raise AssertionError("it never started")


@pytest.mark.parametrize("where", ["service", "listen", "storage", "scheme", "address", "circle"])
async def test_a_start_that_fails_half_way_closes_everything(where: str, tmp_path: Path) -> None:
    before = footprint()
    order: list[str] = []

    class Good(Service):
        async def start(self, host: ServiceHost) -> None:
            order.append("start")

        async def stop(self) -> None:
            order.append("stop")

    options: dict[str, Any] = {"transports": [TCP()], "connection_info": ["tcp://127.0.0.1:0"], "services": [Good()]}
    error: type[Exception] = LocalError
    match where:
        case "service":
            options["services"] = [Good(), Broken()]
            error = OSError
        case "listen":
            options["connection_info"] = ["tcp://127.0.0.1:0", "tcp://192.0.2.254:1"]
        case "scheme":
            options["connection_info"] = ["tcp://127.0.0.1:0", "webrtc:"]
        case "address":
            options["connection_info"] = ["tcp://127.0.0.1:0", "tcp://127.0.0.1"]
        case "storage":
            (tmp_path / "a").mkdir(mode=0o700)
            (tmp_path / "a" / "data.db").write_bytes(b"no database" * 1000)
            error = StorageError
        case "circle":
            async with Platform(tmp_path / "a", connection_info=()) as first:
                await first.storage.put(b"circle/friends", b"\xc1")
            before = footprint()
            error = StorageCorrupt
    node = Platform(tmp_path / "a", **options)
    with pytest.raises(error):
        await node.start()
    assert footprint() == before
    assert not node.ready
    assert order == (["start", "stop"] if where == "service" else [])


async def test_services_start_in_order_and_stop_in_reverse_and_may_send_while_they_do() -> None:
    world = World()
    order: list[str] = []

    def service(name: str, fails: bool = False) -> Any:
        class Named(Service):
            async def start(self, host: ServiceHost) -> None:
                self.host = host
                assert node.ready
                order.append(f"+{name}")
                await host.messaging.send("hello", identity(9).sign_id, name)

            async def stop(self) -> None:
                order.append(f"-{name}")
                await self.host.messaging.send("bye", identity(9).sign_id, name)
                if fails:
                    raise RuntimeError("cannot stop")

        return Named()

    node = world.node(1, services=[service("a"), service("b", fails=True), service("c")])
    told = listen_to(node)
    async with node:
        assert order == ["+a", "+b", "+c"]
        assert told == [("ready",)]
    assert order == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert told[1:] == [("error", "RuntimeError", "cannot stop", "")]
    assert not node.parts.links._open


async def test_plugins_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: dict[str, object] = {"instance": Memory(World().network), "class": Memory, "junk": "x", "svc": Broken}
    monkeypatch.setattr(loading, "load", lambda group, name: loaded[name])
    assert [t.schemes for t in Platform(transports=["instance"]).parts.plugins.transports] == [("memory",)]
    assert [t.schemes for t in Platform(transports=["class"]).parts.plugins.transports] == [("memory",)]
    with pytest.raises(LocalError, match="is no Transport"):
        Platform(transports=["junk"])
    with pytest.raises(LocalError, match="is no Service"):
        Platform(transports=["class"], services=["junk"])
    assert type(Platform(transports=["class"], services=["svc"]).service(Broken)) is Broken
    monkeypatch.undo()
    with pytest.raises(PluginError, match="carrier-pigeon"):
        Platform(transports=["carrier-pigeon"])


async def test_a_second_node_on_the_folder_is_told_who_has_it(tmp_path: Path) -> None:
    async with Platform(tmp_path / "a", connection_info=()):
        second = Platform(tmp_path / "a")
        with pytest.raises(FolderInUse, match=str(os.getpid())):
            await second.start()
        command = [sys.executable, "-c", FOLDER_PROGRAM, str(tmp_path / "a")]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        assert f"process {os.getpid()}" in done.stdout
    async with Platform(tmp_path / "a", connection_info=()):
        pass


FOLDER_PROGRAM = """
import asyncio, sys
from mmplatform import FolderInUse, Platform
async def main():
    try:
        async with Platform(sys.argv[1]):
            pass
    except FolderInUse as error:
        print(error)
        sys.exit(3)
asyncio.run(main())
"""


async def test_a_restart_keeps_the_key_the_port_the_friends_and_what_waits(tmp_path: Path) -> None:
    options: dict[str, Any] = {"transports": ["tcp"], "connection_info": ["tcp://127.0.0.1:0"]}
    async with Platform(tmp_path / "b", **options) as bob:
        bobs, address = bob.ticket(), bob.directory.own_record
    async with Platform(tmp_path / "a", **options) as alice:
        peer = await alice.add(bobs, name="bob", circle="friends")
        waiting = [await alice.messaging.send("n", peer, n) for n in range(30)]
    assert {delivery.state for delivery in waiting} == {"waiting"}
    async with Platform(tmp_path / "b", **options, friends=[alice.sign_id]) as bob:
        heard = collect(bob)
        assert bob.directory.own_record is not None
        assert address is not None
        assert bob.directory.own_record.connection_info == address.connection_info
        assert bob.directory.own_record.seq > address.seq
        async with Platform(tmp_path / "a", **options) as alice:
            assert alice.contacts.resolve("bob") == peer == bob.sign_id
            await alice.flush(peer, timeout=20)
            assert heard == list(range(30))
            assert {await alice.delivery(delivery.id) for delivery in waiting} == {"delivered"}


async def test_a_peer_that_comes_back_elsewhere_finds_its_messages() -> None:
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(1) as alice:
        async with world.node(2, storage=storage) as bob:
            await alice.add(bob.ticket(), circle="friends")
            await bob.add(alice.ticket(), circle="friends")
            await alice.connect(bob.sign_id)
            assert bob.directory.own_record is not None
            before = bob.directory.own_record.connection_info
        async with world.node(3, connection_info=before):  # somebody else has the port now
            waiting = [await alice.messaging.send("n", bob.sign_id, n) for n in range(30)]
            bob = world.node(2, storage=storage)
            heard = collect(bob)
            async with bob:
                assert bob.directory.own_record is not None
                assert bob.directory.own_record.connection_info != before
                await asyncio.wait_for(asyncio.gather(*waiting), 20)
                assert heard == list(range(30))


async def test_what_came_before_the_application_listened_is_not_lost() -> None:
    """A peer that waits for us dials the moment our port is open; the application subscribes later."""
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(2, storage=storage) as bob:
        ticket = bob.ticket()
        assert bob.directory.own_record is not None
        port = bob.directory.own_record.connection_info

    class Slow(Service):
        async def start(self, host: ServiceHost) -> None:
            await until(lambda: tried >= 3)

        async def stop(self) -> None: ...

    tried = 0
    async with world.node(1) as alice:
        await alice.add(ticket)

        def count(topic: str, sender: str, payload: Any) -> None:
            nonlocal tried
            tried += 1

        delivery = await alice.messaging.send("n", bob.sign_id, 1)
        alice.messaging.on("self.transports.failed", count)
        async with world.node(2, storage=storage, connection_info=port, services=[Slow()]) as bob:
            heard = collect(bob, "public.n")
            assert (await delivery).handled
            assert heard == [1]


async def test_two_hundred_absent_peers_cost_a_task_and_a_timer_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World("tcp").node(1) as alice:
        before, tasks = timers(), len(asyncio.all_tasks())
        for number in range(200):
            key = Identity.generate()
            info = NodeInfo.create(key, ["tcp://127.0.0.1:1"], 1, int(time.time()) + 1000)
            alice.directory.put(info, "ticket")
            for n in range(3):
                await alice.messaging.send("n", key.sign_id, number + n)
        await until(lambda: all(peer.reason for peer in alice.parts.peers.by_id.values()))
        await until(lambda: len(asyncio.all_tasks()) - tasks <= 200)
        # When to dial again, and when the first message expires; the attempt that is under way has two more.
        await until(lambda: timers() - before <= 400)
        assert all("127.0.0.1:1" in status.reason for status in alice.peers())


# Knowing one another.


async def test_add_by_ticket_key_and_name(tmp_path: Path) -> None:
    world = World()
    async with world.node(1, storage=tmp_path / "a") as alice, world.node(2) as bob:
        assert await alice.add(f"  {bob.ticket().upper()}\n", name="bob", circle="friends") == bob.sign_id
        assert await alice.add("bob", circle="devices") == bob.sign_id
        assert await alice.add(identity(3).sign_id) == identity(3).sign_id
        with pytest.raises(TicketError):
            await alice.add("mm1abc")
        with pytest.raises(InvalidKey):
            await alice.add("carol")
        [status] = [status for status in alice.peers() if status.name]
        assert (status.name, status.scope, status.connected, status.found_by) == ("bob", "self", False, "ticket")
        await alice.connect(bob.sign_id)
        await alice.ping(bob.sign_id)
        [status] = [status for status in alice.peers() if status.name]
        assert status.connected
        assert status.rtt > 0
        assert status.address.startswith("memory://")
        assert alice.box_id == identity(1).box_id


async def test_a_host_with_many_addresses_names_the_first_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Many(Memory):
        async def listen(self, hint: str, accept: Any) -> list[str]:
            return [f"memory://{n}" for n in range(40)]

    async with Platform(transports=[Many()], connection_info=["memory://0"]) as node:
        assert node.directory.own_record is not None
        assert len(node.directory.own_record.connection_info) == 16


async def test_a_record_is_renewed_and_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_record, "REFRESH", 0.01)
    monkeypatch.setattr(own_record, "REFRESH_AGAIN", 0.01)
    async with World().node(1) as alice:
        assert alice.directory.own_record is not None
        first = alice.directory.own_record.seq
        await until(lambda: alice.directory.own_record is not None and alice.directory.own_record.seq > first)
        told = listen_to(alice)
        put = alice.storage.put

        async def full(key: bytes, value: bytes) -> None:
            raise StorageError("full")

        monkeypatch.setattr(alice.storage, "put", full)
        await until(lambda: len(told) >= 2)
        second = alice.directory.own_record.seq
        monkeypatch.setattr(alice.storage, "put", put)
        await until(lambda: alice.directory.own_record is not None and alice.directory.own_record.seq > second)


async def test_a_port_wish_that_cannot_be_had_or_read_is_no_obstacle() -> None:
    storage = MemoryStorage()
    options: dict[str, Any] = {"storage": storage, "transports": [TCP()], "connection_info": ["tcp://127.0.0.1:0"]}
    async with Platform(**options) as first:
        assert first.directory.own_record is not None
        kept = first.directory.own_record.connection_info[0]
    for saved in (b"\xc1", encode(["99999"]), encode([kept.rpartition(":")[2]])):
        await storage.open()
        await storage.put(b"node/listening", saved)
        async with Platform(transports=[TCP()], connection_info=[kept]), Platform(**options) as again:
            assert again.directory.own_record is not None
            assert again.directory.own_record.connection_info[0] != kept


async def test_a_handshake_before_our_record_is_made_is_refused() -> None:
    with pytest.raises(ProtocolError, match="starting"):
        World().node(1).parts.own_record.encoded()


async def test_what_was_handled_is_acknowledged_before_the_node_stops() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        done = asyncio.Event()
        bob.messaging.on("friends.last", lambda topic, sender, payload: done.set())
        delivery = await alice.messaging.send("last", bob.sign_id)
        await done.wait()
        await bob.stop()
        assert await asyncio.wait_for(delivery, 5) == Outcome("delivered", True)


async def test_a_circle_that_cannot_be_saved_is_told() -> None:
    async with World().node(1) as alice:
        told = listen_to(alice)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alice.storage.write = lambda rows, sync=True: failed  # type: ignore[method-assign]
        alice.contacts.friends.add(identity(5).sign_id)
        failed.set_exception(StorageError("full"))
        await until(lambda: told)
        assert told[0][1:3] == ("StorageError", "full")
        del alice.storage.write


# Layers.


class Compressed:
    """An upstream for one API that squeezes its payloads."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.sign_id, self.failed = platform.sign_id, platform.upstream.failed

    async def post(self, destination: str, topic: str, protocol: str, payload: bytes, *options: Any) -> Delivery:
        return await self._platform.upstream.post(destination, topic, protocol, zlib.compress(payload), *options)

    async def ask(self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        return zlib.decompress(
            await self._platform.upstream.ask(destination, topic, protocol, zlib.compress(payload), timeout)
        )

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        self._platform.upstream.attach(protocol, Squeezed(handler))


class Squeezed:
    def __init__(self, handler: ProtocolHandler) -> None:
        self._handler, self.close = handler, handler.close

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes) -> None:
        self._handler.on_event(scope, topic, sender, zlib.decompress(payload))

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Result | None:
        return self._handler.on_message(scope, topic, sender, zlib.decompress(payload), finished)

    def on_request(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Any:
        def answer(reply: Any) -> Any:
            return zlib.compress(reply) if isinstance(reply, bytes) else reply

        reply = self._handler.on_request(
            scope, topic, sender, zlib.decompress(payload), lambda reply: finished(answer(reply))
        )
        return answer(reply)


async def test_apis_can_stand_on_layers() -> None:
    async with World().nodes() as [alice, bob]:
        squeezed = {node: API(Compressed(node), "zms", pack, unpack) for node in (alice, bob)}
        heard: list[Any] = []
        squeezed[bob].on("friends.>", lambda topic, sender, payload: heard.append(payload))

        @squeezed[bob].on("friends.len")
        async def length(topic: str, sender: str, payload: Any) -> int:
            return len(payload)

        sizes: list[int] = []
        bob.on("message", lambda message: sizes.append(len(message.payload)))
        text = "mm " * 10_000
        await (await squeezed[alice].send("text", bob.sign_id, text))
        await squeezed[alice].send("event", bob.sign_id, text, realtime=True)
        assert await squeezed[alice].request("len", bob.sign_id, text) == len(text)
        assert heard == [text] * 3
        assert max(sizes) < 200
        with pytest.raises(LocalError, match="has an API already"):
            API(alice.upstream, "ms", raw, bytes)


async def test_a_layer_that_raises_ends_no_link() -> None:
    async with World().nodes() as [alice, bob]:
        API(Compressed(bob), "zms", pack, unpack)
        told = listen_to(bob)
        delivery = await alice.send(destination=bob.sign_id, topic="n", protocol="zms", payload=b"not squeezed")
        assert (await delivery).handled
        await alice.send(destination=bob.sign_id, topic="n", protocol="zms", payload=b"?", realtime=True)
        with pytest.raises(RequestFailed, match="error"):
            await alice.upstream.ask(bob.sign_id, "n", "zms", b"?", 5)
        await until(lambda: len(told) == 4)
        assert {event[0] for event in told} == {"connection", "error"}


# Size.

LARGE_PROGRAM = """
import asyncio, hashlib, resource, sys
from mmplatform import InvalidPayload, Platform
def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
async def main():
    options = {"connection_info": ["tcp://127.0.0.1:0"]}
    async with Platform(sys.argv[1], **options) as node:
        print(node.ticket(), flush=True)
        peer = await node.add(await asyncio.to_thread(input), circle="friends")
        done = asyncio.Event()
        @node.torrenting.on("friends.file")
        def file(topic, sender, payload):
            print(hashlib.sha256(payload).hexdigest(), flush=True)
        @node.torrenting.on("friends.done")
        def end(topic, sender, payload):
            done.set()
        before = rss()
        if sys.argv[2] == "send":
            data = bytes(range(256)) * (4 * 65536)
            print(hashlib.sha256(data).hexdigest(), flush=True)
            await (await node.torrenting.send("file", peer, data))
            await (await node.torrenting.send("done", peer, b""))
            try:
                await node.torrenting.send("file", peer, data + b"x")
            except InvalidPayload as error:
                print("refused", flush=True)
        else:
            await done.wait()
            print("took", flush=True)
        print(rss() - before, flush=True)
asyncio.run(main())
"""


async def test_a_message_of_64_mib_arrives_whole_with_bounded_memory(tmp_path: Path) -> None:
    def run(folder: str, role: str) -> Any:
        command = [sys.executable, "-c", LARGE_PROGRAM, str(tmp_path / folder), role]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    sender, taker = run("a", "send"), run("b", "take")
    try:
        tickets = [process.stdout.readline() for process in (sender, taker)]
        for process, ticket in zip((taker, sender), tickets, strict=True):
            process.stdin.write(ticket)
            process.stdin.flush()
        sent, _ = await asyncio.to_thread(sender.communicate, timeout=50)
        took, _ = await asyncio.to_thread(taker.communicate, timeout=50)
    finally:
        for process in (sender, taker):
            process.kill()
            process.communicate()
    digest, refused, sender_mib = sent.split()
    assert refused == "refused"
    assert took.split()[:2] == [digest, "took"]
    assert int(sender_mib) < 6 * 64
    assert int(took.split()[2]) < 6 * 64


async def test_a_node_that_moved_calls_its_friends_until_they_answer() -> None:
    world = World()
    stores = [MemoryStorage(), MemoryStorage()]
    async with world.node(1, storage=stores[0]) as alice, world.node(2, storage=stores[1]) as bob:
        await alice.add(bob.ticket(), circle="friends")
        await bob.add(alice.ticket(), circle="friends")
    async with world.node(1, storage=stores[0], connection_info=["memory://elsewhere"]) as alice:
        heard = collect(alice)
        await until(lambda: alice.parts.peers.peer(identity(2).sign_id).reason)
        async with world.node(2, storage=stores[1], connection_info=["memory://2"]) as bob:
            await (await bob.messaging.send("chat", alice.sign_id, "found"))
        assert heard == ["found"]


async def test_webrtc_is_used_where_somebody_may_signal_and_loaded_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = {"stun": ["stun:127.0.0.1"], "turn": [("turn:127.0.0.1", "user", "password")]}
    for options, offered in (({}, False), (server, True), (server | {"connection_info": []}, True)):
        loopback = {"connection_info": ["tcp://127.0.0.1:0"]}
        async with Platform(**(loopback | options)) as platform:  # type: ignore[arg-type]
            assert platform.directory.own_record is not None
            assert ("webrtc:" in platform.directory.own_record.connection_info) == offered
            assert isinstance(platform.parts.dialer.transports["webrtc"], SignallingTransport)
    for wrong in ({"stun": ["turn:x"]}, {"turn": [("stun:x", "", "")]}, {"turn": [("turn:x",)]}):
        with pytest.raises(ValueError, match="is not"):
            Platform(**wrong)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "mm_transports.webrtc.lazy", None)
    assert "webrtc" not in Platform().parts.dialer.transports
    with pytest.raises(PluginError, match=r"pip install 'mm-platform\[webrtc\]'"):
        Platform(stun=["stun:127.0.0.1"])
