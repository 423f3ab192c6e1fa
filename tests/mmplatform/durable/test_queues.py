"""The queues of a peer: apart from each other, and bounded in memory."""

import asyncio
import gc

import pytest

from mmplatform.delivery.wire import Record
from mmplatform.durable import inspection, queues
from mmplatform.durable import outbox as module
from mmplatform.durable.outbox import AWAY_BYTES, RESIDENT_BYTES
from mmplatform.message import Priority
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


async def test_senders_wait_while_too_much_waits(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_BYTES", 1000)
    monkeypatch.setattr(queues, "PEER_BYTES", 1000)
    queue = node.outbox.queue(BOB)
    await node.send(bytes(2000))
    assert queue.crowded
    waiting = [asyncio.ensure_future(node.outbox.room(queue)) for _ in range(3)]
    await turn()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    node.link()
    node.take()
    node.acknowledge(1)
    await asyncio.wait(waiting)
    assert not queue.crowded
    await node.outbox.room(queue)
