"""A sender that sends far more than it may: it is refused with reasons, goes on by itself, and spoils nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mmplatform import Delivery, Platform
from mmplatform.durable import inspection
from tests.support.running_relays import echo, friends, node, relay
from tests.support.waiting import until
from tests.support.world import collect

COUNT = 400
PAYLOAD = bytes(2000)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        yield stack


async def sent(by: Platform, to: str) -> list[Delivery]:
    return list(await asyncio.gather(*(by.messaging.send("chat", to, [number, PAYLOAD]) for number in range(COUNT))))


async def reasons(of: Platform, to: str) -> set[str]:
    return {waiting.why async for waiting in inspection.queued(of.parts.outbox, to) if waiting.state == "waiting"}


@pytest.mark.slow
async def test_a_flood_is_refused_and_all_of_it_arrives_in_the_end(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Alice floods Bob and Carol, who are away, until her quota is full, Carol's box by Mallory's help as well; whoever
    comes makes room for what the others are still to be left. Dave and Erin notice nothing of it."""
    home = await relay(stack, tmp_path / "relay", sender_bytes=600_000, recipient_bytes=900_000)
    alice, mallory = await node(stack, 1, home), await node(stack, 4, home)
    bob, carol = [await node(stack, number, home, storage=tmp_path / str(number)) for number in (2, 3)]
    dave, erin = await node(stack, 5, home), await node(stack, 6, home)
    erin.messaging.on("public.echo", echo)
    await dave.add(erin.ticket())
    await friends(alice, bob, carol, mallory)
    await bob.stop()
    await carol.stop()
    to_carol = await sent(alice, carol.sign_id)
    await until(lambda: any(delivery.state == "relayed" for delivery in to_carol))
    more = await sent(mallory, carol.sign_id)
    to_bob = await sent(alice, bob.sign_id)
    await until(lambda: home.server.metrics.declined["quota"] and home.server.metrics.declined["overflow"])
    for number in range(100):
        assert await dave.messaging.request("echo", erin.sign_id, number) == number
    assert any("quota" in why for why in await reasons(alice, bob.sign_id))
    assert any("quota" in why or "overflow" in why for why in await reasons(mallory, carol.sign_id))
    assert not all(delivery.state == "relayed" for delivery in to_bob)

    carol = await node(stack, 3, home, storage=tmp_path / "3", friends=[alice.sign_id, mallory.sign_id])
    got = collect(carol, "friends.chat")
    await asyncio.gather(*to_carol, *more)
    assert len(got) == 2 * COUNT
    relayed = sum(delivery.state == "relayed" for delivery in to_bob)
    await until(lambda: sum(delivery.state == "relayed" for delivery in to_bob) > relayed + 50)
    bob = await node(stack, 2, home, storage=tmp_path / "2", friends=[alice.sign_id])
    got = collect(bob, "friends.chat")
    await asyncio.gather(*to_bob)
    assert [number for number, _ in got] == list(range(COUNT))
    await until(lambda: not home.server.metrics.mailbox_count)
