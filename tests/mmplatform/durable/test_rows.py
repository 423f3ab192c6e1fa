"""Rows: one a lane and turn, of a size that can be read, and a damaged one costs its own messages only."""

import asyncio
from collections.abc import Callable

import pytest

from mmplatform.codec import encode
from mmplatform.durable import inspection
from mmplatform.errors import (
    Refused,
    StorageCorrupt,
    StorageFull,
)
from mmplatform.storage.contract import Storage
from tests.support.outbox import BOB, LATER, Node, full, rows, running, until


async def test_what_is_put_in_one_turn_is_one_row_a_lane(node: Node) -> None:
    await asyncio.gather(*(node.send(b"%d" % n, lane=lane) for n in range(50) for lane in (0, 2)))
    assert len(await rows(node.storage, b"outbox/")) == 2
    assert [record.payload for record in node.take()] == [b"%d" % n for n in range(50)] * 2


async def test_many_in_one_turn_become_rows_that_can_be_read_one_by_one(node: Node) -> None:
    await asyncio.gather(*(node.send(bytes(100_000)) for _ in range(40)))
    sizes = [len(value) for _, value in await rows(node.storage, b"outbox/")]
    assert len(sizes) == 4
    assert max(sizes) < 1_300_000
    node.link()
    assert len(await node.drain()) == 40


async def test_a_damaged_row_loses_its_own_messages_only(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        ids = [(await node.send(b"%d" % n)).id for n in range(3)]
        (_, (broken, _), _) = await rows(node.storage, b"outbox/")
        await node.storage.put(broken, b"\xc1garbage")
    async with running(store(), 6) as node:
        assert [each.id async for each in inspection.queued(node.outbox)] == [ids[0], ids[2]]
        node.link()
        await until(lambda: node.outbox.queue(BOB).sender.unsettled == 3)
        assert [record.payload for record in node.take() if record.topic] == [b"0", b"2"]
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        assert await node.storage.get(b"quarantine/" + broken) == b"\xc1garbage"
        assert await node.storage.get(broken) is None
        node.acknowledge(3, epoch=5)
        assert [await inspection.state(node.outbox, each) for each in ids] == ["delivered", "refused", "delivered"]
        assert node.outbox.queue(BOB).empty
    async with running(store(), 7) as node:
        assert node.errors == []


@pytest.mark.parametrize("value", [b"", encode([99, []]), encode([5, []]), encode([77, [[1, LATER, "t", "ms", b""]]])])
async def test_a_row_that_says_something_else_is_put_aside(store: Callable[[], Storage], value: bytes) -> None:
    async with running(store()) as node:
        delivery = await node.send()
        ((key, _),) = await rows(node.storage, b"outbox/")
        await node.storage.put(key, value)
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.queue(BOB).empty)
        assert await inspection.state(node.outbox, delivery.id) == "refused"
        assert len(node.errors) == 1


async def test_a_row_that_vanished_is_reported(node: Node) -> None:
    sent = [await node.send(bytes(600_000)) for _ in range(4)]
    keys = [key for key, _ in await rows(node.storage, b"outbox/")]
    await node.storage.delete(keys[3])
    node.link()
    await until(lambda: node.errors)
    with pytest.raises(Refused, match="damaged"):
        await sent[3]
    assert len([record for _, record in await node.drain() if record.topic]) == 3


@pytest.mark.parametrize(
    "key",
    [
        b"outbox/short",
        b"outbox/" + b"\xff" * 44 + b"/\x02" + bytes(4) + (1).to_bytes(8) + (1).to_bytes(8),
        b"outbox/" + BOB.encode() + b"/\x09" + bytes(4) + (1).to_bytes(8) + (1).to_bytes(8),
        b"outbox/" + BOB.encode() + b"/\x02" + bytes(4) + (1).to_bytes(8) + b"\xff" * 8,
        b"outbox/" + BOB.encode() + b"/\x02" + bytes(4) + (9).to_bytes(8) + (1).to_bytes(8),
    ],
)
async def test_a_damaged_key_does_not_keep_the_node_from_starting(store: Callable[[], Storage], key: bytes) -> None:
    async with store() as storage:
        await storage.put(key, b"value")
    async with running(store()) as node:
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        assert await node.storage.get(b"quarantine/" + key) == b"value"
        assert await node.storage.get(key) is None
        assert node.outbox.peers() == []


async def test_quarantine_on_a_full_disk_goes_on(store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(store()) as node:
        await node.send(b"1")
        await node.send(b"2")
        ((broken, _), _) = await rows(node.storage, b"outbox/")
        await node.storage.put(broken, b"")
    async with running(store(), 6) as node:
        with monkeypatch.context() as patched:
            full(node.storage, patched)
            node.link()
            await until(lambda: node.outbox.queue(BOB).sender.unsettled)
            assert [record.payload for record in node.take()] == [b"2"]
        assert [type(error) for error in node.errors] == [StorageCorrupt, StorageFull]
