"""Platforms start, stop and come back, and nothing stays behind."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mm_transports.memory import Memory
from mm_transports.tcp import TCP
from mmplatform import (
    FolderInUse,
    LocalError,
    NotRunning,
    Platform,
    PluginError,
    Retry,
    StorageCorrupt,
    StorageError,
)
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import DELIVERED
from mmplatform.plugins import loading
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import KINDS, World, collect, identity, listen_to

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

        bob.on("disconnected", lambda peer, reason: asyncio.wait_for(asyncio.Event().wait(), 1000))
        bob.messaging.on("self.transports.offline", hang)
        for topic in ("hang", "retry", "n"):
            await alice.messaging.send(topic, bob.sign_id, 1)
        await alice.messaging.send("n", identity(9).sign_id, "away", expire_after=100)
        await alice.ping(bob.sign_id)
        await until(lambda: footprint()[0] and alice.parts.peers.reason(identity(9).sign_id))
        await bob.stop(grace=0.1)
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
                await first.storage.put(b"circle/friends/", b"\xc1")
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
            assert await delivery == DELIVERED
            assert heard == [1]


async def test_two_hundred_absent_peers_cost_no_task_and_no_timer_each() -> None:
    async with World("tcp").node(1) as alice:
        before, tasks = timers(), len(asyncio.all_tasks())
        for number in range(200):
            key = Identity.generate()
            info = NodeInfo.create(key, ["tcp://127.0.0.1:1"], 1, int(time.time()) + 1000)
            alice.directory.put(info, "ticket")
            for n in range(3):
                await alice.messaging.send("n", key.sign_id, number + n)
        await until(lambda: len(alice.peers()) == 200 and all(peer.reason for peer in alice.peers()))
        await until(lambda: len(asyncio.all_tasks()) - tasks <= 10)
        await until(lambda: timers() - before <= 30)  # those of attempts that are just under way
        assert all("127.0.0.1:1" in status.reason for status in alice.peers())
