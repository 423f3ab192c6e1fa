"""Replies of strangers who were asked: as large as those of friends, and counted apart from what comes unasked."""

import asyncio
from asyncio import timeout
from typing import Any

from mmplatform import Platform
from mmplatform.accounts import ASKED, NETWORK
from mmplatform.message import MAX_PAYLOAD
from tests.support.peers import peer_of
from tests.support.waiting import until
from tests.support.world import World

LARGE = NETWORK + 1  # more than all strangers of a network may have half-sent


def held_of_strangers(node: Platform) -> tuple[int, int]:
    """Bytes of half-sent messages: of those who were asked, and of all others."""
    accounts = node.parts.accounts
    return accounts.asked.total.used, accounts.strangers.total.used


async def strangers(world: World, asker: Platform, bob: Platform) -> None:
    await asker.add(bob.ticket(), circle="public")
    bob.messaging.on("public.large", lambda topic, sender, payload: bytes(payload))


async def test_a_stranger_who_is_asked_replies_with_as_much_as_a_friend() -> None:
    world = World("tcp")
    async with world.node(1) as alice, world.node(2) as bob:
        await strangers(world, alice, bob)
        assert len(await alice.messaging.request("large", bob.sign_id, LARGE)) == LARGE
        largest = MAX_PAYLOAD - 100
        assert len(await alice.messaging.request("large", bob.sign_id, largest, timeout=30)) == largest
        assert held_of_strangers(alice) == (0, 0)


async def test_the_reply_comes_over_the_next_link_as_well() -> None:
    world = World("tcp")
    async with world.node(1) as alice, world.node(2) as bob:
        await strangers(world, alice, bob)
        reached, go_on = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("public.late")
        async def late(topic: str, sender: str, payload: Any) -> bytes:
            reached.set()
            await go_on.wait()
            return bytes(LARGE)

        asking = asyncio.create_task(alice.messaging.request("late", bob.sign_id, timeout=30))
        async with timeout(10):
            await reached.wait()
        before = peer_of(alice, bob).link
        world.cut(alice, bob)
        await until(lambda: peer_of(alice, bob).link not in (None, before))
        go_on.set()
        assert len(await asking) == LARGE


async def test_what_is_half_sent_of_a_reply_is_counted_as_one() -> None:
    world = World("tcp")
    async with world.node(1) as alice, world.node(2) as bob:
        await strangers(world, alice, bob)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, held_of_strangers(alice)[0])
                assert held_of_strangers(alice)[1] <= NETWORK
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        assert len(await alice.messaging.request("large", bob.sign_id, LARGE)) == LARGE
        watching.cancel()
        assert LARGE // 2 < most <= ASKED // 2


async def test_a_friend_who_is_asked_stays_on_the_account_of_friends() -> None:
    world = World("tcp")
    async with world.nodes() as [alice, bob]:
        bob.messaging.on("friends.large", lambda topic, sender, payload: bytes(payload))
        await alice.messaging.request("large", bob.sign_id, LARGE)
        link = peer_of(alice, bob).link
        assert link is not None
        assert link.account.above is alice.parts.accounts.known.of(bob.sign_id)
