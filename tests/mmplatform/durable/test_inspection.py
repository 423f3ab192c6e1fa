"""What waits and in which state; taking a message back."""

import asyncio

import pytest

from mmplatform.durable import inspection
from mmplatform.errors import (
    Cancelled,
    StorageFull,
)
from mmplatform.message import DELIVERED, Priority
from tests.support.outbox import BOB, CAROL, NORMAL, Node, full, rows, turn, until
from tests.support.watched import Watched


async def test_states_on_the_way(node: Node) -> None:
    first, second = await node.send(), await node.send()
    queue = node.link()
    queue.sender.take(1, 1 << 20, 0)
    node.take(budget=1)
    assert await inspection.state(node.outbox, first.id) == "sent"
    queue.linked = False
    queue.sender.link_down()
    assert await inspection.state(node.outbox, first.id) == "waiting"
    assert await inspection.state(node.outbox, second.id) == "waiting"
    assert await inspection.state(node.outbox, f"5.2.9@{BOB}") == "unknown"
    assert await inspection.state(node.outbox, f"5.1.1@{BOB}") == "unknown"
    assert await inspection.state(node.outbox, f"9.2.1@{BOB}") == "unknown"
    assert await inspection.state(node.outbox, f"5.2.1@{CAROL}") == "unknown"
    for bad in ("", "5.2.1", "5.2.1@", "5.9.1@x", "5.2.0@x", "a.b.c@x", "5.2.01@x", "+5.2.1@x", "5.2@x", "5.2.1.1@x"):
        with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's for some
            await inspection.state(node.outbox, bad)


async def test_waiting_tells_what_waits(node: Node) -> None:
    first = await node.send(b"12345", expires=1_060_000)
    second = await node.send(peer=CAROL, lane=Priority.HIGH)
    await node.send(expires=1)
    third = await node.send(expires=1_060_000)
    await inspection.cancel(node.outbox, third.id)
    node.link(CAROL)
    node.take(CAROL)
    waiting = {each.id: each async for each in inspection.queued(node.outbox)}
    assert waiting.keys() == {first.id, second.id}
    assert waiting[first.id][1:] == (BOB, "chat", 5, "normal", 60.0, "waiting", "", "ms")
    assert waiting[second.id].state == "sent"
    assert [each.id async for each in inspection.queued(node.outbox, CAROL)] == [second.id]


async def test_a_listing_reads_many_rows_at_once_and_keeps_few_in_memory(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await node.send(bytes(3000))).id for _ in range(1000)]
    reads: list[int] = []
    scan, get = node.storage.scan, node.storage.get

    async def scanned(prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await scan(prefix, start, limit)
        reads.append(sum(len(value) for _, value in found))
        return found

    async def got(key: bytes) -> bytes | None:
        reads.append(1)
        return await get(key)

    monkeypatch.setattr(node.storage, "scan", scanned)
    monkeypatch.setattr(node.storage, "get", got)
    listed: list[str] = []
    async for message in inspection.queued(node.outbox):
        listed.append(message.id)
        assert sum(reads) < 1_100_000 + 3100 * len(listed), "it reads ahead of who reads"
    assert listed == ids
    assert len(reads) < 10


async def test_what_is_settled_while_it_is_listed_is_left_out(node: Node) -> None:
    for _ in range(600):
        await node.send()
    node.link()
    listed = inspection.queued(node.outbox)
    assert (await anext(listed)).id == f"5.2.1@{BOB}"
    node.take()
    node.acknowledge(500)
    rest = [message.id async for message in listed]
    assert rest[-1] == f"5.2.600@{BOB}"
    assert len(rest) < 400


async def test_cancel_takes_back_what_has_not_gone_out(node: Node) -> None:
    first, second, third = [await node.send(b"%d" % n) for n in range(3)]
    node.link()
    node.take(budget=1)
    assert not await inspection.cancel(node.outbox, first.id) or first.state == "cancelled"
    sent = node.outbox.queue(BOB).sender.in_flight(NORMAL, 5, 3)
    assert sent, "small ones leave together"
    node.outbox.queue(BOB).sender.link_down()
    node.outbox.queue(BOB).linked = False
    assert await inspection.cancel(node.outbox, second.id)
    assert not await inspection.cancel(node.outbox, second.id), "it is already"
    assert await inspection.state(node.outbox, second.id) == "cancelled"
    with pytest.raises(Cancelled):
        await second
    node.link()
    assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, ""), (3, "chat")]
    node.acknowledge(3)
    assert await inspection.state(node.outbox, second.id) == "cancelled", "its tombstone changes nothing"
    await until(lambda: not node.outbox._unsynced.pending)
    assert await rows(node.storage, b"cancelled/") == []
    assert not node.outbox.fates.cancelled
    assert not await inspection.cancel(node.outbox, third.id)
    assert not await inspection.cancel(node.outbox, f"5.2.1@{CAROL}")


async def test_cancel_fails_whole_when_it_cannot_be_saved(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = await node.send()
    full(node.storage, monkeypatch)
    with pytest.raises(StorageFull):
        await inspection.cancel(node.outbox, delivery.id)
    assert delivery.state == "waiting"
    assert [record.topic for record in node.take()] == ["chat"]


async def test_two_cancels_at_once(node: Node) -> None:
    await node.send()
    delivery = await node.send()
    assert any(await asyncio.gather(*(inspection.cancel(node.outbox, delivery.id) for _ in range(3))))
    assert await inspection.state(node.outbox, delivery.id) == "cancelled"
    await turn()
    assert await rows(node.storage, b"cancelled/") == [(f"cancelled/{delivery.id}".encode(), b"")]
    assert await inspection.state(node.outbox, delivery.id) == "cancelled"


async def test_a_message_that_leaves_while_it_is_cancelled(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = await node.send()
    node.link()
    put = node.storage.put

    async def slow_put(key: bytes, value: bytes) -> None:
        await put(key, value)
        node.take()

    monkeypatch.setattr(node.storage, "put", slow_put)
    assert not await inspection.cancel(node.outbox, delivery.id)
    await until(lambda: not node.outbox._unsynced.pending)
    assert await rows(node.storage, b"cancelled/") == []
    node.acknowledge(1)
    assert await delivery == DELIVERED


async def test_cancel_looks_at_few_of_the_messages_that_wait(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [await node.send() for _ in range(2000)]
    queue = node.outbox.queue(BOB)
    lane_queue, [stream] = queue.lanes[NORMAL], queue.sender._lanes[NORMAL]
    lane_queue.rows, stream.waiting = Watched(lane_queue.rows), Watched(stream.waiting)
    monkeypatch.setattr(Watched, "looks", 0)
    assert await inspection.cancel(node.outbox, sent[-1].id)
    assert Watched.looks < 100


async def test_cancelling_all_in_memory_brings_up_the_rest(node: Node) -> None:
    sent = [await node.send(bytes(100_000)) for _ in range(30)]
    queue = node.link()
    for delivery in sent[:-1]:
        assert await inspection.cancel(node.outbox, delivery.id)
    await until(lambda: queue.sender.unsettled)
    assert [record.seq for record in node.take() if record.topic] == [30]
