"""The outbox on both stores: saved before it is accepted, bounded in memory, and every message ends once."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import Ack, Record
from mmplatform.durable import outbox as module
from mmplatform.durable import queues as shelving
from mmplatform.durable.outbox import AWAY_BYTES, RESIDENT_BYTES, Outbox
from mmplatform.durable.queues import Box
from mmplatform.errors import (
    Cancelled,
    Expired,
    NotRunning,
    Refused,
    StorageCorrupt,
    StorageError,
    StorageFull,
)
from mmplatform.message import UNHANDLED, Delivery, Outcome, Priority
from mmplatform.storage.contract import Row, Storage
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.mmplatform.storage.test_sqlite import small_disk

__all__ = ["small_disk"]

BOB = "B" * 43 + "="
CAROL = "C" * 43 + "="
NORMAL = Priority.NORMAL
LATER = 10**13


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Node:
    """An outbox on a storage, with what a platform would do around it."""

    def __init__(self, storage: Storage, epoch: int = 5) -> None:
        self.storage = storage
        self.clock = Clock()
        self.woken: list[str] = []
        self.errors: list[Exception] = []
        self.outbox = Outbox(storage, epoch, self.clock, self.woken.append, self.errors.append)

    async def send(self, payload: bytes = b"x", peer: str = BOB, lane: int = NORMAL, expires: int = LATER) -> Delivery:
        delivery, saved = self.outbox.put(self.outbox.box(peer), lane, "chat", "ms", payload, expires)
        await saved
        return delivery

    def link(self, peer: str = BOB, acks: Sequence[Ack] = ()) -> Box:
        box = self.outbox.box(peer)
        box.linked = True
        for settled in box.sender.link_up(acks):
            self.outbox.settle(peer, settled)
        self.outbox.refill(peer)
        return box

    def take(self, peer: str = BOB, budget: int = 1 << 20) -> list[Record]:
        """What goes out next; what has expired is settled."""
        batches, expired = self.outbox.box(peer).sender.take(budget, 1 << 30, int(self.clock() * 1000))
        for settled in expired:
            self.outbox.settle(peer, settled)
        return [record for batch in batches for record in batch.records]

    def acknowledge(
        self,
        upto: int,
        peer: str = BOB,
        epoch: int = 0,
        ranges: list[tuple[int, int]] | None = None,
        outcomes: list[tuple[int, int, str]] | None = None,
        lane: int = NORMAL,
    ) -> None:
        ack = Ack(lane, epoch or self.outbox.epoch, upto, ranges or [], outcomes or [], [])
        settled = self.outbox.box(peer).sender.acknowledge(ack)
        if settled is not None:
            self.outbox.settle(peer, settled)
        self.outbox.refill(peer)

    async def drain(self, peer: str = BOB) -> list[tuple[int, Record]]:
        """Send and acknowledge until nothing is left; (epoch, record) in the order it went out."""
        out: list[tuple[int, Record]] = []
        box = self.outbox.box(peer)

        def step() -> bool:
            batches, _ = box.sender.take(1 << 20, 1 << 30, 0)
            for batch in batches:
                out.extend((batch.epoch, record) for record in batch.records)
                self.acknowledge(batch.records[-1].seq, peer, batch.epoch, lane=batch.lane)
            return box.empty

        await until(step)
        return out


async def turn() -> None:
    """One turn of the loop, and of the storage's thread."""
    await asyncio.sleep(0)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await turn()


async def rows(storage: Storage, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return await storage.scan(prefix)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "data.db")
    memory = MemoryStorage()
    return lambda: memory


@asynccontextmanager
async def running(storage: Storage, epoch: int = 5) -> AsyncIterator[Node]:
    async with storage:
        node = Node(storage, epoch)
        await node.outbox.open()
        yield node
        await node.outbox.close()


@pytest.fixture
async def node(store: Callable[[], Storage]) -> AsyncIterator[Node]:
    async with running(store()) as node:
        yield node


