"""Circles that do not match: who adds a friend asks once; what it sends stays with it until a person has decided."""

import asyncio

import pytest

from mmplatform import Platform, Refused
from mmplatform.message import DELIVERED
from mmplatform.peers import friend_requests as module
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import stays, until
from tests.support.world import World, collect


def asking(node: Platform) -> list[str]:
    return [peer for peer, _ in node.parts.friend_requests.listed()]


async def test_what_a_friend_to_be_sends_stays_with_it_and_is_delivered_when_it_is_accepted() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        told: list[str] = []
        bob.on("asking", told.append)
        heard = collect(bob)
        await alice.add(bob.ticket(), circle="friends")
        bob.set_up()  # he is not waiting for handlers
        waiting = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(10)]
        await until(lambda: asking(bob) == [alice.sign_id])
        await stays(lambda: {delivery.state for delivery in waiting} == {"waiting"}, 0.05)
        assert told == [alice.sign_id]
        assert heard == []
        await bob.add(alice.sign_id, circle="friends")
        assert {await delivery for delivery in waiting} == {DELIVERED}
        assert heard == list(range(10))
        assert asking(bob) == []


async def test_what_it_sent_is_refused_when_it_is_declined() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        collect(bob)
        await alice.add(bob.ticket(), circle="friends")
        bob.set_up()
        delivery = await alice.messaging.send("chat", bob.sign_id, 1)
        await until(lambda: asking(bob) == [alice.sign_id])
        assert bob.parts.friend_requests.decline(alice.sign_id)
        with pytest.raises(Refused, match="unhandled"):
            await delivery
        assert asking(bob) == []


async def test_who_asks_is_listed_once_also_after_restarts() -> None:
    world, storage = World("tcp"), MemoryStorage()
    async with world.node(1) as alice, asyncio.timeout(40):
        async with world.node(2, storage=storage) as bob:
            await alice.add(bob.ticket(), circle="friends")
            delivery = await alice.messaging.send("chat", bob.sign_id, 1)
            await until(lambda: asking(bob))
        async with world.node(2, storage=storage) as bob:
            assert asking(bob) == [alice.sign_id]
            told: list[str] = []
            bob.on("asking", told.append)
            await alice.add(bob.ticket(), circle="friends")
            await alice.connect(bob.sign_id)
            second = await alice.messaging.send("chat", bob.sign_id, 2)
            heard = collect(bob)
            await bob.add(alice.sign_id, circle="friends")
            assert await delivery == await second == DELIVERED
            assert heard == [1, 2]
            assert told == [], "she has asked before"


async def test_an_accepted_friend_without_a_handler_is_kept_like_any_other() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket(), circle="friends")
        bob.set_up()
        delivery = await alice.messaging.send("chat", bob.sign_id, 1)
        await until(lambda: asking(bob))
        await bob.add(alice.sign_id, circle="friends")
        await delivery.received()
        assert bob.inbox.waiting == 1


async def test_the_list_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ASKING", 1)
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, world.node(3) as carol, asyncio.timeout(20):
        bob.set_up()
        for stranger in (alice, carol):
            await stranger.add(bob.ticket(), circle="friends")
            await stranger.connect(bob.sign_id)
            await stranger.flush(timeout=10)
        assert asking(bob) == [carol.sign_id], "the oldest gives way"


async def test_friends_on_both_sides_ask_for_nothing() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        await (await alice.messaging.send("chat", bob.sign_id, 1))
        await asyncio.gather(alice.flush(), bob.flush())
        assert asking(alice) == asking(bob) == []
        assert heard == [1]
