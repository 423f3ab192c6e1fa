"""Whatever is cut off or flipped in a store: it opens, what is damaged is put aside, and nothing else suffers."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK
from mmplatform.errors import StorageCorrupt, StorageGone
from tests.support.bundle_stores import US, MadeBundle, make_bundle, opened
from tests.support.waiting import until

SIZES = (1, 1000, BLOCK, 3 * BLOCK + 5)


async def fill(folder: Path) -> list[MadeBundle]:
    chance = random.Random(1)
    made = [make_bundle(chance.randbytes(size)) for size in SIZES for _ in range(2)]
    async with opened(folder) as store:
        for each in made:
            await store.take(each)
        store.note_handled(made[0].id)
        await store.take(gone := make_bundle())
        store.forget(gone.id)
        large = make_bundle(bytes(4 * BLOCK))
        await store.start(large)
        await store.append(large.id, large.header.sender, *large.blocks()[0])
    return made


async def check(folder: Path, made: list[MadeBundle], hurt: str) -> None:
    """See that all but the bundle named ``hurt`` are there, and that this one may come again."""
    async with opened(folder) as store:
        assert await asyncio.gather(*(store.content(each.id) for each in made if each.id.hex() != hurt)) == [
            each.content for each in made if each.id.hex() != hurt
        ]
        for each in made:
            if each.id.hex() == hurt:
                assert await store.read(each.id) is None
                await until(lambda: store.names("aside") == {hurt})
                assert [type(failure) for failure in store.failures] == [StorageCorrupt]
                assert not store.knows(each.id)
                await store.take(each)
                assert await store.content(each.id) == each.content
        assert len(list(store.entries())) == len(made)
        assert store.usage().bundles == len(made)


async def test_each_file_cut_off_at_random(tmp_path: Path) -> None:
    made = await fill(tmp_path / "sound")
    chance = random.Random(2)
    for path in sorted((tmp_path / "sound").rglob("*")):
        if path.is_file():
            for _ in range(4):
                folder = Path(shutil.copytree(tmp_path / "sound", tmp_path / "cut"))
                hurt = folder / path.relative_to(tmp_path / "sound")
                hurt.write_bytes(hurt.read_bytes()[: chance.randrange(path.stat().st_size)])
                await check(folder, made, path.name if path.parent.name == "bundles" else "")
                shutil.rmtree(folder)


async def test_each_file_with_flipped_bytes(tmp_path: Path) -> None:
    made = await fill(tmp_path / "sound")
    chance = random.Random(3)
    for path in sorted((tmp_path / "sound").rglob("*")):
        if path.is_file():
            for _ in range(4):
                folder = Path(shutil.copytree(tmp_path / "sound", tmp_path / "cut"))
                hurt = folder / path.relative_to(tmp_path / "sound")
                data = bytearray(hurt.read_bytes())
                data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
                hurt.write_bytes(data)
                await check_but_journal(folder, made, path)
                shutil.rmtree(folder)


async def check_but_journal(folder: Path, made: list[MadeBundle], path: Path) -> None:
    """As :func:`check`; a damaged journal is told of at the start."""
    if path.name != "journal":
        await check(folder, made, path.name if path.parent.name == "bundles" else "")
        return
    async with opened(folder) as store:
        assert await asyncio.gather(*(store.content(each.id) for each in made)) == [each.content for each in made]
        assert all(isinstance(failure, StorageCorrupt) for failure in store.failures)


async def test_without_a_journal_the_files_tell_it_all_but_what_was_noted(tmp_path: Path) -> None:
    for_us, large = make_bundle(recipients=(US.sign_id,)), make_bundle(bytes(3 * BLOCK))
    async with opened(tmp_path) as store:
        await store.take(for_us, for_us=True)
        mine = await store.take(make_bundle(sender=US), giver=US.sign_id, own=True)
        await store.start(large)
        await store.append(large.id, large.header.sender, *large.blocks()[0])
        before = {entry.id: entry for entry in store.entries()}
        store.note_handled(for_us.id)
    (tmp_path / "journal").unlink()
    for _ in range(2):
        async with opened(tmp_path) as store:
            before[for_us.id].handled = False
            assert {entry.id: entry for entry in store.entries()} == before
            assert store.find(mine.id) == mine
            assert store.failures == []
            assert await store.start(large) == BLOCK
            assert store.usage().bytes == 2 * 4096


async def test_what_is_cut_off_is_put_aside_though_nobody_reads_it(tmp_path: Path) -> None:
    made = [make_bundle(bytes(1000)) for _ in range(1200)]
    async with opened(tmp_path) as store:
        await asyncio.gather(*(store.take(each) for each in made))
    hurt = made[3::400]
    for each in hurt:
        path = tmp_path / "bundles" / each.id.hex()
        path.write_bytes(path.read_bytes()[:-1])
    async with opened(tmp_path) as store:
        await until(lambda: store.names("aside") == {each.id.hex() for each in hurt})
        assert store.usage().bundles == 1197
        assert len(store.ids()) == 1197 * 16
        assert {type(failure) for failure in store.failures} == {StorageCorrupt}
    async with opened(tmp_path) as store:
        assert store.usage().bundles == 1197


async def test_a_file_under_the_name_of_another_is_put_aside(tmp_path: Path) -> None:
    first, second = make_bundle(), make_bundle()
    async with opened(tmp_path) as store:
        await store.take(first)
    (tmp_path / "bundles" / first.id.hex()).rename(tmp_path / "bundles" / second.id.hex())
    async with opened(tmp_path) as store:
        assert list(store.entries()) == []
        assert store.names("aside") == {second.id.hex()}
        assert "1 damaged bundles" in str(store.failures)


async def test_a_file_that_somebody_removed_is_told_and_may_come_again(tmp_path: Path) -> None:
    made, unread = make_bundle(), make_bundle()
    async with opened(tmp_path) as store:
        await store.take(made)
        await store.take(unread)
        for each in (made, unread):
            (tmp_path / "bundles" / each.id.hex()).unlink()
        assert await store.content(made.id) == b""
        assert [type(failure) for failure in store.failures] == [StorageGone]
        await store.take(made)
        assert await store.content(made.id) == made.content
    async with opened(tmp_path) as store:
        assert not store.knows(unread.id)


@pytest.mark.parametrize("call", ["forget", "drop"])
async def test_what_goes_while_it_is_read_reads_as_nothing_or_whole(tmp_path: Path, call: str) -> None:
    async with opened(tmp_path) as store:
        for _ in range(50):
            made = make_bundle()
            await store.take(made)
            reading = asyncio.ensure_future(store.content(made.id))
            await asyncio.sleep(0)
            getattr(store, call)(made.id)
            assert await reading in (made.content, b"")
        assert store.failures == []
        assert store.names("aside") == set()