# Accepting.


async def test_a_message_is_saved_before_it_is_accepted(node: Node) -> None:
    delivery, saved = node.outbox.put(node.outbox.box(BOB), NORMAL, "chat", "ms", b"x", LATER)
    assert node.take() == []
    assert await node.outbox.state(delivery.id) == "waiting"
    assert not node.outbox.box(BOB).empty
    await saved
    assert len(await rows(node.storage, b"outbox/")) == 1
    assert node.woken == [BOB]
    assert [record.payload for record in node.take()] == [b"x"]
    assert node.outbox.peers() == [BOB]


async def test_what_is_put_in_one_turn_is_one_row_a_lane(node: Node) -> None:
    await asyncio.gather(*(node.send(b"%d" % n, lane=lane) for n in range(50) for lane in (0, 2)))
    assert len(await rows(node.storage, b"outbox/")) == 2
    assert [record.payload for record in node.take()] == [b"%d" % n for n in range(50)] * 2


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
    await until(lambda: not node.outbox._deleted)
    assert len(await rows(node.storage, b"outbox/")) == 1
    assert (first.state, second.state) == ("delivered", "waiting")
    assert (await first).handled
    node.acknowledge(2)
    await until(lambda: not node.outbox._deleted)
    assert await rows(node.storage, b"outbox/") == []
    assert await rows(node.storage, b"fate/") == []
    assert node.outbox.box(BOB).bytes == 0
    assert node.outbox.peers() == []


async def test_lanes_and_peers_are_kept_apart(node: Node) -> None:
    await node.send(b"low", lane=Priority.LOW)
    await node.send(b"control", lane=Priority.CONTROL)
    await node.send(b"carol", peer=CAROL)
    assert [record.payload for record in node.take()] == [b"control", b"low"]
    assert [record.payload for record in node.take(CAROL)] == [b"carol"]


async def test_forgotten_deliveries_cost_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelving, "DELIVERIES_SWEPT", 10)
    node.outbox.box(BOB).shelves[NORMAL].sweep_at = 10
    kept = await node.send()
    for _ in range(100):
        await node.send()
    gc.collect()
    shelf = node.outbox.box(BOB).shelves[NORMAL]
    assert len(shelf.deliveries) < 30
    node.link()
    node.take()
    node.acknowledge(101)
    assert kept.done


# Restart.


