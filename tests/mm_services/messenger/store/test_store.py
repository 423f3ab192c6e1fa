"""The store as its carrier sees it: bundles that are here, that were here, and what is noted of them."""

import asyncio
import stat
from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK, SKEW
from mm_services.messenger.protocol.receipts import ReceiptState
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.index import AT_ONCE
from mm_services.messenger.store.quotas import NoRoom, StoreLimits
from mmplatform.errors import StorageError
from tests.support.bundle_stores import ALICE, BOB, CAROL, LIFESPAN, NOW, US, TestedStore, make_bundle, opened
from tests.support.waiting import until


async def test_what_was_added_is_here_and_after_a_restart(tmp_path: Path) -> None:
    small, large = make_bundle(), make_bundle(bytes(range(256)) * 1000, recipients=(BOB.sign_id, US.sign_id))
    async with opened(tmp_path) as store:
        entry = await store.take(small, giver=CAROL.sign_id)
        await store.take(large, for_us=True)
        assert (entry.sender, entry.giver, entry.recipients) == (ALICE.sign_id, CAROL.sign_id, (BOB.sign_id,))
        assert (entry.created, entry.size, entry.hops) == (small.header.created, 5, 1)
        before = {each.id: each for each in store.entries()}
    async with opened(tmp_path) as store:
        assert {each.id: each for each in store.entries()} == before
        assert store.find(small.id) == entry
        assert store.ids() == b"".join(sorted((small.id, large.id)))
        for made in (small, large):
            assert await store.read(made.id) == (made.head, made.content)
            assert await store.head(made.id) == made.head
            assert await store.content(made.id) == made.content
            assert [(at, await store.block(made.id, at)) for at, _ in made.blocks()] == made.blocks()
        assert store.failures == []


async def test_what_is_not_here_reads_as_nothing(tmp_path: Path) -> None:
    made = make_bundle()
    async with opened(tmp_path) as store:
        assert store.find(made.id) is None
        assert not store.knows(made.id)
        assert await store.read(made.id) is None
        assert await store.head(made.id) is None
        assert await store.content(made.id) == b""
        assert await store.block(made.id, 0) == b""
        await store.take(made)
        for offset in (-BLOCK, -1, 1, BLOCK):
            assert await store.block(made.id, offset) == b""


async def test_a_bundle_that_comes_twice_at_once_is_kept_once(tmp_path: Path) -> None:
    made = make_bundle()
    async with opened(tmp_path) as store:
        first, second = await asyncio.gather(store.take(made), store.take(made, giver=CAROL.sign_id))
        assert first is second is await store.take(made)
        assert store.usage().bundles == 1
        assert store.by_sender() == {ALICE.sign_id: (1, 4096)}


async def test_who_gives_up_waiting_does_not_stop_it(tmp_path: Path) -> None:
    made = make_bundle()
    async with opened(tmp_path) as store:
        waiting = asyncio.ensure_future(store.take(made))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: store.find(made.id))


async def test_what_is_on_its_way_is_on_the_disk_when_the_store_is_closed(tmp_path: Path) -> None:
    made = [make_bundle() for _ in range(100)]
    store = TestedStore(tmp_path)
    await store.open()
    adding = [asyncio.ensure_future(store.take(each)) for each in made]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*adding)
    async with opened(tmp_path) as again:
        assert all(again.find(each.id) for each in made)


async def test_a_forgotten_bundle_is_known_until_it_is_over(tmp_path: Path) -> None:
    made, other = make_bundle(), make_bundle()
    async with opened(tmp_path) as store:
        await store.take(made)
        await store.take(other)
        store.forget(made.id)
        assert store.find(made.id) is None
        assert store.knows(made.id)
        assert store.usage().gone == 1
        with pytest.raises(ValueError, match="was here before"):
            await store.take(made)
    for _ in range(2):
        async with opened(tmp_path) as store:
            assert store.names() == {other.id.hex()}
            assert store.knows(made.id)
            assert store.ids() == b"".join(sorted((made.id, other.id)))
    async with opened(tmp_path, now=made.expires + 64) as store:
        assert not store.knows(made.id)
        assert store.ids() == b""
        assert store.usage().gone == 0


async def test_a_dropped_bundle_may_come_again_at_once(tmp_path: Path) -> None:
    made = make_bundle()
    async with opened(tmp_path) as store:
        await store.take(made)
        for _ in range(3):
            store.drop(made.id)
            assert not store.knows(made.id)
            assert store.ids() == b""
            await store.take(made)
            assert await store.content(made.id) == made.content
            assert store.ids() == made.id
        store.drop(made.id)
    async with opened(tmp_path) as store:
        assert not store.knows(made.id)
        assert store.names() == set()


