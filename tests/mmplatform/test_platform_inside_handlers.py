"""What applications do in the middle of a handler: ask its sender, tell it something, and wait for the end of that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.message import DELIVERED
from tests.support.world import World, collect

Pair = tuple[Platform, Platform]


@pytest.fixture(params=["memory", "tcp"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with World(request.param).nodes() as (alice, bob), asyncio.timeout(20):
        alice.messaging.on("friends.who", lambda topic, sender, payload: "alice")
        yield alice, bob


async def test_it_asks_whoever_asks_it(pair: Pair) -> None:
    alice, bob = pair

    async def ask_back(topic: str, sender: str, payload: Any) -> Any:
        return await bob.messaging.request("who", sender)

    bob.messaging.on("friends.back", ask_back)
    assert await alice.messaging.request("back", bob.sign_id) == "alice"


async def test_it_tells_its_sender_and_waits_for_the_end(pair: Pair) -> None:
    alice, bob = pair
    heard = collect(alice, "friends.told")

    async def tell(topic: str, sender: str, payload: Any) -> str:
        return (await (await bob.messaging.send("told", sender, payload))).state

    async def tell_and_flush(topic: str, sender: str, payload: Any) -> str:
        await bob.messaging.send("told", sender, payload)
        await bob.flush(sender)
        return "flushed"

    bob.messaging.on("friends.tell", tell)
    bob.messaging.on("friends.flush", tell_and_flush)
    assert await alice.messaging.request("tell", bob.sign_id, 1) == "delivered"
    assert await alice.messaging.request("flush", bob.sign_id, 2) == "flushed"
    assert heard == [1, 2]


async def test_of_a_durable_message_it_asks_its_sender_before_that_is_told_of_the_end(pair: Pair) -> None:
    alice, bob = pair
    answers: list[Any] = []

    async def ask_back(topic: str, sender: str, payload: Any) -> None:
        answers.append(await bob.messaging.request("who", sender))

    bob.messaging.on("friends.work", ask_back)
    assert await (await alice.messaging.send("work", bob.sign_id)) == DELIVERED
    assert answers == ["alice"]


async def test_it_ends_its_own_subscription(pair: Pair) -> None:
    alice, bob = pair

    async def leave(topic: str, sender: str, payload: Any) -> str:
        bob.messaging.off("friends.leave", leave)
        return "left"

    bob.messaging.on("friends.leave", leave)
    bob.set_up()
    assert await alice.messaging.request("leave", bob.sign_id) == "left"
    assert bob.messaging.bus.subscribers("friends.leave") == []
