"""The handled on both stores: acknowledged only when saved, remembered over restarts, strangers capped."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mmplatform.accounts import DISK_BURST, DISK_RATE, NOTED, Accounts
from mmplatform.codec import encode
from mmplatform.delivery import receiver as receiving
from mmplatform.delivery.incoming_stream import SequenceState
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import Ack, Batch, End, Piece, Record
from mmplatform.durable import handled as module
from mmplatform.durable import strangers as strangers_module
from mmplatform.durable.handled import KEEP_MS, Handled
from mmplatform.durable.handled_log import STREAM, HandledNote
from mmplatform.durable.strangers import COMMIT, ROW
from mmplatform.errors import ProtocolError, StorageCorrupt, StorageError, StorageFull
from mmplatform.storage.contract import Storage
from tests.support.outbox import until

BOB = "B" * 43 + "="
NOW = 10**12


def stranger(number: int) -> str:
    return f"{number:043}="


class Node:
    """An handled on a storage; ``told`` is what may be acknowledged."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.now = NOW / 1000
        self.told: list[tuple[str, Ack]] = []
        self.errors: list[Exception] = []
        self.accounts = Accounts()
        self.handled = Handled(
            storage, lambda: self.now, lambda peer: peer == BOB, self._tell, self.errors.append, self.accounts
        )

    def _tell(self, peer: str, acks: list[Ack]) -> None:
        self.told += [(peer, ack) for ack in acks]

    def take(self, *seqs: int, peer: str = BOB, epoch: int = 5, base: int = 1) -> list[int]:
        """Messages come in and are handled at once; the numbers that were new."""
        receiver = self.handled.receiver(peer)
        batch = Batch(2, epoch, base, [Record(seq, 1 << 50, "chat", "ms", b"") for seq in seqs], [])
        stream, ready = receiver.accept(batch, int(self.now * 1000))
        for record in ready:
            stream.finish(record.seq)
        self.handled.save(peer, receiver)
        return [record.seq for record in ready]


@asynccontextmanager
async def running(storage: Storage) -> AsyncIterator[Node]:
    async with storage:
        node = Node(storage)
        await node.handled.open()
        yield node
        await node.handled.close()


@pytest.fixture
async def node(store: Callable[[], Storage]) -> AsyncIterator[Node]:
    async with running(store()) as node:
        yield node


