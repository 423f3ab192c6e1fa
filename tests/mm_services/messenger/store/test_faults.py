"""Disks that are full, read-only or worn out: nothing is said to be taken, nothing is lost, and it goes on later."""

import asyncio
import errno
import shutil
from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store import files as module
from mm_services.messenger.store.quotas import StoreLimits
from mmplatform.errors import StorageError, StorageFull, StorageGone, StorageReadOnly
from tests.support.bundle_stores import ALICE, MadeBundle, TestedStore, killed, make_bundle, opened
from tests.support.disks import Disk, disk
from tests.support.waiting import until

__all__ = ["disk"]


async def test_a_full_disk_takes_nothing_and_the_same_bundles_when_there_is_room(disk: Disk, tmp_path: Path) -> None:
    kept = [make_bundle(bytes(1000), lifespan=10 + number) for number in range(20)]
    more = [make_bundle(bytes(1000)) for _ in range(200)]
    large = make_bundle(bytes(20 * BLOCK))
    async with opened(disk.path / "store") as store:
        for each in kept:
            await store.take(each, for_us=True)
        disk.fill(leave=100_000)
        found = await asyncio.gather(*(store.take(each) for each in more), return_exceptions=True)
        taken = {each.id for each, outcome in zip(more, found, strict=True) if not isinstance(outcome, Exception)}
        assert 0 < len(taken) < 60
        assert all(isinstance(each, StorageFull) for each in found if isinstance(each, Exception))
        assert store.names() == {each.hex() for each in (*taken, *(each.id for each in kept))}
        assert len(store.ids()) == 16 * (len(kept) + len(taken))
        assert store.usage().bytes == 4096 * (len(kept) + len(taken))
        disk.fill()
        with pytest.raises(StorageFull):
            await store.start(large)
        for each in (*kept[:10], *(each for each in more if each.id in taken)):
            assert await store.content(each.id) == each.content
            store.note_handled(each.id)
        store.forget(kept[0].id)
        store.time = kept[5].expires
        assert len(store.expire(store.time)) == 5
        await asyncio.sleep(0)  # noted by now
        async with killed(store, tmp_path / "killed") as left:
            assert {each.id for each in left.entries()} == taken | {each.id for each in kept[6:]}
            assert all(each.handled for each in left.entries() if each.id in taken or each.id == kept[9].id)
            assert left.knows(kept[0].id)
        disk.give_back()
        for each in more:
            await store.take(each)
        assert await store.start(large) == 0
    async with opened(disk.path / "store") as store:
        assert {each.id for each in more} < {each.id for each in store.entries()}


async def test_a_large_bundle_goes_on_when_there_is_room_again(disk: Disk) -> None:
    made = make_bundle(bytes(range(256)) * 128 * 20)
    async with opened(disk.path / "store") as store:
        assert await store.start(made) == 0
        disk.fill(leave=8 * BLOCK)
        at = await give_until_it_fails(store, made)
        assert 0 < at <= 8 * BLOCK
        with pytest.raises(StorageFull):
            await asyncio.gather(
                *(store.append(made.id, ALICE.sign_id, at + n * BLOCK, made.content[:BLOCK]) for n in range(3))
            )
        assert await store.start(made) == at, "what was written stays"
        disk.give_back()
        for offset, block in made.blocks():
            if offset >= at:
                await store.append(made.id, ALICE.sign_id, offset, block)
        assert await store.content(made.id) == made.content


async def give_until_it_fails(store: TestedStore, made: MadeBundle) -> int:
    """Give block after block; return the offset of the one that the full disk did not take."""
    for at, block in made.blocks():
        try:
            await store.append(made.id, ALICE.sign_id, at, block)
        except StorageFull:
            return at
    raise AssertionError("there was room for all")


async def test_a_read_only_disk_is_read_and_says_so(disk: Disk) -> None:
    first, second = make_bundle(), make_bundle()
    async with opened(disk.path / "store") as store:
        await store.take(first)
    async with opened(disk.path / "store") as store:
        assert store._journal._file is not None
        store._journal._file.close()  # a file that is open for writing keeps the disk writable
        disk.remount("ro")
        try:
            with pytest.raises(StorageReadOnly):
                await store.take(second)
            assert await store.content(first.id) == first.content
            assert not store.knows(second.id)
            other = TestedStore(disk.path / "store")
            with pytest.raises(StorageReadOnly):
                await other.open()
        finally:
            disk.remount("rw")
        store._journal.open()
        await store.take(second)
    async with opened(disk.path / "store") as store:
        assert await store.content(second.id) == second.content


@pytest.mark.parametrize("call", ["open", "write", "fsync", "names", "rename"])
async def test_a_worn_out_disk_takes_nothing_and_the_same_bundle_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    made, large = make_bundle(), make_bundle(bytes(2 * BLOCK))

    def broken(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "worn out")

    async with opened(tmp_path, StoreLimits(sender_bundles=2)) as store:
        await store.start(large)
        await store.append(large.id, ALICE.sign_id, *large.blocks()[0])
        with monkeypatch.context() as patched:
            place, name = {"names": (module, "sync"), "rename": (Path, "rename")}.get(call, (module.os, call))
            patched.setattr(place, name, broken)
            for _ in range(3):
                with pytest.raises(StorageError, match="worn out"):
                    await store.take(made)
                if call not in ("open", "write"):
                    with pytest.raises(StorageError, match="worn out"):
                        await store.append(large.id, ALICE.sign_id, *large.blocks()[1])
        assert not store.knows(made.id)
        assert not store.knows(large.id)
        assert store.names() == set()
        assert store.usage()[:3] == (0, 0, 1)
        await store.take(made)
        await store.append(large.id, ALICE.sign_id, *large.blocks()[1])
    async with opened(tmp_path) as store:
        for each in (made, large):
            assert await store.content(each.id) == each.content


async def test_what_cannot_be_read_now_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_bundle()

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "worn out")

    async with opened(tmp_path) as store:
        await store.take(made)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", broken)
            with pytest.raises(StorageError, match="worn out"):
                await store.content(made.id)
        assert await store.content(made.id) == made.content


async def test_a_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    made, large = make_bundle(), make_bundle(bytes(3 * BLOCK))
    async with opened(tmp_path / "store") as store:
        await store.take(made)
        await store.start(large)
        shutil.rmtree(tmp_path / "store")
        with pytest.raises(StorageGone):
            await store.take(make_bundle())
        with pytest.raises(StorageGone):
            await store.append(large.id, ALICE.sign_id, *large.blocks()[0])
        assert store.usage().partials == 0
        assert await store.content(made.id) == b""
        await until(lambda: store.failures)
