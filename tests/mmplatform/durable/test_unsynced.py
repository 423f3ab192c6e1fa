"""Rows written without waiting: deletions of one turn are one write, and one that failed goes with the next."""

import asyncio
from collections.abc import Sequence

import pytest

from mmplatform.durable import unsynced as module
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.errors import StorageError
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import full, turn
from tests.support.waiting import pace


async def test_deletions_of_one_turn_are_one_write_without_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStorage() as storage:
        await storage.write([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
        write, writes = storage.write, []

        def noting(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
            writes.append((list(rows), sync))
            return write(rows, sync=sync)

        monkeypatch.setattr(storage, "write", noting)
        errors: list[Exception] = []
        unsynced = UnsyncedRows(storage, errors.append)
        unsynced.delete(b"a")
        unsynced.delete(b"b")
        assert unsynced.pending
        assert writes == []
        await turn()
        assert not unsynced.pending
        assert writes == [([(b"a", None), (b"b", None)], False)]
        assert await storage.scan(b"") == [(b"c", b"3")]
        unsynced.flush()
        assert len(writes) == 1, "there was nothing to write"
        assert errors == []


async def test_what_could_not_be_deleted_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStorage() as storage:
        await storage.write([(b"a", b"1"), (b"b", b"2")])
        errors: list[Exception] = []
        unsynced = UnsyncedRows(storage, errors.append)
        mend = full(storage, monkeypatch)
        unsynced.delete(b"a")
        unsynced.flush()
        await turn()
        assert unsynced.pending
        mend()
        unsynced.delete(b"b")
        unsynced.flush()
        assert await storage.scan(b"") == []
        assert errors == [], "a lost deletion is no failure of the node"


async def test_what_could_not_be_deleted_is_tried_again_though_nothing_else_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.001, raising=False)
    async with MemoryStorage() as storage:
        await storage.put(b"a", b"1")
        unsynced = UnsyncedRows(storage, lambda error: None)
        mend = full(storage, monkeypatch)
        unsynced.delete(b"a")
        await turn()
        await turn()
        mend()
        found = await storage.scan(b"")
        for _ in range(300):
            await pace(0.001)
            found = found and await storage.scan(b"")
        assert found == []


async def test_nothing_is_tried_again_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY", 0.001)
    async with MemoryStorage() as storage:
        await storage.put(b"a", b"1")
        errors: list[Exception] = []
        unsynced = UnsyncedRows(storage, errors.append)
        full(storage, monkeypatch)
        unsynced.delete(b"a")
        unsynced.close()
        await turn()
        assert not unsynced.pending
    await pace(0.02)
    assert errors == []


async def test_a_row_is_written_at_once_and_a_closed_storage_is_told() -> None:
    storage = MemoryStorage()
    errors: list[Exception] = []
    unsynced = UnsyncedRows(storage, errors.append)
    async with storage:
        unsynced.put((b"a", b"1"))
        assert await storage.get(b"a") == b"1"
    unsynced.put((b"b", b"2"))
    unsynced.delete(b"a")
    unsynced.flush()
    await turn()
    assert [type(error) for error in errors] == [StorageError, StorageError]
    assert not unsynced.pending
