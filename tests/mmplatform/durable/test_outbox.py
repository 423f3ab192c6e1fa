"""The outbox on both stores: saved before it is accepted, bounded in memory, and every message ends once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.delivery.sender import Settled
from mmplatform.durable import admission, inspection, queues
from mmplatform.errors import (
    NotRunning,
    StorageError,
    StorageFull,
)
from mmplatform.message import DELIVERED, Delivery, Outcome
from mmplatform.storage.contract import Storage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.outbox import BOB, CAROL, LATER, NORMAL, Node, full, rows, running, turn, until
from tests.support.waiting import pace

# Accepting.


async def test_a_message_is_saved_before_it_is_accepted(node: Node) -> None:
    delivery, saved = node.outbox.put(node.outbox.queue(BOB), NORMAL, "chat", "ms", b"x", LATER)
    assert node.take() == []
    assert await inspection.state(node.outbox, delivery.id) == "waiting"
    assert not node.outbox.queue(BOB).empty
    await saved
    assert len(await rows(node.storage, b"outbox/")) == 1
    assert node.woken == [BOB]
    assert [record.payload for record in node.take()] == [b"x"]
    assert node.outbox.peers() == [BOB]


async def test_attached_rows_share_the_transaction(node: Node) -> None:
    node.outbox.attach([(b"mine", b"1")])
    await node.send()
    assert await node.storage.get(b"mine") == b"1"


async def test_settled_rows_are_deleted(node: Node) -> None:
    first = await node.send()
    second = await node.send()
    node.link()
    node.take()
    node.acknowledge(1)
    await until(lambda: not node.outbox._unsynced.pending)
    assert len(await rows(node.storage, b"outbox/")) == 1
    assert (first.state, second.state) == ("delivered", "waiting")
    assert await first == DELIVERED
    node.acknowledge(2)
    await until(lambda: not node.outbox._unsynced.pending)
    assert await rows(node.storage, b"outbox/") == []
    assert await rows(node.storage, b"fate/") == []
    assert node.outbox.queue(BOB).bytes == 0
    assert node.outbox.peers() == []


# Restart.


async def test_what_waits_survives_a_restart_in_order(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        sent = [await node.send(b"%d" % n) for n in range(10)]
        assert await inspection.state(node.outbox, sent[3].id) == "waiting"
    for epoch in (6, 7):
        async with running(store(), epoch) as node:
            assert node.outbox.queue(BOB).bytes > 0
            assert [await inspection.state(node.outbox, delivery.id) for delivery in sent] == ["waiting"] * 10
            await node.send(b"10")
    async with running(store(), 8) as node:
        node.link()
        out = [(epoch, record.payload) for epoch, record in await node.drain()]
        assert out == [(5, b"%d" % n) for n in range(10)] + [(6, b"10"), (7, b"10")]
        await until(lambda: not node.outbox._unsynced.pending)
        assert await inspection.state(node.outbox, sent[3].id) == "delivered"
        assert await rows(node.storage, b"outbox/") == []


async def test_a_lost_deletion_costs_a_repeat_that_the_peer_knows(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        for n in range(3):
            await node.send(b"%d" % n)
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.queue(BOB).sender.unsettled == 3)
        assert len(node.take()) == 3
        node.acknowledge(0, epoch=5, ranges=[(1, 1), (3, 3)])
        assert await inspection.state(node.outbox, f"5.2.3@{BOB}") == "delivered"
        assert [waiting.id async for waiting in inspection.queued(node.outbox)] == [f"5.2.2@{BOB}"]
        node.acknowledge(3, epoch=5)
        assert node.outbox.queue(BOB).empty


# Waiting for the end.


async def test_empty_waits_until_all_is_settled(node: Node) -> None:
    await node.outbox.empty()
    await node.outbox.empty(BOB)
    await node.send()
    await node.send(peer=CAROL)
    every = asyncio.ensure_future(node.outbox.empty())
    bobs = asyncio.ensure_future(node.outbox.empty(BOB))
    for peer in (BOB, CAROL):
        await turn()
        assert not every.done()
        node.link(peer)
        node.take(peer)
        node.acknowledge(1, peer)
        await until(bobs.done)
    await asyncio.wait_for(every, 1)


async def test_empty_waits_for_what_is_being_saved(node: Node) -> None:
    sending = asyncio.ensure_future(node.send())
    await turn()
    empty = asyncio.ensure_future(node.outbox.empty())
    await sending
    await turn()
    assert not empty.done()
    empty.cancel()


async def test_close_ends_those_who_wait(store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 10)
    async with running(store()) as node:
        await node.send()
        waiting = [
            asyncio.ensure_future(node.outbox.empty()),
            asyncio.ensure_future(node.outbox.room(node.outbox.queue(BOB))),
        ]
        await turn()
        await node.outbox.close()
        done, _ = await asyncio.wait(waiting, timeout=1)
        assert all(isinstance(task.exception(), NotRunning) for task in done)
        assert len(done) == 2


async def test_close_saves_what_was_put_in_the_same_turn(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        node = Node(storage)
        await node.outbox.open()
        _, saved = node.outbox.put(node.outbox.queue(BOB), NORMAL, "chat", "ms", b"last", LATER)
        await node.outbox.close()
        await saved
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.queue(BOB).sender.unsettled)
        assert [record.payload for record in node.take()] == [b"last"]


async def test_close_stops_readers_and_deletes_what_is_settled(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        node = Node(storage)
        await node.outbox.open()
        for _ in range(30):
            await node.send(bytes(100_000))
        node.link()
        sent = node.take()
        node.acknowledge(sent[-1].seq)
        await node.outbox.close()
        node.outbox.refill(BOB)
        loader = node.outbox.queue(BOB).lanes[NORMAL].loader
        assert loader is None or loader.done()
    await turn()
    assert node.errors == []
    async with store() as storage:
        assert len(await rows(storage, b"outbox/")) == 30 - len(sent)


# Writes that fail.


async def test_a_failed_write_is_told_and_leaves_no_gap(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await node.send(b"1")
    mend = full(node.storage, monkeypatch)
    for _ in range(100):
        with pytest.raises(StorageFull):
            await node.send(b"lost")
    empty = node.outbox.queue(BOB)
    assert empty.bytes == 65
    mend()
    second = await node.send(b"2")
    assert (first.seq, second.seq) == (1, 2)
    node.link()
    assert [(record.seq, record.payload) for record in node.take()] == [(1, b"1"), (2, b"2")]
    node.acknowledge(2)
    await asyncio.wait_for(node.outbox.empty(), 1)


async def test_a_failed_write_between_others_leaves_tombstones(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later numbers were given out before it failed."""
    await node.send(b"1")
    held: list[asyncio.Future[None]] = []
    monkeypatch.setattr(node.storage, "write", lambda rows, sync=True: held.append(loop.create_future()) or held[-1])
    loop = asyncio.get_running_loop()
    failing = asyncio.ensure_future(node.send(b"lost"))
    await turn()
    await turn()
    passing = asyncio.ensure_future(node.send(b"3"))
    await turn()
    await turn()
    assert await inspection.state(node.outbox, f"5.2.2@{BOB}") == "waiting"
    held[0].set_exception(StorageFull("full"))
    held[1].set_result(None)
    assert (await passing).seq == 3
    with pytest.raises(StorageFull):
        await failing
    assert await inspection.state(node.outbox, f"5.2.2@{BOB}") == "unknown"
    assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, ""), (3, "chat")]
    monkeypatch.undo()


