"""The queues of a peer: apart from each other, and bounded in memory."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.delivery.wire import Record
from mmplatform.durable import inspection, queues
from mmplatform.durable.earlier_rows import read_rows
from mmplatform.durable.outbox import AWAY_BYTES, RESIDENT_BYTES
from mmplatform.durable.queues import PeerQueue
from mmplatform.message import Priority
from mmplatform.storage.contract import Storage
from tests.support.outbox import BOB, CAROL, NORMAL, Node, turn


async def test_lanes_and_peers_are_kept_apart(node: Node) -> None:
    await node.send(b"low", lane=Priority.LOW)
    await node.send(b"control", lane=Priority.CONTROL)
    await node.send(b"carol", peer=CAROL)
    assert [record.payload for record in node.take()] == [b"control", b"low"]
    assert [record.payload for record in node.take(CAROL)] == [b"carol"]


async def test_forgotten_deliveries_cost_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "DELIVERIES_SWEPT", 10)
    node.outbox.queue(BOB).lanes[NORMAL].sweep_at = 10
    kept = await node.send()
    for _ in range(100):
        await node.send()
    gc.collect()
    lane_queue = node.outbox.queue(BOB).lanes[NORMAL]
    assert len(lane_queue.deliveries) < 30
    node.link()
    node.take()
    node.acknowledge(101)
    assert kept.done


async def test_what_does_not_fit_stays_on_disk(node: Node) -> None:
    size = 100_000
    sent = [await node.send(bytes([n]) + bytes(size)) for n in range(250)]
    queue = node.outbox.queue(BOB)
    assert queue.sender.unsettled * size <= AWAY_BYTES + size
    assert queue.bytes > 25_000_000
    assert await inspection.state(node.outbox, sent[200].id) == "waiting"
    assert await inspection.cancel(node.outbox, sent[200].id), "also what is on disk only"
    node.link()
    out: list[Record] = []
    most = 0
    while not queue.empty:
        most = max(most, queue.lanes[NORMAL].resident)
        records = node.take()
        out += records
        if records:
            node.acknowledge(records[-1].seq)
        await turn()
    assert most <= RESIDENT_BYTES + size + 1000
    assert [record.payload[:1] for record in out if record.topic] == [bytes([n]) for n in range(250) if n != 200]
    assert queue.bytes == queue.lanes[NORMAL].resident == 0
    assert all(delivery.done for delivery in sent)


async def test_a_backlog_put_one_message_at_a_time_is_read_back_many_rows_at_once(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        node = Node(storage)
        await node.outbox.open()
        for number in range(1000):
            await node.send(str(number).encode())
        await node.outbox.close()
    async with store() as storage:
        node, reads = Node(storage, epoch=6), 0
        await node.outbox.open()
        get, scan = storage.get, storage.scan

        async def counted_get(key: bytes) -> bytes | None:
            nonlocal reads
            reads += 1
            return await get(key)

        async def counted_scan(*arguments: Any) -> list[tuple[bytes, bytes]]:
            nonlocal reads
            reads += 1
            return await scan(*arguments)

        storage.get, storage.scan = counted_get, counted_scan  # type: ignore[method-assign]
        node.link()
        out = await node.drain()
        assert [record.payload for _, record in out] == [str(number).encode() for number in range(1000)]
        assert reads < 20
        await node.outbox.close()


async def test_rows_that_are_being_deleted_between_others_cost_none_of_them(node: Node) -> None:
    for number in range(10):
        await node.send(str(number).encode())
    lane = node.outbox.queue(BOB).lanes[NORMAL]
    rows = list(lane.rows)
    del rows[3:6]  # as if their deletion were under way
    values = await read_rows(node.storage, rows)
    assert values.keys() >= {row.key for row in rows}
    assert None not in values.values()


async def test_who_waits_for_many_peers_is_not_woken_for_each_of_them(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [f"{number:043}=" for number in range(200)]
    for peer in peers:
        await node.send(peer=peer)
        node.link(peer)
    looks = 0
    whether = PeerQueue.empty.fget

    def counted(queue: PeerQueue) -> bool:
        nonlocal looks
        looks += 1
        return bool(whether(queue))  # type: ignore[misc]

    monkeypatch.setattr(PeerQueue, "empty", property(counted))
    flushed = asyncio.ensure_future(node.outbox.empty())
    for peer in peers:
        await asyncio.sleep(0)
        node.take(peer)
        node.acknowledge(1, peer)
    await asyncio.wait_for(flushed, 5)
    assert looks < 10 * len(peers)
