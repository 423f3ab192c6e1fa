"""Notes go to the journal at the end of the turn, files after them; what fails is told, and made up for."""

import asyncio
import errno
from pathlib import Path

import pytest

from mm_services.messenger.store import changes as module
from mm_services.messenger.store.journal import IDLE, Journal
from mmplatform.errors import StorageError, StorageFull
from tests.support.bundle_stores import killed, make_bundle, opened
from tests.support.waiting import until


async def test_a_note_is_written_when_the_turn_ends(tmp_path: Path) -> None:
    made, gone = make_bundle(), make_bundle()
    async with opened(tmp_path / "store") as store:
        await store.take(made, for_us=True)
        await store.take(gone)
        await asyncio.sleep(0)
        store.note_handled(made.id)
        store.forget(gone.id)
        await asyncio.sleep(0)
        async with killed(store, tmp_path / "killed") as left:
            entry = left.find(made.id)
            assert entry is not None
            assert entry.handled
            assert left.knows(gone.id)
            assert left.find(gone.id) is None


async def test_notes_are_on_the_disk_a_little_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYNC", 0.001)
    synced: list[int] = []
    sync = Journal.sync
    monkeypatch.setattr(Journal, "sync", lambda self: synced.append(1) or sync(self))
    async with opened(tmp_path / "store") as store:
        await store.take(make_bundle())
        await until(lambda: len(synced) == 1)
        await store.take(make_bundle())
        await until(lambda: len(synced) == 2)
    assert len(synced) == 3


async def test_a_journal_that_cannot_be_written_is_told_once_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SYNC", 0.001)
    made = [make_bundle() for _ in range(3)]
    async with opened(tmp_path / "store") as store:
        for each in made:
            await store.take(each, for_us=True)

        def full(self: Journal, payload: bytes) -> None:
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "_write", full)
            for each in made:
                store.note_handled(each.id)
                await asyncio.sleep(0)
        assert [type(failure) for failure in store.failures] == [StorageFull]
        await until(lambda: not store._journal.behind and not store._journal.has_more)
        async with killed(store, tmp_path / "killed") as left:
            assert [entry.handled for entry in left.entries()] == [True] * 3


async def test_a_journal_that_says_nothing_any_more_is_told_anew_in_the_background(tmp_path: Path) -> None:
    made = [make_bundle() for _ in range(40)]
    async with opened(tmp_path / "store") as store:
        for each in made:
            await store.take(each)
        for number in range(1, IDLE + 200):
            store.set_copies(made[0].id, number)
        await asyncio.sleep(0)
        size = (tmp_path / "store" / "journal").stat().st_size
        store.set_copies(made[0].id, 7)
        await until(lambda: (tmp_path / "store" / "journal").stat().st_size < 0.7 * size)
        assert not (tmp_path / "store" / "journal.next").exists()
        store.set_copies(made[1].id, 8)
    async with opened(tmp_path / "store") as store:
        assert len(list(store.entries())) == 40
        assert (store.copies(made[0].id), store.copies(made[1].id)) == (7, 8)


async def test_a_file_that_cannot_be_removed_is_told_and_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_bundle()

    def stuck(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "stuck")

    with monkeypatch.context() as patched:
        async with opened(tmp_path / "store") as store:
            await store.take(made)
            patched.setattr(Path, "unlink", stuck)
            store.forget(made.id)
            await until(lambda: store.failures)
            assert [type(failure) for failure in store.failures] == [StorageError]
    assert (tmp_path / "store" / "bundles" / made.id.hex()).exists()
    async with opened(tmp_path / "store") as store:
        assert store.knows(made.id)
        assert store.names() == set()