async def test_a_failed_write_wakes_those_who_wait_for_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PEER_BYTES", 1000)
    full(node.storage, monkeypatch, OSError)
    sending = asyncio.ensure_future(node.send(bytes(2000)))
    await turn()
    room = asyncio.ensure_future(node.outbox.room(node.outbox.queue(BOB)))
    empty = asyncio.ensure_future(node.outbox.empty(BOB))
    await asyncio.wait([sending, room, empty], timeout=1)
    assert isinstance(sending.exception(), StorageError)
    assert room.done()
    assert empty.done()


async def test_a_cancelled_write_counts_as_failed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    monkeypatch.setattr(node.storage, "write", lambda rows, sync=True: future)
    with pytest.raises(StorageError):
        await node.send()
    monkeypatch.undo()


async def test_what_cannot_be_encoded_is_told_too(node: Node) -> None:
    class Sized:
        def __len__(self) -> int:
            return 1

    with pytest.raises(StorageError, match="encode"):
        await node.send(Sized())  # type: ignore[arg-type]
    await node.send()
    assert len(node.take()) == 1


async def test_a_closed_storage_is_told(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        await node.send()
        node.link()
        node.take()
        await node.storage.close()
        with pytest.raises(StorageError):
            await node.send()
        node.outbox.settle(BOB, Settled(NORMAL, 5, 2, [1], {1: Outcome("refused", "x")}))
        await turn()
        assert len(node.errors) == 2, "neither the fate nor the deletion was kept; both are told"


async def test_a_giver_up_does_not_take_the_message_back(node: Node) -> None:
    sending = asyncio.ensure_future(node.send())
    await turn()
    sending.cancel()
    await asyncio.wait([sending])
    await until(lambda: node.outbox.queue(BOB).sender.unsettled)
    assert len(node.take()) == 1


async def link_that_cannot_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link comes up while no row can be read; then all is well again."""

    async def failing(key: bytes) -> bytes:
        raise StorageError("unreadable")

    with monkeypatch.context() as patched:
        patched.setattr(node.storage, "get", failing)
        node.link()
        await until(lambda: node.errors)


async def test_a_reader_that_fails_is_told_and_tried_again(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store()) as node:
        await node.send(b"1")
    async with running(store(), 6) as node:
        await link_that_cannot_read(node, monkeypatch)
        await node.send(b"2")
        assert [record.payload for _, record in await node.drain()] == [b"1", b"2"]


async def test_a_reader_that_failed_goes_on_though_nobody_sends(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "READ_AGAIN", 0.001, raising=False)
    async with running(store()) as node:
        await node.send(b"1")
    async with running(store(), 6) as node:
        await link_that_cannot_read(node, monkeypatch)
        for _ in range(300):
            await pace(0.001)
        assert node.outbox.queue(BOB).sender.unsettled == 1


async def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(600_000))
    async with running(SQLiteStorage(small_disk / "data.db")) as node:
        sent: list[Delivery] = []

        async def fill() -> None:
            while True:
                sent.append(await node.send(bytes([len(sent)]) + bytes(20_000)))

        with pytest.raises(StorageFull):
            await fill()
        assert len(sent) > 10
        node.link()
        out = await node.drain()
        assert [record.payload[0] for _, record in out] == list(range(len(sent)))
        await turn()
        (small_disk / "ballast").unlink()
        again = await node.send(b"room again")
        assert again.seq == len(sent) + 1
        assert [record.payload for _, record in await node.drain()] == [b"room again"]
        await until(lambda: not node.outbox._unsynced.pending)
        assert await rows(node.storage, b"outbox/") == []
