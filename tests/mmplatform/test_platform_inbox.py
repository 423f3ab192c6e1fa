"""What nobody listens to yet: kept for friends, left with strangers, and handed over to the handler that comes."""

import asyncio
from typing import Any

import pytest

from mmplatform import Expired, InboxLimits, LocalError, NoResponders, Platform, Refused
from mmplatform.message import DELIVERED, UNHANDLED, Delivery
from mmplatform.storage.memory import MemoryStorage
from tests.support.peers import befriend
from tests.support.waiting import stays, until
from tests.support.world import KINDS, World, collect


async def sent(sender: Platform, to: Platform, topic: str, *payloads: Any, **options: Any) -> list[Delivery]:
    return [await sender.messaging.send(topic, to.sign_id, payload, **options) for payload in payloads]


async def received(deliveries: list[Delivery]) -> None:
    """Wait until the recipient has all of them on its disk, and no handler had them."""
    await asyncio.gather(*(delivery.received() for delivery in deliveries))
    assert {delivery.state for delivery in deliveries} == {"received"}


def left_at(sender: Platform, node: Platform) -> int:
    """How many messages of ``sender`` the node ``node`` has left with it."""
    streams = node.parts.handled.receiver(sender.sign_id)._streams.values()
    return sum(len(stream.left.numbers) for stream in streams)


# Friends.


@KINDS
async def test_a_program_that_awaits_before_its_handlers_are_there_loses_nothing(kind: str) -> None:
    world, storage = World(kind), MemoryStorage()
    async with world.node(1) as alice, asyncio.timeout(40):
        async with world.node(2, storage=storage) as bob:
            await befriend(alice, bob)
        waiting = await sent(alice, bob, "chat", *range(100))
        async with world.node(2, storage=storage) as bob:
            await received(waiting)
            assert bob.inbox.waiting == 100
            heard = collect(bob)
            assert {await delivery for delivery in waiting} == {DELIVERED}
            assert heard == list(range(100))
            assert bob.inbox.waiting == 0


async def test_what_is_kept_survives_restarts_of_either_side(tmp_path: Any) -> None:
    world = World()
    folders: dict[int, dict[str, Any]] = {number: {"storage": tmp_path / str(number)} for number in (1, 2)}
    async with world.node(1, **folders[1]) as alice, world.node(2, **folders[2]) as bob:
        await befriend(alice, bob)
        waiting = await sent(alice, bob, "chat", *range(10))
        await received(waiting)
    async with world.node(1, **folders[1]) as alice:
        assert [await alice.delivery(delivery.id) for delivery in waiting] == ["received"] * 10
        bob = world.node(2, **folders[2])
        heard = collect(bob)
        async with bob:
            await until(lambda: heard == list(range(10)))
            await alice.add(bob.ticket())  # each has a new address
            for delivery in waiting:
                await until(lambda each=delivery: _is(alice, each, "delivered"))
        async with world.node(2, **folders[2]) as bob:
            assert bob.inbox.waiting == 0


async def _is(node: Platform, delivery: Delivery, state: str) -> bool:
    return await node.delivery(delivery.id) == state


async def test_what_nobody_came_for_in_time_is_expired_and_its_sender_is_told() -> None:
    async with World().nodes() as [alice, bob]:
        [brief] = await sent(alice, bob, "chat", 1, expire_after=0.3)
        [lasting] = await sent(alice, bob, "chat", 2)
        await received([brief, lasting])
        with pytest.raises(Expired):
            await brief
        assert bob.inbox.waiting == 1
        heard = collect(bob)
        await lasting
        assert heard == [2]


async def test_a_topic_keeps_its_order_and_others_pass_while_it_is_held() -> None:
    async with World().nodes() as [alice, bob]:
        passed = collect(bob, "friends.other")
        held = await sent(alice, bob, "held", *range(5))
        await received(held)
        assert await (await alice.messaging.send("other", bob.sign_id, "passes")) == DELIVERED
        assert passed == ["passes"]
        gate, heard = asyncio.Event(), []

        @bob.messaging.on("friends.held")
        async def slow(topic: str, sender: str, payload: Any) -> None:
            await gate.wait()
            heard.append(payload)

        held += await sent(alice, bob, "held", *range(5, 10))
        await held[-1].received()
        gate.set()
        assert {await delivery for delivery in held} == {DELIVERED}
        assert heard == list(range(10))


