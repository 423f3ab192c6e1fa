"""Large bundles come block by block: in order, checked, from one peer at a time, and go on after a restart."""

import asyncio
from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.partials import SILENT, UnderWayElsewhere
from mm_services.messenger.store.quotas import NoRoom, StoreLimits
from mmplatform.errors import ProtocolError
from tests.support.bundle_stores import ALICE, BOB, CAROL, US, MadeBundle, TestedStore, make_bundle, opened
from tests.support.waiting import until

A, B = ALICE.sign_id, BOB.sign_id


def large(blocks: float = 3.5, **options: int) -> MadeBundle:
    return make_bundle(bytes(range(251)) * int(blocks * BLOCK / 251), **options)  # type: ignore[arg-type]


async def give(store: TestedStore, made: MadeBundle, offset: int, giver: str = A) -> BundleEntry:
    """Give all blocks from ``offset`` on, each once the one before is written."""
    for at, block in made.blocks():
        if at >= offset:
            found = await store.append(made.id, giver, at, block)  # type: ignore[arg-type]
    assert isinstance(found, BundleEntry)
    return found


async def test_a_bundle_is_here_with_its_last_block(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        assert await store.start(made) == 0
        for at, block in made.blocks()[:-1]:
            assert await store.append(made.id, A, at, block) == at + BLOCK
            assert not store.knows(made.id)
        assert store.usage() == (0, 0, 1, 28 * 4096 + 4096, 0, 0)
        at, block = made.blocks()[-1]
        entry = await store.append(made.id, A, at, block)
        assert entry is store.find(made.id)
        assert await store.read(made.id) == (made.head, made.content)
        assert store.usage() == (1, 29 * 4096, 0, 0, 0, 0)
        assert store.names("partial") == set()
    async with opened(tmp_path) as store:
        assert await store.read(made.id) == (made.head, made.content)


async def test_several_blocks_under_way_at_once(tmp_path: Path) -> None:
    made = large(9.2)
    async with opened(tmp_path) as store:
        await store.start(made)
        found = await asyncio.gather(*(store.append(made.id, A, at, block) for at, block in made.blocks()))
        assert found[:-1] == [at for at, _ in made.blocks()[1:]]
        assert found[-1] is store.find(made.id)
        assert await store.content(made.id) == made.content


async def test_a_block_that_is_not_wanted_changes_nothing(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        with pytest.raises(UnderWayElsewhere, match="not begun"):
            await store.append(made.id, A, *made.blocks()[0])
        await store.start(made)
        await store.append(made.id, A, *made.blocks()[0])
        for at in (0, 2 * BLOCK, 3 * BLOCK, -BLOCK, 1, 10**9):
            assert await store.append(made.id, A, at, b"x") == BLOCK
        assert await store.start(made) == BLOCK
        await give(store, made, BLOCK)
        assert await store.content(made.id) == made.content


async def test_a_block_that_was_not_signed_is_refused_and_the_right_one_taken(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made)
        at, block = made.blocks()[0]
        flipped = bytes([block[0] ^ 1]) + block[1:]
        for wrong in (b"", block[:-1], block + b"x", flipped):
            with pytest.raises(ProtocolError, match="bad-content"):
                await store.append(made.id, A, at, wrong)
        await give(store, made, 0)
        assert await store.content(made.id) == made.content


async def test_one_peer_gives_it_until_it_falls_silent(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made, A)
        await store.append(made.id, A, *made.blocks()[0])
        store.time += SILENT - 0.1
        with pytest.raises(UnderWayElsewhere):
            await store.start(made, B)
        with pytest.raises(UnderWayElsewhere):
            await store.append(made.id, B, *made.blocks()[1])
        await store.append(made.id, A, *made.blocks()[1])
        store.time += SILENT
        assert await store.start(made, B) == 2 * BLOCK
        with pytest.raises(UnderWayElsewhere):
            await store.append(made.id, A, *made.blocks()[2])
        entry = await give(store, made, 2 * BLOCK, B)
        assert entry.giver == B


async def test_after_a_restart_it_goes_on_with_what_is_sound(tmp_path: Path) -> None:
    made = large(5.5)
    async with opened(tmp_path) as store:
        await store.start(made, A)
        for at, block in made.blocks()[:4]:
            await store.append(made.id, A, at, block)
    file = tmp_path / "partial" / made.id.hex()
    for damage, sound in ((0, 4), (-1, 3), (-BLOCK - 1, 1)):
        data = file.read_bytes()
        file.write_bytes(data[:damage] if damage else data)
        async with opened(tmp_path) as store:
            with pytest.raises(UnderWayElsewhere, match="not begun"):
                await store.append(made.id, B, *made.blocks()[0])
            assert await asyncio.gather(store.start(made, B), store.start(made, B)) == [sound * BLOCK] * 2
            with pytest.raises(UnderWayElsewhere):
                await store.start(made, A)
    async with opened(tmp_path) as store:
        start = await store.start(made, A)
        assert start == BLOCK
        await give(store, made, start)
        assert await store.content(made.id) == made.content


async def test_a_flipped_bit_in_what_a_former_run_left_is_found(tmp_path: Path) -> None:
    made = large(5.5)
    async with opened(tmp_path) as store:
        await store.start(made)
        for at, block in made.blocks()[:4]:
            await store.append(made.id, A, at, block)
    file = tmp_path / "partial" / made.id.hex()
    data = bytearray(file.read_bytes())
    data[-3 * BLOCK] ^= 4  # in the second of four
    file.write_bytes(data)
    async with opened(tmp_path) as store:
        assert await store.start(made) == BLOCK
        await give(store, made, BLOCK)
        assert await store.content(made.id) == made.content


async def test_a_kill_before_the_last_step_has_the_last_block_come_again(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made)
        await give(store, made, 0)
    (tmp_path / "bundles" / made.id.hex()).rename(tmp_path / "partial" / made.id.hex())
    async with opened(tmp_path) as store:
        assert await store.start(made) == 3 * BLOCK
        await give(store, made, 3 * BLOCK)
        assert await store.content(made.id) == made.content


async def test_what_is_damaged_beyond_use_is_begun_anew(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made)
    file = tmp_path / "partial" / made.id.hex()
    async with opened(tmp_path) as store:
        file.write_bytes(file.read_bytes()[:20])
        with pytest.raises(UnderWayElsewhere, match="damaged"):
            await store.start(made)
        assert await store.start(made) == 0
        await give(store, made, 0)
    file.write_bytes(b"mmb1")
    (tmp_path / "partial" / "strange").write_bytes(b"")
    async with opened(tmp_path) as store:
        assert store.names("partial") == {"strange"}
        assert await store.content(made.id) == made.content


async def test_a_whole_one_from_elsewhere_ends_it(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made, A)
        await store.append(made.id, A, *made.blocks()[0])
        await store.take(made, giver=US.sign_id, own=True)
        with pytest.raises(UnderWayElsewhere):
            await store.append(made.id, A, *made.blocks()[1])
        assert store.usage().partials == 0
        await until(lambda: store.names("partial") == set())
        assert await store.content(made.id) == made.content


async def test_one_that_is_over_before_its_last_block_is_on_the_disk_is_not_here(tmp_path: Path) -> None:
    made = large()
    async with opened(tmp_path) as store:
        await store.start(made)
        *blocks, last = made.blocks()
        for at, block in blocks:
            await store.append(made.id, A, at, block)
        finishing = asyncio.ensure_future(store.append(made.id, A, *last))
        await asyncio.sleep(0)
        store.expire(made.expires)
        await finishing
        assert store.find(made.id) is None
        assert store.usage() == (0, 0, 0, 0, 0, 0)
        await until(lambda: store.names() == store.names("partial") == set())


async def test_silent_ones_give_way_and_nobody_may_begin_too_many(tmp_path: Path) -> None:
    made = [large() for _ in range(8)]
    page = 29 * 4096
    async with opened(tmp_path, StoreLimits(partial_bytes=8 * page)) as store:
        for each in made[:2]:
            await store.start(each, A)
        with pytest.raises(NoRoom, match="one peer"):
            await store.start(made[2], A)
        await store.start(made[2], B)
    async with opened(tmp_path, StoreLimits(partial_bytes=3 * page)) as store:
        assert store.usage().partials == 3, "those of the run before are silent"
        assert await store.start(made[0], A) == 0
        assert await store.start(made[3], B) == 0
        with pytest.raises(NoRoom, match="one peer"):
            await store.start(made[4], B)
        assert store.usage().partial_bytes == 3 * page
        assert made[0].id.hex() in store.names("partial")
        await store.start(made[4], CAROL.sign_id)
        with pytest.raises(NoRoom, match="under way"):
            await store.start(made[5], US.sign_id)
        store.time += SILENT
        await store.start(made[5], US.sign_id)
        assert store.usage().partials == 3
        with pytest.raises(UnderWayElsewhere):
            await store.append(made[0].id, A, *made[0].blocks()[0])
        assert await store.start(made[0], A) == 0, "what gave way may begin again"
        await give(store, made[0], 0)
        await until(lambda: len(store.names("partial")) == store.usage().partials == 2)


async def test_one_that_finds_no_room_at_its_end_goes_on_when_there_is_some(tmp_path: Path) -> None:
    made, other = large(), make_bundle(bytes(20 * BLOCK), sender=US)
    async with opened(tmp_path, StoreLimits(bytes=22 * BLOCK)) as store:
        await store.start(made)
        *blocks, last = made.blocks()
        for at, block in blocks:
            await store.append(made.id, A, at, block)
        await store.take(other, giver=US.sign_id, own=True)
        with pytest.raises(NoRoom, match="in all"):
            await store.append(made.id, A, *last)
        with pytest.raises(NoRoom, match="in all"):
            await store.start(made)
        store.drop(other.id)
        assert await store.start(made) == last[0]
        await store.append(made.id, A, *last)
        assert await store.content(made.id) == made.content
