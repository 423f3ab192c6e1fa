"""The log of what is handled: bridges the time until rows say so, and does without its file when it must."""

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.accounts import Accounts
from mmplatform.delivery.wire import Batch, Record
from mmplatform.durable import handled_log as module
from mmplatform.durable.handled import Handled
from mmplatform.durable.handled_log import ENTRY_SIZE, INBOX, LOGGED, STREAM, HandledLog, HandledNote
from mmplatform.errors import StorageError
from mmplatform.storage.contract import Storage
from tests.support.disks import Disk, disk
from tests.support.outbox import BOB, CAROL

__all__ = ["disk"]

NOW = 10**12


class Node:
    """What handles messages of Bob. Its storage takes nothing when ``stuck``: it is killed before a commit."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self.errors: list[Exception] = []
        self.storage = storage
        self.log = HandledLog(path, self.errors.append)
        self.handled = Handled(
            storage,
            lambda: NOW / 1000,
            lambda peer: True,
            lambda peer, acks: None,
            self.errors.append,
            Accounts(),
            self.log,
        )

    async def open(self) -> list[HandledNote]:
        noted = await self.handled.open()
        self.handled.begin_log()
        return noted

    def stuck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(self.storage, "write", lambda rows, *, sync=True: loop.create_future())

    def take(self, *seqs: int, noted: bool = True) -> list[int]:
        """Messages come in and are handled at once; the numbers that were new."""
        receiver = self.handled.receiver(BOB)
        records = [Record(seq, 1 << 50, "chat", "ms", b"") for seq in seqs]
        stream, ready = receiver.accept(Batch(2, 5, 1, records, []), NOW)
        for record in ready:
            if noted:
                self.handled.note(STREAM, BOB, 2, 5, record.seq, record.seq)
            stream.finish(record.seq)
        self.handled.save(BOB, receiver)
        return [record.seq for record in ready]

    def killed(self) -> None:
        self.log.close()


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_was_handled_and_not_saved_before_a_kill_does_not_come_again(
    store: Callable[[], Storage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store() as storage:
        node = Node(storage, tmp_path / "log")
        await node.open()
        with monkeypatch.context() as patched:
            node.stuck(patched)
            assert node.take(*range(1, 41)) == list(range(1, 41))
            assert node.take(41, noted=False) == [41]
            await turns()
            node.killed()
    for _ in range(2):  # the second start finds rows that say so
        async with store() as storage:
            node = Node(storage, tmp_path / "log")
            await node.open()
            assert node.take(*range(1, 42), noted=False) == [41]
            node.handled._dirty.clear()  # killed again, before anything is saved
            node.killed()
        assert node.errors == []


async def test_notes_of_the_inbox_are_given_to_it(store: Callable[[], Storage], tmp_path: Path) -> None:
    async with store() as storage:
        node = Node(storage, tmp_path / "log")
        assert await node.open() == []
        node.handled.note(INBOX, BOB, 0, 0, 7, 7)
        node.handled.note(INBOX, CAROL, 0, 0, 8, 8)
        await turns()
        node.killed()
        again = Node(storage, tmp_path / "log")
        assert await again.open() == [HandledNote(INBOX, BOB, 0, 0, 7, 7), HandledNote(INBOX, CAROL, 0, 0, 8, 8)]
        again.killed()
        assert await Node(storage, tmp_path / "log").open() == [], "the rows say it now"


async def test_notes_are_gathered_over_one_turn_in_entries_of_a_bounded_size(
    store: Callable[[], Storage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store() as storage:
        node = Node(storage, tmp_path / "log")
        await node.open()
        written: list[HandledNote] = []
        monkeypatch.setattr(node.log, "note", written.append)
        for seq in range(1, 41):
            node.handled.note(STREAM, BOB, 2, 5, seq, seq)
        node.handled.note(STREAM, BOB, 2, 5, 50, 50)
        node.handled.note(STREAM, BOB, 2, 6, 51, 51)
        node.handled.note(STREAM, CAROL, 2, 6, 52, 52)
        node.handled.note(STREAM, CAROL, 2, 6, 60, 60 + LOGGED - 1)
        await turns()
        assert [(note.peer, note.epoch, note.low, note.high) for note in written] == [
            (BOB, 5, 1, 16), (BOB, 5, 17, 32), (BOB, 5, 33, 40), (BOB, 5, 50, 50), (BOB, 6, 51, 51),
            (CAROL, 6, 52, 52), (CAROL, 6, 60, 75),
        ]  # fmt: skip


async def test_a_node_without_a_folder_notes_nothing(store: Callable[[], Storage]) -> None:
    async with store() as storage:
        handled = Handled(
            storage, lambda: 0.0, lambda peer: True, lambda peer, acks: None, lambda error: None, Accounts()
        )
        assert await handled.open() == []
        handled.begin_log()
        handled.note(STREAM, BOB, 2, 5, 1, 1)
        await handled.close()


def test_an_entry_names_a_bounded_number_of_messages() -> None:
    assert list(HandledNote(STREAM, BOB, 2, 5, 3, 5).numbers) == [3, 4, 5]
    assert len(HandledNote(STREAM, BOB, 2, 5, 3, 2**53).numbers) == LOGGED


def test_the_file_is_its_owners_and_has_its_size_from_the_start(tmp_path: Path) -> None:
    log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
    log.open()
    log.clear()
    size = (tmp_path / "log").stat().st_size
    log.note(HandledNote(STREAM, BOB, 2, 5, 1, 1))
    log.close()
    log.close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    assert (tmp_path / "log").stat().st_size == size


@pytest.mark.parametrize("broken", ["folder", "missing folder"])
async def test_a_node_works_without_its_log(store: Callable[[], Storage], tmp_path: Path, broken: str) -> None:
    path = tmp_path if broken == "folder" else tmp_path / "none" / "log"
    async with store() as storage:
        node = Node(storage, path)
        await node.open()
        assert node.take(1, 2) == [1, 2]
        await turns()
        assert [type(error) for error in node.errors] == [StorageError], "told once"
        await node.handled.close()
    async with store() as storage:
        node = Node(storage, path)
        await node.open()
        assert node.take(1, 2, 3) == [3]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = []

    def broken(*_: int) -> bytes:
        raise OSError(errno.EIO, "worn out")

    monkeypatch.setattr(module.os, "read", broken)
    log = HandledLog(tmp_path / "log", errors.append)
    assert log.open() == []
    assert "worn out" in str(errors)
    log.note(HandledNote(STREAM, BOB, 2, 5, 1, 1))
    assert len(errors) == 1


def test_a_full_disk_is_told_once_and_nothing_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = []
    log = HandledLog(tmp_path / "log", errors.append)
    log.open()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "write", full)
        log.clear()
    log.note(HandledNote(STREAM, BOB, 2, 5, 2, 2))
    assert [type(error) for error in errors] == [StorageError]
    assert "come again" in str(errors[0])
    assert HandledLog(tmp_path / "log", errors.append).open() == []


def test_a_torn_entry_is_not_believed(tmp_path: Path) -> None:
    log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
    log.open()
    log.clear()
    for seq in (1, 2, 3):
        log.note(HandledNote(STREAM, BOB, 2, 5, seq, seq))
    log.close()
    data = bytearray((tmp_path / "log").read_bytes())
    data[ENTRY_SIZE + 20 : 2 * ENTRY_SIZE] = bytes(ENTRY_SIZE - 20)
    (tmp_path / "log").write_bytes(data)
    assert [note.low for note in log.open()] == [1, 3]


def test_a_disk_that_is_really_full(disk: Disk) -> None:
    errors: list[Exception] = []
    disk.fill(leave=4096)
    log = HandledLog(disk.path / "log", errors.append)
    log.open()
    log.clear()
    for seq in range(1, 100):
        log.note(HandledNote(STREAM, BOB, 2, 5, seq, seq))
    log.close()
    assert len(errors) <= 1
    for note in HandledLog(disk.path / "log", errors.append).open():
        assert note.low == note.high
