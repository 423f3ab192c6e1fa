"""Platforms that come to know one another, layers of APIs, and large messages."""

import asyncio
import subprocess
import sys
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mm_transports.memory import Memory
from mm_transports.tcp import TCP
from mmplatform import (
    HandlerFailed,
    InvalidKey,
    LocalError,
    Platform,
    PluginError,
    ProtocolError,
    RequestFailed,
    StorageError,
    TicketError,
)
from mmplatform.codec import encode, pack, unpack
from mmplatform.directory import own_record
from mmplatform.message import DELIVERED, Delivery
from mmplatform.messaging.api import API, raw
from mmplatform.messaging.dispatch import OnReply, ProtocolHandler
from mmplatform.messaging.results import HoldCount, Result
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import World, collect, identity, listen_to

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
        assert alice.identity.box_id == identity(1).box_id


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
        assert await asyncio.wait_for(delivery, 5) == DELIVERED


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

    def save(
        self, destination: str, topic: str, protocol: str, payload: Any, encode: Callable[[Any], bytes], *options: Any
    ) -> Coroutine[Any, Any, Delivery]:
        save = self._platform.upstream.save
        return save(destination, topic, protocol, payload, lambda payload: zlib.compress(encode(payload)), *options)

    async def ask(self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        return zlib.decompress(
            await self._platform.upstream.ask(destination, topic, protocol, zlib.compress(payload), timeout)
        )

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        self._platform.upstream.attach(protocol, Squeezed(handler))


class Squeezed:
    def __init__(self, handler: ProtocolHandler) -> None:
        self._handler, self.listens, self.end, self.largest = handler, handler.listens, handler.end, handler.largest

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        self._handler.on_event(scope, topic, sender, zlib.decompress(payload), held)

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Result | None:
        return self._handler.on_message(scope, topic, sender, zlib.decompress(payload), finished)

    def on_request(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Any:
        reply = self._handler.on_request(scope, topic, sender, zlib.decompress(payload), SqueezedReply(finished))
        return squeezed(reply)


class SqueezedReply:
    def __init__(self, finished: OnReply) -> None:
        self._finished, self.message = finished, finished.message

    def __call__(self, reply: bytes | Result) -> None:
        self._finished(squeezed(reply))

    @property
    def wanted(self) -> bool:
        return self._finished.wanted


def squeezed(reply: Any) -> Any:
    return zlib.compress(reply) if isinstance(reply, bytes) else reply


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
        with pytest.raises(HandlerFailed, match="decompressing"):
            await delivery
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


@pytest.mark.slow
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
        await until(lambda: alice.parts.peers.reason(identity(2).sign_id))
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
