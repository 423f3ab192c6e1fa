"""Rows that a handler saves go to disk in the transaction that notes its message as handled."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mmplatform import HandlerFailed, LocalError, Message, Platform
from mmplatform.message import DELIVERED
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.peers import befriend
from tests.support.waiting import until
from tests.support.world import World


def transactions(node: Platform) -> list[list[bytes]]:
    """The keys of each transaction of the node's storage, as they come."""
    found: list[list[bytes]] = []
    write = node.storage.write

    def writing(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        found.append([key for key, _ in rows])
        return write(rows, sync=sync)

    node.storage.write = writing  # type: ignore[method-assign]
    return found


def with_row(found: list[list[bytes]], prefix: bytes) -> list[list[bytes]]:
    return [keys for keys in found if any(key.startswith(prefix) for key in keys)]


def count(topic: str, sender: str, payload: Any, message: Message) -> None:
    message.put("last", payload)


async def test_the_row_and_the_note_that_the_message_is_handled_are_one_transaction() -> None:
    async with World().nodes() as [alice, bob]:
        found = transactions(bob)
        bob.messaging.on("friends.count", count)
        assert await (await alice.messaging.send("count", bob.sign_id, 7)) == DELIVERED
        assert await bob.kept.get("last") == 7
        [keys] = with_row(found, b"kept/")
        assert any(key.startswith(b"handled/" + alice.sign_id.encode()) for key in keys)


async def test_so_are_the_row_and_the_end_of_a_message_that_had_waited_for_its_handler() -> None:
    async with World().nodes() as [alice, bob]:
        delivery = await alice.messaging.send("count", bob.sign_id, 7)
        await delivery.received()
        found = transactions(bob)
        bob.messaging.on("friends.count", count)
        assert await delivery == DELIVERED
        [keys] = with_row(found, b"kept/")
        held = [key for key, _ in await bob.storage.scan(b"held/")]
        assert held == []
        assert any(key.startswith(b"held/") for key in keys)


async def test_what_a_failing_handler_put_is_not_saved() -> None:
    async with World().nodes() as [alice, bob]:
        tries: list[Any] = []

        @bob.messaging.on("friends.count", retries=1, backoff=0.001)
        def failing(topic: str, sender: str, payload: Any, message: Message) -> None:
            message.put("last", payload)
            message.put(f"try {len(tries)}", payload)
            tries.append(payload)
            if payload == "bad" or len(tries) < 2:
                raise ValueError("no")

        assert await (await alice.messaging.send("count", bob.sign_id, "good")) == DELIVERED
        with pytest.raises(HandlerFailed):
            await (await alice.messaging.send("count", bob.sign_id, "bad"))
        assert await bob.kept.items() == [("last", "good"), ("try 1", "good")]


async def test_a_message_can_be_read_by_its_handler_and_takes_no_rows_afterwards() -> None:
    async with World().nodes() as [alice, bob]:
        seen: list[Message] = []

        @bob.messaging.on("friends.count")
        async def reading(topic: str, sender: str, payload: Any, message: Message) -> None:
            message.put("total", (await bob.kept.get("total", 0)) + payload)
            seen.append(message)

        sent = [await alice.messaging.send("count", bob.sign_id, number) for number in (1, 2, 3)]
        assert [await delivery for delivery in sent] == [DELIVERED] * 3
        assert await bob.kept.get("total") == 6
        assert [message.id for message in seen] == [each.id.replace(bob.sign_id, alice.sign_id) for each in sent]
        assert {(message.kind, message.scope, message.topic) for message in seen} == {("durable", "friends", "count")}
        assert all(0 < message.time < message.expires for message in seen)
        with pytest.raises(LocalError, match="handled"):
            seen[0].put("late", 1)


async def test_rows_are_there_after_a_restart_and_none_takes_them_away() -> None:
    world, storage = World(), MemoryStorage()
    async with world.node(1) as alice, asyncio.timeout(20):
        async with world.node(2, storage=storage) as bob:
            await befriend(alice, bob)
            bob.messaging.on("friends.count", count)
            await (await alice.messaging.send("count", bob.sign_id, 7))
        async with world.node(2, storage=storage) as bob:
            assert await bob.kept.get("last") == 7
            bob.messaging.on("friends.count", count)
            await alice.add(bob.ticket())
            await (await alice.messaging.send("count", bob.sign_id, None))
            assert await bob.kept.get("last", "gone") == "gone"
            await until(lambda: bob.parts.handled.unfinished == 0)
            assert await bob.storage.scan(b"kept/") == []
