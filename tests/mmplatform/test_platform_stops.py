"""An orderly stop: nothing new is taken in, handlers end and send; those that will not are named and left behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mmplatform import NotRunning, Platform, RequestTimeout
from mmplatform.message import DELIVERED, Delivery
from mmplatform.storage.memory import MemoryStorage
from tests.support.peers import befriend
from tests.support.waiting import stays, until
from tests.support.world import World, collect, listen_to


async def comes_again(world: World, storage: MemoryStorage, delivery: Delivery) -> None:
    """The node starts again on its storage, hears the message that was not handled, and its sender is told."""
    again = world.node(2, storage=storage)
    heard = collect(again)
    async with again:
        assert await delivery == DELIVERED
        assert heard == [1]


async def test_a_handler_that_sends_loses_nothing_when_its_node_stops_in_the_middle() -> None:
    """A hub forwards from a to c; it is stopped in order, again and again, while messages flow."""
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(1) as a, world.node(3) as c, asyncio.timeout(50):
        heard = collect(c)
        hub = world.node(2, storage=storage)
        async with hub:
            await befriend(a, hub, c)
        sent: list[Any] = []

        async def pump() -> None:
            for number in range(300):
                sent.append(await a.messaging.send("in", hub.sign_id, number))
                await asyncio.sleep(0)

        pumping = asyncio.create_task(pump())
        for life in range(5):
            hub = world.node(2, storage=storage)
            forwarded: list[Any] = []

            @hub.messaging.on("friends.in", concurrency=4)
            async def forward(topic: str, sender: str, payload: Any, hub: Any = hub, begun: Any = forwarded) -> None:
                begun.append(payload)
                await asyncio.sleep(0)
                await hub.messaging.send("out", c.sign_id, payload)

            async with hub:
                await until(lambda begun=forwarded: len(begun) >= 20 or (pumping.done() and all(d.done for d in sent)))
                if life == 4:
                    await pumping
                    assert {await delivery for delivery in sent} == {DELIVERED}
                    await hub.flush(c.sign_id)
        assert sorted(heard) == list(range(300))


async def test_a_handler_at_work_ends_and_its_message_is_handled_once() -> None:
    world, storage = World("tcp"), MemoryStorage()
    gate, log = asyncio.Event(), []

    async def slow(topic: str, sender: str, payload: Any) -> None:
        log.append(("begin", payload))
        await gate.wait()
        log.append(("end", payload))

    async with world.node(1) as alice, asyncio.timeout(20):
        bob = world.node(2, storage=storage)
        bob.messaging.on("friends.in", slow)
        async with bob:
            await befriend(alice, bob)
            first, second = [await alice.messaging.send("in", bob.sign_id, number) for number in (1, 2)]
            await until(lambda: log)
            stopping = asyncio.create_task(bob.stop(grace=10))
            await asyncio.sleep(0)
            assert not stopping.done()
            gate.set()
            await stopping
        assert log == [("begin", 1), ("end", 1)], "what had not begun waits for the next start"
        assert await first == DELIVERED
        bob = world.node(2, storage=storage)
        bob.messaging.on("friends.in", slow)
        async with bob:
            assert await second == DELIVERED
    assert log == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


async def test_what_a_stop_cut_short_is_not_handled_and_comes_again() -> None:
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(1) as alice, asyncio.timeout(20):
        bob = world.node(2, storage=storage)
        begun: list[Any] = []

        @bob.messaging.on("friends.in")
        async def endless(topic: str, sender: str, payload: Any) -> None:
            begun.append(payload)
            await asyncio.Event().wait()

        async with bob:
            await befriend(alice, bob)
            delivery = await alice.messaging.send("in", bob.sign_id, 1)
            await until(lambda: begun)
            await bob.stop(grace=0)
        assert not delivery.done
        again = world.node(2, storage=storage)
        heard = collect(again)
        async with again:
            assert await delivery == DELIVERED
            assert heard == [1]
            assert again.inbox.failed == 0


async def test_a_handler_that_will_not_end_is_named_and_left_behind() -> None:
    world, storage = World("tcp"), MemoryStorage()
    release = asyncio.Event()
    async with world.node(1) as alice, asyncio.timeout(20):
        bob = world.node(2, storage=storage)
        begun: list[Any] = []
        told = listen_to(bob)

        @bob.messaging.on("friends.in")
        async def stubborn(topic: str, sender: str, payload: Any) -> None:
            begun.append(payload)
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue  # "never die"

        async with bob:
            await befriend(alice, bob)
            delivery = await alice.messaging.send("in", bob.sign_id, 1)
            await until(lambda: begun)
            await bob.stop(grace=0)
        assert any("stubborn" in event[2] and "friends.in" in event[2] for event in told if event[0] == "error")
        release.set()
        assert not delivery.done, "it came too late to count"
        await comes_again(world, storage, delivery)


async def test_what_raised_not_running_is_not_handled() -> None:
    """A handler that would send when its node is all but gone: what it has in hand comes again."""
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(1) as alice, world.node(3) as carol, asyncio.timeout(20):
        bob = world.node(2, storage=storage)
        gate, errors = asyncio.Event(), []

        @bob.messaging.on("friends.in", retries=0)
        async def late(topic: str, sender: str, payload: Any) -> None:
            try:
                await gate.wait()
            finally:
                try:
                    await bob.messaging.send("out", carol.sign_id, payload)
                except NotRunning:
                    errors.append(payload)
                    raise

        async with bob:
            await befriend(alice, bob, carol)
            delivery = await alice.messaging.send("in", bob.sign_id, 1)
            await until(lambda: bob.parts.handled.unfinished == 1)
            await bob.stop(grace=0)
        assert not delivery.done
        await comes_again(world, storage, delivery)


async def test_a_request_whose_handler_ends_in_time_is_answered_by_a_node_that_stops() -> None:
    async with World().nodes() as [alice, bob]:
        gate, begun = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("friends.slow")
        async def slow(topic: str, sender: str, payload: Any) -> str:
            begun.set()
            await gate.wait()
            return "done"

        asking = asyncio.ensure_future(alice.messaging.request("slow", bob.sign_id, timeout=10))
        await begun.wait()
        stopping = asyncio.create_task(bob.stop(grace=10))
        await stays(lambda: not stopping.done(), 0.05)
        gate.set()
        assert await asking == "done"
        await stopping
        with pytest.raises(RequestTimeout):
            await alice.messaging.request("slow", bob.sign_id, timeout=0.1)


async def test_rows_that_were_not_opened_close_in_silence(tmp_path: Path) -> None:
    """Ctrl-C while ``mm run`` started was told as ``'Outbox' object has no attribute '_staging'``."""
    platform = Platform(tmp_path)
    told: list[Exception] = []
    platform.on("error", lambda error, topic: told.append(error))
    await platform.parts.close_rows()
    assert told == []