class Writes:
    """Stands in for a storage's write: each waits until it is told how it ends."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.futures: list[asyncio.Future[None]] = []
        self.rows: list[list[tuple[bytes, bytes | None]]] = []
        monkeypatch.setattr(storage, "write", self.write)

    def write(self, rows: list[tuple[bytes, bytes | None]], *, sync: bool = True) -> asyncio.Future[None]:
        assert not sync
        self.rows.append(list(rows))
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


async def test_nothing_is_acknowledged_before_it_is_saved(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        writes = Writes(node.storage, patched)
        assert node.take(1, 2) == [1, 2]
        assert node.take(3) == [3]
        await until(lambda: writes.futures)
        assert len(writes.futures) == 1, "one write for one turn"
        assert node.take(4) == [4]
        await asyncio.sleep(0)
        assert (node.told, len(writes.futures)) == ([], 1), "none while one is under way"
        writes.futures[0].set_result(None)
        await until(lambda: node.told)
        assert [ack.upto for _, ack in node.told] == [3]
        await until(lambda: len(writes.futures) == 2)
        writes.futures[1].set_result(None)
        await until(lambda: len(node.told) == 2)
        assert [ack.upto for _, ack in node.told] == [3, 4]


async def test_what_was_handled_is_known_after_a_restart(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        node.take(1, 2, 3)
        receiver = node.handled.receiver(BOB)
        stream, ready = receiver.accept(
            Batch(2, 5, 1, [Record(n, 1 << 50, "t", "ms", b"") for n in (4, 5, 6)], []), NOW
        )
        stream.finish(ready[1].seq, (End.REFUSED, "busy"))
        node.handled.save(BOB, receiver)
        await until(lambda: node.told)
    async with running(store()) as node:
        assert node.take(*range(1, 8)) == [4, 6, 7]
        assert node.handled.receiver(BOB) is node.handled.receiver(BOB)


async def test_close_saves_what_is_handled(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        node = Node(storage)
        await node.handled.open()
        node.take(1)
        await node.handled.close()
        node.take(2)
    await asyncio.sleep(0)
    assert node.errors == []
    async with running(store()) as node:
        assert node.take(1, 2) == [2]


async def test_close_gives_back_memory(node: Node) -> None:
    receiver = node.handled.receiver(BOB)
    receiver.accept(Batch(2, 5, 1, [Record(3, 1 << 50, "t", "ms", b"x" * 100)], [Piece(1, 0, 500, b"y" * 100)]), NOW)
    assert node.accounts.known.total.used == 264
    await node.handled.close()
    assert node.accounts.known.total.used == 0


@pytest.mark.parametrize("how", ["raises", "fails", "cancelled"])
async def test_a_failed_write_is_tried_again_and_only_then_acknowledged(
    node: Node, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(module, "RETRY_AFTER", 0)

    def write(rows: object, *, sync: bool = True) -> asyncio.Future[None]:
        if how == "raises":
            raise StorageFull("full")
        future = asyncio.get_running_loop().create_future()
        if how == "fails":
            future.set_exception(OSError("odd"))
        else:
            future.cancel()
        return future

    with monkeypatch.context() as patched:
        patched.setattr(node.storage, "write", write)
        node.take(1)
        await until(lambda: len(node.errors) > 1)
        assert node.told == []
        node.take(2)
    await until(lambda: node.told)
    assert [(peer, ack.upto) for peer, ack in node.told] == [(BOB, 2)]
    assert all(isinstance(error, StorageError) for error in node.errors)


@pytest.mark.parametrize("under_way", [False, True])
async def test_after_close_nothing_is_tried_again(node: Node, monkeypatch: pytest.MonkeyPatch, under_way: bool) -> None:
    with monkeypatch.context() as patched:
        writes = Writes(node.storage, patched)
        node.take(1)
        await until(lambda: writes.futures)
        if under_way:
            node.take(2)
        else:
            writes.futures[0].set_exception(StorageFull("full"))
            await until(lambda: node.errors)
        closing = asyncio.ensure_future(node.handled.close())
        await until(lambda: len(writes.futures) == 2)
        writes.futures[1].set_exception(StorageFull("full"))
        await closing
        if under_way:
            writes.futures[0].set_exception(StorageFull("full"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(node.errors) == 2
        assert len(writes.futures) == 2
        assert node.handled._timer is None or node.handled._timer.cancelled()


async def test_a_write_that_ends_after_close_is_still_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        writes = Writes(node.storage, patched)
        node.take(1)
        await until(lambda: writes.futures)
        await node.handled.close()
        writes.futures[0].set_result(None)
        await until(lambda: node.told)
        assert len(writes.futures) == 1


# What is forgotten.


async def test_old_state_is_dropped_at_the_start(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        node.take(1, epoch=5)
        node.now += KEEP_MS / 1000
        node.take(1, epoch=6)
        await until(lambda: len(node.told) == 2)
    async with store() as storage:
        node = Node(storage)
        node.now += KEEP_MS / 1000 + 1
        await node.handled.open()
        assert [key[-1] for key, _ in await storage.scan(b"handled/")] == [6]
        assert node.take(1, epoch=6) == []
        await node.handled.close()


async def loaded(node: Node, peer: str) -> None:
    done = asyncio.Event()
    node.handled.receiver(peer)
    node.handled.load(peer, done.set)
    await done.wait()


async def settled(node: Node) -> None:
    await until(lambda: not node.handled._dirty and not node.handled._busy)


async def test_of_a_stranger_that_has_gone_nothing_is_in_memory_and_once_still_means_once(node: Node) -> None:
    """However many keys come: what was handled of each is on disk, and read when it is back."""
    node.take(1)
    for number in range(300):
        await loaded(node, stranger(number))
        assert node.take(1, peer=stranger(number)) == [1]
        await settled(node)
        node.handled.release(stranger(number))
    assert list(node.handled._receivers) == [BOB]
    assert node.handled.received == 301
    for number in (0, 150, 299):
        assert not node.handled._strangers.unread
        node.handled.receiver(stranger(number))
        assert not node.handled.loaded(stranger(number))
        await loaded(node, stranger(number))
        assert node.take(1, peer=stranger(number)) == []


async def test_the_rows_of_strangers_are_not_kept_from_the_start(store: Callable[[], Storage]) -> None:
    async with running(store()) as node:
        node.take(1)
        for number in range(20):
            node.take(1, peer=stranger(number))
    async with running(store()) as node:
        assert set(node.handled._saved) <= {BOB}
        assert node.handled._strangers.bytes > 20 * ROW
        await loaded(node, stranger(3))
        assert node.take(1, peer=stranger(3)) == []
        assert node.take(1) == []


async def test_a_stranger_that_comes_back_while_its_rows_are_read_is_known(node: Node) -> None:
    """Its first link is gone before the disk has answered; what it sends again over the next one came already."""
    assert node.take(1, peer=stranger(1)) == [1]
    await settled(node)
    node.handled.release(stranger(1))
    first = asyncio.Event()
    node.handled.receiver(stranger(1))
    node.handled.load(stranger(1), first.set)
    await asyncio.sleep(0)
    node.handled.release(stranger(1))
    await loaded(node, stranger(1))
    assert node.take(1, peer=stranger(1)) == []
    node.handled.receiver(stranger(2))
    node.handled.load(stranger(2), first.set)
    node.handled.release(stranger(2))
    await until(lambda: stranger(2) not in node.handled._receivers)


async def test_a_stranger_goes_when_all_of_it_is_handled_and_saved(node: Node) -> None:
    receiver = node.handled.receiver(stranger(1))
    stream, _ = receiver.accept(Batch(2, 5, 1, [Record(1, NOW, "t", "ms", b"")], []), NOW)
    node.handled.release(stranger(1))
    assert stranger(1) in node.handled._receivers, "a handler is at work"
    stream.finish(1)
    node.handled.save(stranger(1), receiver)
    assert stranger(1) in node.handled._receivers, "it is not saved"
    await settled(node)
    assert stranger(1) not in node.handled._receivers


async def test_when_the_rows_of_strangers_are_full_no_new_one_is_heard_and_none_is_forgotten(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers_module, "BYTES", 5 * ROW)
    for number in range(8):
        try:
            assert node.take(1, peer=stranger(number)) == [1]
        except ProtocolError as error:
            assert error.reason == "overloaded"  # noqa: PT017 - how many get in is counted below
        await settled(node)
    heard = await node.storage.scan(b"handled/")
    assert 3 <= len(heard) <= 5
    assert node.take(1) == [1], "friends are heard"
    assert node.take(1, peer=stranger(0)) == []


async def test_what_is_written_for_strangers_has_a_measure_and_friends_do_not_wait(node: Node) -> None:
    an_hour = int((DISK_BURST + 3600) * DISK_RATE)
    node.accounts.disk.spend(an_hour, asyncio.get_running_loop().time())
    node.take(1, peer=stranger(1))
    node.take(1)
    await until(lambda: node.told)
    assert [peer for peer, *_ in node.told] == [BOB]
    assert list(node.handled._dirty) == [stranger(1)]


async def test_of_a_row_of_a_stranger_its_bytes_count_more_than_once_and_its_page_once(node: Node) -> None:
    """A stranger that sends one small message after the other is not held up for large rows that it does not cause."""
    disk, now = node.accounts.disk, asyncio.get_running_loop().time()
    disk.spend(DISK_RATE, now)  # so that nothing spent is more than it can hold
    before = disk.level(now)
    node.take(1, peer=stranger(1))
    await until(lambda: node.told)
    [(_, row)] = await node.storage.scan(b"handled/")
    assert before - disk.level(now) == COMMIT + NOTED * (len(row) + ROW)


async def test_forgotten_streams_lose_their_rows(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_STREAMS", 2)
    for epoch in (1, 2, 3, 1):
        node.now += 1
        node.take(1, epoch=epoch)
    await until(lambda: not node.handled._dirty and not node.handled._busy)
    assert [key[-1] for key, _ in await node.storage.scan(b"handled/")] == [1, 3]


async def test_what_was_to_be_deleted_is_deleted_after_a_write_that_failed(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "MAX_STREAMS", 2)
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    for epoch in (1, 2):
        node.now += 1
        node.take(1, epoch=epoch)
    await until(lambda: len(node.told) == 2)
    with monkeypatch.context() as patched:
        writes = Writes(node.storage, patched)
        node.now += 1
        node.take(1, epoch=3)
        await until(lambda: writes.futures)
    writes.futures[0].set_exception(StorageFull("full"))
    await until(lambda: len(node.told) == 3)
    assert [key[-1] for key, _ in await node.storage.scan(b"handled/")] == [2, 3]


class Log:
    """A log that has notes of an earlier run."""

    def __init__(self, *notes: HandledNote) -> None:
        self._notes = list(notes)

    def open(self) -> list[HandledNote]:
        return self._notes

    def note(self, note: HandledNote) -> None: ...

    def clear(self) -> None: ...

    def close(self) -> None: ...


async def test_a_stranger_whom_the_log_names_is_known_at_each_meeting(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        node, log = Node(storage), Log(HandledNote(STREAM, stranger(1), 2, 7, 1, 3))
        node.handled = handled = Handled(
            storage,
            lambda: node.now,
            lambda peer: peer == BOB,
            node._tell,
            node.errors.append,
            node.accounts,
            log=log,  # type: ignore[arg-type]
        )
        await handled.open()
        found: list[tuple[int, int]] = []
        for meeting in (1, 2):
            handled.load(stranger(1), lambda: found.append(handled.receiver(stranger(1)).progress(2, 7)))
            await until(lambda meeting=meeting: len(found) == meeting)  # type: ignore[misc]
            handled.release(stranger(1))
        assert found == [(3, 3), (3, 3)]
        await handled.close()


async def test_a_stranger_gives_way_to_a_stranger_and_never_a_friend(node: Node) -> None:
    node.accounts.strangers.total.limit = 1000
    gave_way: list[str] = []
    node.handled.gave_way = gave_way.append
    for peer in (BOB, stranger(1), stranger(2)):
        receiver = node.handled.receiver(peer)
        receiver.accept(Batch(2, 5, 1, [], [Piece(1, 0, 2000, bytes(600))]), NOW)
    assert gave_way == [stranger(1)]
    assert node.handled.receiver(stranger(1)).account.used == 0
    assert (node.accounts.known.total.used, node.accounts.strangers.total.used) == (600, 600)
    with pytest.raises(ProtocolError, match="overloaded"):
        receiver.accept(Batch(2, 5, 1, [], [Piece(1, 600, 2000, bytes(600))]), NOW)


async def test_what_a_stranger_has_us_hold_counts_where_it_is(node: Node) -> None:
    receiver, strangers = node.handled.receiver(stranger(1)), node.accounts.strangers
    receiver.accept(Batch(2, 5, 1, [], [Piece(1, 0, 2000, bytes(600))]), NOW)
    node.handled.locate(stranger(1), "192.0.2.0/24")
    assert (strangers.of("").used, strangers.of("192.0.2.0/24").used) == (0, 600)
    node.handled.locate(stranger(1), "198.51.100.0/24")
    assert (strangers.of("192.0.2.0/24").used, strangers.of("198.51.100.0/24").used) == (0, 600)


# Damage.


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"handled/short", b""),
        (b"handled/" + b"\xff" * 44 + b"/\x02" + bytes(8), b""),
        (b"handled/" + BOB.encode() + b"/\x07" + bytes(8), b""),
        (b"handled/" + BOB.encode() + b"/\x02" + bytes(8), b"\xc1"),
        (b"handled/" + BOB.encode() + b"/\x02" + bytes(8), encode([-1, [], [], NOW])),
        (b"handled/" + BOB.encode() + b"/\x02" + bytes(8), encode([1, [[-(2**60), 5]], [], NOW])),
    ],
)
async def test_a_damaged_row_is_put_aside_and_told(store: Callable[[], Storage], key: bytes, value: bytes) -> None:
    async with running(store()) as node:
        node.take(1)
        await until(lambda: node.told)
        await node.storage.put(key, value)
    async with running(store()) as node:
        assert [type(error) for error in node.errors] == [StorageCorrupt]
        assert await node.storage.get(b"quarantine/" + key) == value
        assert await node.storage.get(key) is None
        assert node.take(1, 2) == [2], "the rest is as it was"


async def test_wide_ranges_in_a_row_cost_nothing(store: Callable[[], Storage]) -> None:
    wide = encode(SequenceState(10, [(1, 5), (12, 2**53 - 1)], [], NOW))
    async with store() as storage:
        await storage.put(b"handled/" + BOB.encode() + b"/\x02" + (5).to_bytes(8), wide)
    async with running(store()) as node:
        assert node.take(10, 11, 12, base=10) == [11]
        (stream,) = node.handled.receiver(BOB)._streams.values()
        assert len(stream.finished) <= receiving.WINDOW


async def test_a_start_on_a_full_disk(store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    async with store() as storage:
        await storage.put(b"handled/short", b"")
        node = Node(storage)

        def full(rows: object, *, sync: bool = True) -> asyncio.Future[None]:
            raise StorageFull("full")

        with monkeypatch.context() as patched:
            patched.setattr(storage, "write", full)
            await node.handled.open()
        assert [type(error) for error in node.errors] == [StorageCorrupt, StorageFull]


async def test_nothing_to_save_is_not_written(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        writes = Writes(node.storage, patched)
        node.handled.save(BOB, Receiver(node.accounts.known.total))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert writes.futures == []
