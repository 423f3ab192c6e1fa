"""A platform lives in one event loop: calls from another thread or loop are typed errors at once, and break nothing."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmplatform import Delivery, LocalError, NotRunning, Platform, WrongLoop
from mmplatform.home import Home
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.world import World, collect, identity

Call = Callable[[Platform, str], Any]

CALLS: dict[str, Call] = {
    "send": lambda node, peer: node.messaging.send("n", peer, 2),
    "send-realtime": lambda node, peer: node.messaging.send("n", peer, 2, realtime=True),
    "send-here": lambda node, peer: node.messaging.send("n", payload=2),
    "send-bytes": lambda node, peer: node.send(destination=peer, topic="n"),
    "send-bytes-here": lambda node, peer: node.send(destination="local", topic="n"),
    "request": lambda node, peer: node.messaging.request("n", peer),
    "request-here": lambda node, peer: node.messaging.request("n"),
    "other-protocol": lambda node, peer: node.torrenting.send("n", payload=b""),
    "on": lambda node, peer: node.messaging.on("public.n", print),
    "off": lambda node, peer: node.messaging.off("public.n", print),
    "event": lambda node, peer: node.on("ready", print),
    "start": lambda node, peer: node.start(),
    "stop": lambda node, peer: node.stop(),
    "add": lambda node, peer: node.add(peer, name="robert"),
    "peers": lambda node, peer: node.peers(),
    "connect": lambda node, peer: node.connect(peer),
    "disconnect": lambda node, peer: node.disconnect(peer),
    "ping": lambda node, peer: node.ping(peer),
    "flush": lambda node, peer: node.flush(),
    "delivery": lambda node, peer: node.delivery("1.1.1@" + peer),
    "advertise": lambda node, peer: node.advertise("x", ["x://y"]),
    "network": lambda node, peer: node.network_changed(),
    "rename": lambda node, peer: node.contacts.rename(peer, "robert"),
    "move": lambda node, peer: node.contacts.move(peer, "friends"),
    "remove": lambda node, peer: node.contacts.remove(peer),
    "block": lambda node, peer: node.contacts.block(peer),
    "unblock": lambda node, peer: node.contacts.unblock(peer),
    "circle": lambda node, peer: node.contacts.friends.add(peer),
    "list": lambda node, peer: node.contacts.lists.make("@family", peer),
    "inbox": lambda node, peer: node.inbox.entry("1.1.1@" + peer),
    "kept": lambda node, peer: node.kept.put("x", 1),
}  # fmt: skip


def called(call: Callable[[], Any]) -> Exception | None:
    """What a call from another thread raises, in an event loop of its own when it is to be awaited."""
    raised: list[Exception] = []

    async def awaited() -> None:
        found = call()
        if asyncio.iscoroutine(found):
            await asyncio.wait_for(found, 5)

    def run() -> None:
        try:
            asyncio.run(awaited())
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="another")
    thread.start()
    thread.join(10)
    return raised[0] if raised else None


@pytest.mark.parametrize("storage", ["memory", "folder"])
async def test_every_call_of_another_thread_is_told_at_once_and_breaks_nothing(storage: str, tmp_path: Path) -> None:
    world = World()
    kept = None if storage == "memory" else tmp_path / "a"
    async with world.node(2) as bob, world.node(1, storage=kept) as alice:
        heard = collect(bob, "public.>")
        peer = await alice.add(bob.ticket(), name="bob")
        await (await alice.messaging.send("n", peer, 1))
        for name, call in CALLS.items():
            error = called(lambda call=call: call(alice, peer))
            assert isinstance(error, WrongLoop), f"{name}: {error!r}"
            assert "threadsafe" in str(error), name
        await (await alice.messaging.send("n", peer, 3))
        assert heard == [1, 3]
        assert alice.contacts.name(peer) == "bob"
        assert peer not in alice.contacts.friends
        assert not list(alice.contacts.lists)


def test_a_platform_that_was_started_elsewhere_does_not_hang_in_another_loop() -> None:
    node = Platform(transports=[], connection_info=())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(node.start())
    with pytest.raises(WrongLoop, match="another event loop"):
        asyncio.run(asyncio.wait_for(node.stop(), 5))
    loop.run_until_complete(node.stop())
    loop.close()
    with pytest.raises(LocalError, match="runs once"):
        asyncio.run(node.start())


def test_local_requests_before_the_start_are_of_one_loop_too() -> None:
    node = Platform(transports=[], connection_info=())

    @node.messaging.on("self.x")
    async def answer(topic: str, sender: str, payload: int) -> int:
        return payload + 1

    async def ask() -> Any:
        return await node.messaging.request("x", payload=1, timeout=5)

    assert asyncio.run(ask()) == 2
    with pytest.raises(WrongLoop):
        asyncio.run(ask())


def test_handlers_may_be_made_anywhere_before_the_first_use_and_between_two_runs_of_the_loop() -> None:
    node = Platform(transports=[], connection_info=())
    assert called(lambda: node.messaging.on("self.x", lambda *_: 1)) is None
    loop = asyncio.new_event_loop()
    loop.run_until_complete(node.start())
    node.messaging.on("self.y", lambda *_: 2)
    assert loop.run_until_complete(node.messaging.request("y")) == 2
    loop.run_until_complete(node.stop())
    loop.close()


@pytest.mark.parametrize("make", [lambda folder: MemoryStorage(), lambda folder: SQLiteStorage(folder / "x.db")])
async def test_a_storage_is_of_one_loop(make: Callable[[Path], Any], tmp_path: Path) -> None:
    storage = make(tmp_path)
    await storage.open()
    for call in (lambda: storage.get(b"a"), lambda: storage.write([(b"a", b"b")])):
        assert isinstance(called(call), WrongLoop)
    assert await storage.get(b"a") is None
    await storage.close()


async def test_a_delivery_may_be_awaited_in_another_loop_and_not_in_two() -> None:
    async with World().node(1) as alice:
        delivery = await alice.messaging.send("n", identity(9).sign_id, 1)
        waits = threading.Event()
        ended: list[Any] = []

        def wait() -> None:
            async def both() -> None:
                waiting = asyncio.ensure_future(_outcome(delivery))
                await asyncio.sleep(0)
                waits.set()
                ended.append(await waiting)

            asyncio.run(both())

        thread = threading.Thread(target=wait)
        thread.start()
        await asyncio.to_thread(waits.wait, 5)
        with pytest.raises(WrongLoop, match="another event loop"):
            await delivery
        alice.parts.outbox.expiry._now = lambda: 1e12
        alice.parts.outbox.expiry.look()
        await asyncio.to_thread(thread.join, 5)
        assert ended == ["Expired"]


async def _outcome(delivery: Delivery) -> str:
    try:
        return (await delivery).state
    except Exception as error:
        return type(error).__name__


async def test_a_home_is_reached_from_other_threads_only() -> None:
    home = Home()
    with pytest.raises(NotRunning):
        home.reachable()
    home.enter()
    with pytest.raises(WrongLoop, match="await the call itself"):
        home.reachable()
    assert await asyncio.to_thread(home.reachable) is asyncio.get_running_loop()