async def test_what_is_over_is_deleted_and_known_no_more(tmp_path: Path) -> None:
    brief, longer = make_bundle(lifespan=10), make_bundle(lifespan=20)
    large = make_bundle(bytes(3 * BLOCK), lifespan=15)
    async with opened(tmp_path) as store:
        assert store.next_expiry() is None
        for made in (longer, brief):
            await store.take(made)
        await store.start(large)
        assert store.next_expiry() == brief.expires
        assert store.expire(brief.expires - 0.001) == []
        assert [entry.id for entry in store.expire(brief.expires)] == [brief.id]
        assert not store.knows(brief.id)
        assert store.next_expiry() == large.expires
        assert store.expire(large.expires) == []
        assert store.next_expiry() == longer.expires
        assert store.usage() == (1, 4096, 0, 0, 0, 0)
        await until(lambda: store.names() == {longer.id.hex()} and not store.names("partial"))
    async with opened(tmp_path, now=longer.expires) as store:
        assert list(store.entries()) == []
        await until(lambda: store.names() == set())


async def test_very_many_that_are_over_are_deleted_in_steps(tmp_path: Path) -> None:
    made = [make_bundle(lifespan=10) for _ in range(AT_ONCE + 5)]
    async with opened(tmp_path) as store:
        await asyncio.gather(*(store.take(each) for each in made))
        store.time += 20
        assert len(store.expire(store.time)) == AT_ONCE
        next_one = store.next_expiry()
        assert next_one is not None
        assert next_one < store.time
        assert len(store.expire(store.time)) == 5
        assert store.next_expiry() is None
        await until(lambda: store.names() == set())


async def test_receipts_are_remembered_of_bundles_that_never_were_here(tmp_path: Path) -> None:
    made, mine = make_bundle(), make_bundle(sender=US)
    async with opened(tmp_path) as store:
        await store.take(mine, giver=US.sign_id, own=True)
        store.note_receipt(made.id, BOB.sign_id, ReceiptState.RECEIVED, NOW + 100)
        store.note_receipt(made.id, CAROL.sign_id, ReceiptState.RECEIVED, NOW + 100)
        store.note_receipt(made.id, BOB.sign_id, ReceiptState.READ, NOW + 100)
        store.note_receipt(mine.id, BOB.sign_id, ReceiptState.FAILED, mine.expires)
    async with opened(tmp_path) as store:
        assert store.receipts(made.id) == {BOB.sign_id: ReceiptState.READ, CAROL.sign_id: ReceiptState.RECEIVED}
        assert store.receipts(mine.id) == {BOB.sign_id: ReceiptState.FAILED}
        assert not store.knows(made.id)
        store.expire(NOW + 200)
        assert store.receipts(made.id) == {}
        assert store.receipts(mine.id) == {BOB.sign_id: ReceiptState.FAILED}


async def test_what_is_noted_of_a_bundle_lasts_as_long_as_it(tmp_path: Path) -> None:
    made = make_bundle(recipients=(US.sign_id, BOB.sign_id))
    async with opened(tmp_path) as store:
        entry = await store.take(made, for_us=True)
        assert (entry.handled, store.copies(made.id)) == (False, None)
        store.note_handled(made.id)
        store.set_copies(made.id, 4)
        store.set_copies(make_bundle().id, 4)
    async with opened(tmp_path) as store:
        found = store.find(made.id)
        assert found is not None
        assert found.handled
        assert store.copies(made.id) == 4
        store.forget(made.id)
        assert store.copies(made.id) == 4
        store.expire(made.expires + 64)
        assert store.copies(made.id) is None


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    made, store = make_bundle(), TestedStore(tmp_path)
    await store.close()
    for closed in range(2):
        with pytest.raises(StorageError, match="not open"):
            await store.take(made)
        for call in (store.note_handled, store.drop):
            with pytest.raises(StorageError, match="not open"):
                call(made.id)
        if not closed:
            await store.open()
            await store.open()
            await store.take(made)
            await store.close()
            await store.close()
    with pytest.raises(StorageError, match="not open"):
        store.forget(made.id)
    await store.open()
    assert await store.content(made.id) == made.content, "a store may be opened again"
    await store.close()


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "messenger") as store:
        await store.take(make_bundle())
        await store.start(make_bundle(bytes(2 * BLOCK)))
        found = list((tmp_path / "messenger").rglob("*"))
        assert len(found) >= 6
        for path in (tmp_path / "messenger", *found):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_a_failed_start_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir(parents=True)
    store = TestedStore(tmp_path)
    with pytest.raises(StorageError, match="journal"):
        await store.open()
    (tmp_path / "journal").rmdir()
    await store.open()
    await store.take(make_bundle())
    await store.close()


