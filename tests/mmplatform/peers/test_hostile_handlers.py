"""Slow handlers: a stranger that fills their queues holds up nobody but itself, and not much waits of it."""

import asyncio
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform import accounts as accounts_module
from mmplatform.errors import RequestTimeout
from tests.support.waiting import until
from tests.support.world import World


class Slow:
    """Handles one message at a time, when it is let."""

    def __init__(self, node: Platform, pattern: str) -> None:
        self.senders: list[str] = []
        self.payloads: list[Any] = []
        self.steps = asyncio.Semaphore(0)
        node.messaging.on(pattern, self.handle)

    async def handle(self, topic: str, sender: str, payload: Any) -> Any:
        self.senders.append(sender)
        self.payloads.append(payload)
        await self.steps.acquire()
        return payload


async def test_a_friend_is_served_before_all_that_a_stranger_has_sent() -> None:
    world = World()
    async with world.node(1) as bob, world.node(2) as alice, world.node(3) as eve:
        await bob.add(alice.ticket(), circle="friends")
        for node in (alice, eve):
            await node.add(bob.ticket())
        slow = Slow(bob, "*.work")
        for number in range(200):
            await eve.messaging.send("work", bob.sign_id, number)
        await until(lambda: bob.parts.peers.peer(eve.sign_id).exchange.held.bytes > 100)
        await alice.messaging.send("work", bob.sign_id, "from a friend")
        await until(lambda: bob.parts.peers.peer(alice.sign_id).exchange.held.bytes > 0)
        slow.steps.release()
        await until(lambda: len(slow.senders) == 2)
        assert slow.senders == [eve.sign_id, alice.sign_id]
        for _ in range(300):
            slow.steps.release()  # a stop waits for handlers


@pytest.mark.parametrize("kind", ["events", "requests", "messages"])
async def test_a_stranger_is_not_read_while_much_of_it_waits_and_loses_nothing(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "NETWORK", 1024 * 1024)
    world = World()
    async with world.node(1) as bob, world.node(2) as eve:
        await eve.add(bob.ticket())
        slow = Slow(bob, "*.work")
        await eve.connect(bob.sign_id)
        link = bob.parts.peers.peer(eve.sign_id).link
        assert link is not None
        asked = []
        for _ in range(40):
            blob = bytes(50_000)
            if kind == "events":
                await eve.messaging.send("work", bob.sign_id, blob, realtime=True)
            elif kind == "messages":
                await eve.messaging.send("work", bob.sign_id, blob)
            else:
                asked.append(asyncio.create_task(eve.messaging.request("work", bob.sign_id, blob, timeout=60)))
        await until(lambda: link.held_up)
        held = bob.parts.peers.peer(eve.sign_id).exchange.held
        assert held.bytes < 900_000
        for _ in range(40):
            slow.steps.release()
        await until(lambda: len(slow.senders) == 40)
        await until(lambda: held.bytes == 0)
        assert not link.held_up
        await asyncio.gather(*asked)
        assert eve.parts.peers.peer(bob.sign_id).link is not None


async def test_requests_that_nobody_waits_for_any_more_are_skipped() -> None:
    world = World()
    async with world.node(1) as bob, world.node(2) as eve:
        await eve.add(bob.ticket())
        slow = Slow(bob, "*.work")
        first = asyncio.create_task(eve.messaging.request("work", bob.sign_id, "first", timeout=60))
        await until(lambda: slow.payloads == ["first"])
        for number in range(10):
            with pytest.raises(RequestTimeout):
                await eve.messaging.request("work", bob.sign_id, number, timeout=0.001)
        slow.steps.release()
        await first
        last = asyncio.create_task(eve.messaging.request("work", bob.sign_id, "last", timeout=60))
        for _ in range(20):
            slow.steps.release()
        assert await last == "last"
        assert slow.payloads[-1] == "last"
        assert bob.parts.peers.peer(eve.sign_id).exchange.held.bytes == 0