async def test_what_waits_survives_a_restart_in_order(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        sent = [await node.send(b"%d" % n) for n in range(10)]
        assert await node.outbox.state(sent[3].id) == "waiting"
    for epoch in (6, 7):
        async with running(store(), epoch) as node:
            assert node.outbox.box(BOB).bytes > 0
            assert [await node.outbox.state(delivery.id) for delivery in sent] == ["waiting"] * 10
            await node.send(b"10")
    async with running(store(), 8) as node:
        node.link()
        out = [(epoch, record.payload) for epoch, record in await node.drain()]
        assert out == [(5, b"%d" % n) for n in range(10)] + [(6, b"10"), (7, b"10")]
        await until(lambda: not node.outbox._deleted)
        assert await node.outbox.state(sent[3].id) == "delivered"
        assert await rows(node.storage, b"outbox/") == []


async def test_numbers_begin_anew_with_each_run_and_runs_are_remembered(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUNS_KEPT", 3)
    ids = []
    for epoch in range(10, 16):
        async with running(store(), epoch) as node:
            delivery = await node.send()
            assert (delivery.seq, delivery.epoch) == (1, epoch)
            ids.append(delivery.id)
            if epoch != 15:
                node.link()
                await node.drain()
    async with running(store(), 16) as node:
        states = [await node.outbox.state(delivery_id) for delivery_id in ids]
        assert states == ["unknown"] * 4 + ["delivered", "waiting"], "three runs are known: 14, 15 and this one"


async def test_a_lost_deletion_costs_a_repeat_that_the_peer_knows(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        for n in range(3):
            await node.send(b"%d" % n)
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.box(BOB).sender.unsettled == 3)
        assert len(node.take()) == 3
        node.acknowledge(0, epoch=5, ranges=[(1, 1), (3, 3)])
        assert await node.outbox.state(f"5.2.3@{BOB}") == "delivered"
        assert [waiting.id for waiting in await node.outbox.waiting()] == [f"5.2.2@{BOB}"]
        node.acknowledge(3, epoch=5)
        assert node.outbox.box(BOB).empty


# States.


async def test_every_end_is_told_and_remembered(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        delivered, unhandled, refused, expired, cancelled = [await node.send(expires=2_000_000) for _ in range(5)]
        assert await node.outbox.cancel(cancelled.id)
        node.link()
        node.clock.now = 1000
        node.take(budget=100)  # the first few
        node.acknowledge(3, outcomes=[(2, 2, "unhandled"), (3, 3, "busy")])
        node.clock.now = 3000
        node.outbox.box(BOB).sender.link_down()
        for settled in node.outbox.box(BOB).sender.expire(3_000_000):
            node.outbox.settle(BOB, settled)
        assert await delivered == Outcome("delivered", True)
        assert await unhandled == UNHANDLED
        for delivery, error in ((refused, Refused), (expired, Expired), (cancelled, Cancelled)):
            with pytest.raises(error):
                await delivery
        ids = [delivery.id for delivery in (delivered, unhandled, refused, expired, cancelled)]
        ends = ["delivered", "delivered", "refused", "expired", "cancelled"]
        assert [await node.outbox.state(each) for each in ids] == ends
        assert node.outbox.box(BOB).empty
    async with running(store(), 6) as node:
        assert [await node.outbox.state(each) for each in ids] == ends
        assert node.outbox.box(BOB).empty


async def test_states_on_the_way(node: Node) -> None:
    first, second = await node.send(), await node.send()
    box = node.link()
    box.sender.take(1, 1 << 20, 0)
    node.take(budget=1)
    assert await node.outbox.state(first.id) == "sent"
    box.linked = False
    box.sender.link_down()
    assert await node.outbox.state(first.id) == "waiting"
    assert await node.outbox.state(second.id) == "waiting"
    assert await node.outbox.state(f"5.2.9@{BOB}") == "unknown"
    assert await node.outbox.state(f"5.1.1@{BOB}") == "unknown"
    assert await node.outbox.state(f"9.2.1@{BOB}") == "unknown"
    assert await node.outbox.state(f"5.2.1@{CAROL}") == "unknown"
    for bad in ("", "5.2.1", "5.2.1@", "5.9.1@x", "5.2.0@x", "a.b.c@x", "5.2.01@x", "+5.2.1@x", "5.2@x", "5.2.1.1@x"):
        with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's for some
            await node.outbox.state(bad)


async def test_waiting_tells_what_waits(node: Node) -> None:
    first = await node.send(b"12345", expires=1_060_000)
    second = await node.send(peer=CAROL, lane=Priority.HIGH)
    await node.send(expires=1)
    third = await node.send(expires=1_060_000)
    await node.outbox.cancel(third.id)
    node.link(CAROL)
    node.take(CAROL)
    waiting = {each.id: each for each in await node.outbox.waiting()}
    assert waiting.keys() == {first.id, second.id}
    assert waiting[first.id][1:] == (BOB, "chat", 5, "normal", 60.0, "waiting", "")
    assert waiting[second.id].state == "sent"
    assert [each.id for each in await node.outbox.waiting(CAROL)] == [second.id]


async def test_fates_are_forgotten_oldest_run_first(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FATES_KEPT", 4)
    ids = []
    for epoch in (9, 3, 7):  # drawn anew at each start, so never in order
        async with running(store(), epoch) as node:
            for _ in range(2):
                delivery = await node.send()
                await node.outbox.cancel(delivery.id)
                ids.append(delivery.id)
            await node.storage.put(b"fate/rubbish", b"")
    async with running(store(), 5) as node:
        await until(lambda: not node.outbox._deleted)
        assert [await node.outbox.state(each) == "cancelled" for each in ids] == [False, False, True, True, True, True]


# Cancelling.


async def test_cancel_takes_back_what_has_not_gone_out(node: Node) -> None:
    first, second, third = [await node.send(b"%d" % n) for n in range(3)]
    node.link()
    node.take(budget=1)
    assert not await node.outbox.cancel(first.id) or first.state == "cancelled"
    sent = node.outbox.box(BOB).sender.in_flight(NORMAL, 5, 3)
    assert sent, "small ones leave together"
    node.outbox.box(BOB).sender.link_down()
    node.outbox.box(BOB).linked = False
    assert await node.outbox.cancel(second.id)
    assert not await node.outbox.cancel(second.id), "it is already"
    assert await node.outbox.state(second.id) == "cancelled"
    with pytest.raises(Cancelled):
        await second
    node.link()
    assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, ""), (3, "chat")]
    node.acknowledge(3)
    assert await node.outbox.state(second.id) == "cancelled", "its tombstone changes nothing"
    await until(lambda: not node.outbox._deleted)
    assert await rows(node.storage, b"cancelled/") == []
    assert node.outbox._cancelled == set()
    assert not await node.outbox.cancel(third.id)
    assert not await node.outbox.cancel(f"5.2.1@{CAROL}")


async def test_cancelled_stays_so_after_a_restart(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        first, second = await asyncio.gather(node.send(b"1"), node.send(b"2"))
        assert await node.outbox.cancel(second.id)
        await node.storage.put(b"cancelled/rubbish", b"")
        await node.storage.put(f"cancelled/1.2.3@{CAROL}".encode(), b"")
    async with running(store(), 6) as node:
        await until(lambda: not node.outbox._deleted)
        assert await rows(node.storage, b"cancelled/") == [(f"cancelled/{second.id}".encode(), b"")]
        node.link()
        await until(lambda: node.outbox.box(BOB).sender.unsettled)
        assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, "")]
        node.acknowledge(2, epoch=5)
        assert await node.outbox.state(first.id) == "delivered"
        assert await node.outbox.state(second.id) == "cancelled"


async def test_a_row_of_cancelled_messages_only_goes_away(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        sent = await asyncio.gather(*(node.send() for _ in range(3)))
        node.outbox.box(BOB).sender.take(1, 1, 0)
        for delivery in sent:
            await node.storage.put(f"cancelled/{delivery.id}".encode(), b"")
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.box(BOB).empty)
        await until(lambda: not node.outbox._deleted)
        assert await rows(node.storage, b"outbox/") + await rows(node.storage, b"cancelled/") == []


async def test_cancel_fails_whole_when_it_cannot_be_saved(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = await node.send()
    full(node.storage, monkeypatch)
    with pytest.raises(StorageFull):
        await node.outbox.cancel(delivery.id)
    assert delivery.state == "waiting"
    assert [record.topic for record in node.take()] == ["chat"]


async def test_two_cancels_at_once(node: Node) -> None:
    await node.send()
    delivery = await node.send()
    assert any(await asyncio.gather(*(node.outbox.cancel(delivery.id) for _ in range(3))))
    assert await node.outbox.state(delivery.id) == "cancelled"
    await turn()
    assert await rows(node.storage, b"cancelled/") == [(f"cancelled/{delivery.id}".encode(), b"")]
    assert await node.outbox.state(delivery.id) == "cancelled"


async def test_a_message_that_leaves_while_it_is_cancelled(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = await node.send()
    node.link()
    put = node.storage.put

    async def slow_put(key: bytes, value: bytes) -> None:
        await put(key, value)
        node.take()

    monkeypatch.setattr(node.storage, "put", slow_put)
    assert not await node.outbox.cancel(delivery.id)
    await until(lambda: not node.outbox._deleted)
    assert await rows(node.storage, b"cancelled/") == []
    node.acknowledge(1)
    assert (await delivery).handled


# Bounded memory.


async def test_what_does_not_fit_stays_on_disk(node: Node) -> None:
    size = 100_000
    sent = [await node.send(bytes([n]) + bytes(size)) for n in range(250)]
    box = node.outbox.box(BOB)
    assert box.sender.unsettled * size <= AWAY_BYTES + size
    assert box.bytes > 25_000_000
    assert await node.outbox.state(sent[200].id) == "waiting"
    assert await node.outbox.cancel(sent[200].id), "also what is on disk only"
    node.link()
    out: list[Record] = []
    most = 0
    while not box.empty:
        most = max(most, box.shelves[NORMAL].resident)
        records = node.take()
        out += records
        if records:
            node.acknowledge(records[-1].seq)
        await turn()
    assert most <= RESIDENT_BYTES + size + 1000
    assert [record.payload[:1] for record in out if record.topic] == [bytes([n]) for n in range(250) if n != 200]
    assert box.bytes == box.shelves[NORMAL].resident == 0
    assert all(delivery.done for delivery in sent)


async def test_cancelling_all_in_memory_brings_up_the_rest(node: Node) -> None:
    sent = [await node.send(bytes(100_000)) for _ in range(30)]
    box = node.link()
    for delivery in sent[:-1]:
        assert await node.outbox.cancel(delivery.id)
    await until(lambda: box.sender.unsettled)
    assert [record.seq for record in node.take() if record.topic] == [30]


async def test_many_in_one_turn_become_rows_that_can_be_read_one_by_one(node: Node) -> None:
    await asyncio.gather(*(node.send(bytes(100_000)) for _ in range(40)))
    sizes = [len(value) for _, value in await rows(node.storage, b"outbox/")]
    assert len(sizes) == 4
    assert max(sizes) < 1_300_000
    node.link()
    assert len(await node.drain()) == 40


async def test_senders_wait_while_too_much_waits(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_BYTES", 1000)
    monkeypatch.setattr(shelving, "PEER_BYTES", 1000)
    box = node.outbox.box(BOB)
    await node.send(bytes(2000))
    assert box.crowded
    waiting = [asyncio.ensure_future(node.outbox.room(box)) for _ in range(3)]
    await turn()
    assert not any(task.done() for task in waiting)
    waiting[0].cancel()
    node.link()
    node.take()
    node.acknowledge(1)
    await asyncio.wait(waiting)
    assert not box.crowded
    await node.outbox.room(box)


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
    monkeypatch.setattr(module, "PEER_BYTES", 10)
    async with running(store()) as node:
        await node.send()
        waiting = [
            asyncio.ensure_future(node.outbox.empty()),
            asyncio.ensure_future(node.outbox.room(node.outbox.box(BOB))),
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
        _, saved = node.outbox.put(node.outbox.box(BOB), NORMAL, "chat", "ms", b"last", LATER)
        await node.outbox.close()
        await saved
    async with running(store(), 6) as node:
        node.link()
        await until(lambda: node.outbox.box(BOB).sender.unsettled)
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
        loader = node.outbox.box(BOB).shelves[NORMAL].loader
        assert loader is None or loader.done()
    await turn()
    assert node.errors == []
    async with store() as storage:
        assert len(await rows(storage, b"outbox/")) == 30 - len(sent)


# Damage.


async def test_a_damaged_row_loses_its_own_messages_only(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        ids = [(await node.send(b"%d" % n)).id for n in range(3)]
        (_, (broken, _), _) = await rows(node.storage, b"outbox/")
        await node.storage.put(broken, b"\xc1garbage")
    async with running(store(), 6) as node:
        assert [each.id for each in await node.outbox.waiting()] == [ids[0], ids[2]]
        node.link()
        await until(lambda: node.outbox.box(BOB).sender.unsettled == 3)
        assert [record.payload for record in node.take() if record.topic] == [b"0", b"2"]
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        assert await node.storage.get(b"quarantine/" + broken) == b"\xc1garbage"
        assert await node.storage.get(broken) is None
        node.acknowledge(3, epoch=5)
        assert [await node.outbox.state(each) for each in ids] == ["delivered", "refused", "delivered"]
        assert node.outbox.box(BOB).empty
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
        await until(lambda: node.outbox.box(BOB).empty)
        assert await node.outbox.state(delivery.id) == "refused"
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


@pytest.mark.parametrize("damage", [b"\xc1", b""])
async def test_the_list_of_runs_is_found_again(store: Callable[[], Storage], damage: bytes) -> None:
    async with running(store(), 5) as node:
        await node.send(b"5")
    async with running(store(), 4) as node:
        await node.send(b"4")
        await node.storage.put(b"node/epochs", damage)
    async with running(store(), 6) as node:
        assert len(node.errors) == (damage != b"")
        await node.send(b"6")
        node.link()
        out = [record.payload for _, record in await node.drain()]
        assert out == [b"5", b"4", b"6"]


# Writes that fail.


def full(storage: Storage, monkeypatch: pytest.MonkeyPatch, error: type[Exception] = StorageFull) -> Callable[[], None]:
    """The disk is full until the returned function is called."""
    write = storage.write
    broken = [True]

    def failing(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        if not broken[0]:
            return write(rows, sync=sync)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error("no space left"))
        return future

    monkeypatch.setattr(storage, "write", failing)
    return lambda: broken.__setitem__(0, False)


async def test_a_failed_write_is_told_and_leaves_no_gap(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await node.send(b"1")
    mend = full(node.storage, monkeypatch)
    for _ in range(100):
        with pytest.raises(StorageFull):
            await node.send(b"lost")
    empty = node.outbox.box(BOB)
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
    assert await node.outbox.state(f"5.2.2@{BOB}") == "waiting"
    held[0].set_exception(StorageFull("full"))
    held[1].set_result(None)
    assert (await passing).seq == 3
    with pytest.raises(StorageFull):
        await failing
    assert await node.outbox.state(f"5.2.2@{BOB}") == "unknown"
    assert [(record.seq, record.topic) for record in node.take()] == [(1, "chat"), (2, ""), (3, "chat")]
    monkeypatch.undo()


async def test_a_failed_write_wakes_those_who_wait_for_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_BYTES", 1000)
    full(node.storage, monkeypatch, OSError)
    sending = asyncio.ensure_future(node.send(bytes(2000)))
    await turn()
    room = asyncio.ensure_future(node.outbox.room(node.outbox.box(BOB)))
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
        node.outbox.settle(BOB, Settled(NORMAL, 5, 2, [1], {1: Outcome("refused", False, "x")}))
        await turn()
        assert len(node.errors) == 2, "neither the fate nor the deletion was kept; both are told"


async def test_a_giver_up_does_not_take_the_message_back(node: Node) -> None:
    sending = asyncio.ensure_future(node.send())
    await turn()
    sending.cancel()
    await asyncio.wait([sending])
    await until(lambda: node.outbox.box(BOB).sender.unsettled)
    assert len(node.take()) == 1


async def test_a_reader_that_fails_is_told_and_tried_again(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store()) as node:
        await node.send(b"1")
    async with running(store(), 6) as node:
        with monkeypatch.context() as patched:

            async def failing(key: bytes) -> bytes:
                raise StorageError("unreadable")

            patched.setattr(node.storage, "get", failing)
            node.link()
            await until(lambda: node.errors)
        await node.send(b"2")
        assert [record.payload for _, record in await node.drain()] == [b"1", b"2"]


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
            await until(lambda: node.outbox.box(BOB).sender.unsettled)
            assert [record.payload for record in node.take()] == [b"2"]
        assert [type(error) for error in node.errors] == [StorageCorrupt, StorageFull]


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
        await until(lambda: not node.outbox._deleted)
        assert await rows(node.storage, b"outbox/") == []


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    yield
    gc.collect()