async def test_room_is_asked_for_before_a_content_is_taken(tmp_path: Path) -> None:
    async with opened(tmp_path, StoreLimits(bytes=64 * 1024)) as store:
        store.room(make_bundle(bytes(60_000)).header, ALICE.sign_id, own=False)
        for own in (False, True):
            with pytest.raises(NoRoom, match="in all"):
                store.room(make_bundle(bytes(65_000)).header, ALICE.sign_id, own)


async def test_what_gave_way_is_not_taken_again(tmp_path: Path) -> None:
    first, second = make_bundle(lifespan=10), make_bundle(lifespan=20)
    async with opened(tmp_path, StoreLimits(bundles=1)) as store:
        await store.take(first)
        await store.take(second)
        assert store.find(first.id) is None
        assert store.knows(first.id)
        assert store.usage() == (1, 4096, 0, 0, 1, 1)
        await until(lambda: store.names() == {second.id.hex()})
    async with opened(tmp_path) as store:
        assert store.knows(first.id)


@pytest.mark.parametrize("count", [1, 500])
async def test_many_at_once_are_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    async with opened(tmp_path) as store:
        batches: list[int] = []
        save = store._files.save
        monkeypatch.setattr(store._opened.writer, "_save", lambda new: batches.append(len(new)) or save(new))
        await asyncio.gather(*(store.take(make_bundle()) for _ in range(count)))
        assert batches == [count]
        assert store.usage().bundles == count


async def test_what_was_handled_is_so_when_it_comes_again(tmp_path: Path) -> None:
    """Another carrier may say that it is not over yet, for twice the time by which clocks may be wrong."""
    forgotten, noted, large = make_bundle(), make_bundle(), make_bundle(bytes(range(256)) * 1000)
    async with opened(tmp_path) as store:
        for made in (forgotten, noted, large):
            assert not (await store.take(made, for_us=True)).handled
        store.forget(forgotten.id)
        store.note_handled(noted.id)
        store.note_handled(large.id)
    later = NOW + LIFESPAN + 100
    async with opened(tmp_path, now=later) as store:
        assert not any(map(store.knows, (forgotten.id, noted.id, large.id)))
        assert await store.start(large, for_us=True) == 0
        for made in (forgotten, noted):
            assert (await store.take(made, for_us=True)).handled
        for offset, block in large.blocks():
            done = await store.append(large.id, ALICE.sign_id, offset, block)
        assert isinstance(done, BundleEntry)
        assert done.handled
        store.expire(later)
        store.expire(later + 2 * SKEW)
        assert not (await store.take(noted, for_us=True)).handled


async def test_of_what_is_carried_for_others_nothing_is_handled(tmp_path: Path) -> None:
    made = make_bundle()
    async with opened(tmp_path) as store:
        await store.take(made)
        store.forget(made.id)
        store.expire(NOW + LIFESPAN + 100)
        assert not (await store.take(made, for_us=True)).handled


async def test_receipts_of_ours_are_told_apart_also_once_the_bundle_is_gone(tmp_path: Path) -> None:
    """ "Read" comes after "received", which ends the bundle here; what strangers say of it counts for nothing."""
    theirs, mine = make_bundle(), make_bundle(sender=US)
    async with opened(tmp_path) as store:
        await store.take(mine, giver=US.sign_id, own=True)
        store.note_receipt(mine.id, BOB.sign_id, ReceiptState.RECEIVED, NOW + 100)
        store.forget(mine.id)
        store.note_receipt(mine.id, BOB.sign_id, ReceiptState.READ, NOW + 100)
        store.note_receipt(mine.id, CAROL.sign_id, ReceiptState.READ, NOW + 100)
        store.note_receipt(theirs.id, BOB.sign_id, ReceiptState.READ, NOW + 100)
    async with opened(tmp_path) as store:
        assert store.own_receipts(mine.id) == {BOB.sign_id: ReceiptState.READ}
        assert store.own_receipts(theirs.id) == {}