async def test_a_full_inbox_leaves_the_rest_with_its_sender_and_takes_it_up_again() -> None:
    async with World().nodes(inbox=InboxLimits(peer_messages=10)) as [alice, bob]:
        waiting = await sent(alice, bob, "chat", *range(25))
        await received(waiting[:10])
        await until(lambda: left_at(alice, bob) == 15)
        await stays(lambda: bob.inbox.waiting == 10, 0.05)
        assert {delivery.state for delivery in waiting[10:]} == {"waiting"}
        heard = collect(bob)
        assert {await delivery for delivery in waiting} == {DELIVERED}
        assert heard == list(range(25))


async def test_kept_messages_can_be_looked_at_taken_and_dropped() -> None:
    async with World().nodes() as [alice, bob]:
        first, second, third = waiting = await sent(alice, bob, "chat", "a", "b", "c")
        await received(waiting)
        names = [delivery.id.replace(bob.sign_id, alice.sign_id) for delivery in waiting]
        entries = [entry async for entry in bob.inbox.entries(alice.sign_id)]
        assert [(entry.id, entry.topic, entry.state) for entry in entries] == [(n, "chat", "waiting") for n in names]
        assert await bob.inbox.take(names[0]) == entries[0]
        assert await bob.inbox.drop(names[1])
        assert await bob.inbox.entry(names[1]) is None
        assert await first == DELIVERED
        with pytest.raises(Refused, match="dropped unread"):
            await second
        assert third.state == "received"
        assert bob.inbox.waiting == 1


# Strangers.


async def test_what_strangers_send_is_left_with_them_until_all_is_set_up_then_refused() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        waiting = await sent(alice, bob, "chat", *range(10))
        await until(lambda: left_at(alice, bob) == 10)
        assert {delivery.state for delivery in waiting} == {"waiting"}
        bob.set_up()
        await until(lambda: all(delivery.done for delivery in waiting))
        assert {delivery.outcome for delivery in waiting} == {UNHANDLED}
        assert bob.inbox.waiting == 0


async def test_the_time_to_set_up_passes_by_itself() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2, setup_time=0.1) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        with pytest.raises(Refused, match="unhandled"):
            await (await alice.messaging.send("chat", bob.sign_id, 1))


async def test_what_strangers_sent_reaches_the_handler_that_comes_in_time_in_its_order() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        waiting = await sent(alice, bob, "chat", *range(10))
        await until(lambda: left_at(alice, bob) == 10)
        heard = collect(bob, "public.>")
        waiting += await sent(alice, bob, "chat", *range(10, 20))  # on their way before alice hears that she is asked
        assert {await delivery for delivery in waiting} == {DELIVERED}
        assert heard == list(range(20))


async def test_large_messages_that_were_left_come_again_in_their_order() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(40):
        await alice.add(bob.ticket())
        sizes = [10, 700_000, 10, 300_000, 10]
        waiting = await sent(alice, bob, "chat", *(bytes(size) for size in sizes))
        await until(lambda: left_at(alice, bob) == 5)
        heard = collect(bob, "public.>")
        assert {await delivery for delivery in waiting} == {DELIVERED}
        assert [len(payload) for payload in heard] == sizes


async def test_what_strangers_send_is_kept_if_the_program_wants_it() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2, hold=("self", "friends", "public")) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket())
        bob.set_up()
        waiting = await sent(alice, bob, "chat", 1, 2)
        await received(waiting)
        heard = collect(bob, "public.>")
        assert {await delivery for delivery in waiting} == {DELIVERED}
        assert heard == [1, 2]


# Requests.


async def test_a_request_waits_for_the_handler_that_is_yet_to_come() -> None:
    async with World().nodes() as [alice, bob]:
        asking = asyncio.ensure_future(alice.messaging.request("add", bob.sign_id, [1, 2]))
        await until(lambda: bob.parts.reception._parked)
        bob.messaging.on("friends.add", lambda topic, sender, payload: sum(payload))
        assert await asking == 3


async def test_a_request_that_nobody_came_for_is_answered_once_all_is_set_up() -> None:
    async with World().nodes() as [alice, bob]:
        asking = asyncio.ensure_future(alice.messaging.request("add", bob.sign_id, [1, 2]))
        await until(lambda: bob.parts.reception._parked)
        bob.set_up()
        with pytest.raises(NoResponders):
            await asking


@pytest.mark.parametrize("wrong", [{"hold": "friends"}, {"hold": ["friend"]}, {"inbox": 100}, {"setup_time": -1}])
def test_what_cannot_be_meant_is_refused_at_once(wrong: dict[str, Any]) -> None:
    """A word of letters, or a misspelt circle, would hold nothing without a word."""
    with pytest.raises(LocalError, match=next(iter(wrong))):
        Platform(**wrong)
