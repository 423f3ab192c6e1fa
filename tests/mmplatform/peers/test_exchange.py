"""What is said to one peer and what comes from it: queues, portions, requests over cuts, expiry."""

import asyncio
from typing import Any

import pytest

from mmplatform import RequestFailed
from mmplatform.peers import exchange as module
from mmplatform.peers import realtime_queue, requests
from mmplatform.storage.memory import MemoryStorage
from tests.support.peers import linked, peer_of
from tests.support.waiting import until
from tests.support.world import World, collect, identity


async def test_a_request_survives_a_cut_and_its_handler_runs_once() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        runs: list[Any] = []
        reached, cut = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("friends.add")
        async def add(topic: str, sender: str, payload: Any) -> int:
            runs.append(payload)
            reached.set()
            await cut.wait()
            return sum(payload)

        await alice.connect(bob.sign_id)
        asking = asyncio.create_task(alice.messaging.request("add", bob.sign_id, [1, 2], timeout=20))
        await reached.wait()
        before = peer_of(alice, bob).link
        world.cut()
        await until(lambda: peer_of(alice, bob).link is not before)
        cut.set()
        assert await asking == 3
        assert runs == [[1, 2]]


async def test_a_reply_lost_with_the_link_is_sent_again_without_asking_the_handler_again() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        runs: list[Any] = []

        @bob.messaging.on("friends.add")
        def add(topic: str, sender: str, payload: Any) -> int:
            runs.append(payload)
            world.network.drop = lambda frame: True  # the reply is the next frame: it takes the link with it
            return sum(payload)

        await alice.connect(bob.sign_id)
        asking = asyncio.create_task(alice.messaging.request("add", bob.sign_id, [1, 2], timeout=20))
        await until(lambda: runs)
        await until(lambda: peer_of(alice, bob).link is None)
        world.network.drop = lambda frame: False
        assert await asking == 3
        assert runs == [[1, 2]]


async def test_one_slow_request_beside_very_many_quick_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "UNFINISHED", 100)
    monkeypatch.setattr(realtime_queue, "UNREAD", 100)
    async with World().nodes() as [alice, bob]:
        finish = asyncio.Event()
        bob.messaging.on("friends.quick", lambda topic, sender, payload: payload)

        @bob.messaging.on("friends.slow")
        async def slow(topic: str, sender: str, payload: Any) -> str:
            await finish.wait()
            return "slow"

        asking = asyncio.create_task(alice.messaging.request("slow", bob.sign_id, timeout=30))
        for n in range(10):
            asked = [alice.messaging.request("quick", bob.sign_id, n, timeout=30) for _ in range(50)]
            assert await asyncio.gather(*asked) == [n] * 50
        finish.set()
        assert await asking == "slow"
        assert linked(alice, bob)


async def test_a_queue_larger_than_a_frame_goes_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTION", 10_000)
    monkeypatch.setattr(realtime_queue, "PORTION", 10_000)
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
        await alice.connect(bob.sign_id)
        peer = peer_of(alice, bob)
        assert peer.link is not None
        peer.link.pause_writing()
        sizes = [9_000, 30_000, 10, 25_000, 4_000, 6_000]
        events = [asyncio.create_task(alice.messaging.send("n", bob.sign_id, bytes(s), realtime=True)) for s in sizes]
        asked = [
            asyncio.create_task(alice.messaging.request("echo", bob.sign_id, bytes([n]) * 3000)) for n in range(10)
        ]
        delivery = await alice.messaging.send("durable", bob.sign_id, "too")
        await until(lambda: len(peer.exchange._realtime.events) == 6 and len(peer.exchange._realtime.requests) == 10)
        frames: list[int] = []
        send = peer.link.send
        monkeypatch.setattr(peer.link, "send", lambda frame: (frames.append(len(frame.events)), send(frame)))
        peer.link.resume_writing()
        assert [await asking for asking in asked] == [bytes([n]) * 3000 for n in range(10)]
        await asyncio.gather(*events)
        await delivery
        assert [len(payload) for payload in heard if isinstance(payload, bytes) and len(payload) != 3000] == sizes
        assert len(frames) > 5
        assert peer.exchange._realtime.bytes == 0


async def test_a_durable_message_is_not_starved_by_a_full_queue() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        await alice.connect(bob.sign_id)
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                await alice.messaging.send("flood", bob.sign_id, bytes(100_000), realtime=True)

        flooding = asyncio.create_task(flood())
        await (await alice.messaging.send("n", bob.sign_id, "durable"))
        stop.set()
        await flooding
        assert "durable" in heard


async def test_a_reply_that_cannot_travel_is_a_failure() -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.big", lambda topic, sender, payload: bytes(64 * 1024 * 1024 + 1))
        bob.messaging.on("friends.odd", lambda topic, sender, payload: object())
        for topic in ("big", "odd"):
            with pytest.raises(RequestFailed, match="InvalidPayload"):
                await alice.messaging.request(topic, bob.sign_id)
        assert linked(alice, bob)


async def test_messages_expire_while_the_peer_is_away() -> None:
    storage = MemoryStorage()
    async with World().node(1, storage=storage) as alice:
        short = await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=0.02)
        long = await alice.messaging.send("n", identity(9).sign_id, 2, expire_after=60)
        await until(lambda: short.done)
        assert short.state == "expired"
        assert long.state == "waiting"


async def test_its_attributes_are_few_enough_for_the_interpreter_to_read_them_fast() -> None:
    """From 30 on CPython keeps them in a dictionary of the object's own: W1 was 0.84 times as fast."""
    async with World().nodes() as (alice, bob):
        await alice.connect(bob.sign_id)
        assert len(vars(peer_of(alice, bob).exchange)) < 30
