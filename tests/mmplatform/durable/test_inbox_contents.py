"""What applications see of the inbox, and do with it: take, drop, retry; each message ends once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from mmplatform.delivery.wire import End
from mmplatform.durable.inbox_rows import HELD
from mmplatform.storage.contract import Storage
from tests.support.inbox import Keeper, keeping, message
from tests.support.outbox import BOB, CAROL

ID = f"7.2.1@{BOB}"


@pytest.fixture
async def keeper(store: Callable[[], Storage]) -> AsyncIterator[Keeper]:
    async with keeping(store()) as keeper:
        yield keeper


async def failed(keeper: Keeper, seq: int = 1) -> None:
    keeper.keep(message(seq))
    await keeper.saved()
    found = [entry for entry in await keeper.inbox.page(HELD) if entry[1].seq == seq]
    keeper.inbox.fail(*found[0], "ValueError: x", (End.FAILED, ""))
    await keeper.saved()
    keeper.told.clear()


async def test_entries_by_sender_and_kind(keeper: Keeper) -> None:
    await failed(keeper)
    keeper.keep(message(2, payload=b"hi", expires=2_000_000), message(3, peer=CAROL))
    assert [entry.id for entry in await keeper.list()] == [f"7.2.2@{BOB}", f"7.2.3@{CAROL}"]
    assert [entry.sender for entry in await keeper.list(CAROL)] == [CAROL]
    assert await keeper.list("B") == []
    [bad] = await keeper.list(failed=True)
    assert (bad.state, bad.error) == ("failed", "ValueError: x")
    [entry] = await keeper.list(BOB)
    assert entry == (f"7.2.2@{BOB}", BOB, "chat", "ms", b"hi", "waiting", 1000.0, 2000.0, "")
    assert (keeper.contents.waiting, keeper.contents.failed) == (2, 1)


async def test_very_many_entries_come_in_pages(keeper: Keeper) -> None:
    keeper.keep(*(message(seq) for seq in range(1, 2501)))
    assert [entry.id for entry in await keeper.list()] == [f"7.2.{seq}@{BOB}" for seq in range(1, 2501)]


async def test_an_entry_that_goes_while_others_are_looked_at_is_not_given(keeper: Keeper) -> None:
    keeper.keep(*(message(seq) for seq in range(1, 4)))
    await keeper.saved()
    seen: list[str] = []
    async for entry in keeper.contents.entries():
        seen.append(entry.id)
        await keeper.contents.drop(f"7.2.2@{BOB}")
        await keeper.saved()
    assert seen == [f"7.2.1@{BOB}", f"7.2.3@{BOB}"]
    assert keeper.inbox.gone._numbers == set()


async def test_a_message_is_taken_once(keeper: Keeper) -> None:
    keeper.keep(message(1, payload=b"hi"), message(2))
    await keeper.saved()
    taken = await asyncio.gather(keeper.contents.take(ID), keeper.contents.take(ID), keeper.contents.drop(ID))
    assert [getattr(entry, "payload", entry) for entry in taken] == [b"hi", None, False]
    await keeper.saved()
    assert keeper.told == [(BOB, (2, 7, 1, End.DELIVERED, ""))]
    assert await keeper.contents.entry(ID) is None


async def test_a_message_that_is_dropped_is_refused(keeper: Keeper) -> None:
    keeper.keep(message(1))
    await keeper.saved()
    assert await keeper.contents.entry(ID) is not None
    assert await keeper.contents.drop(ID)
    assert not await keeper.contents.drop(ID)
    await keeper.saved()
    assert keeper.told == [(BOB, (2, 7, 1, End.REFUSED, "dropped unread"))]


@pytest.mark.parametrize("how", ["take", "drop"])
async def test_of_a_failed_message_its_sender_hears_nothing_more(keeper: Keeper, how: str) -> None:
    await failed(keeper)
    assert await getattr(keeper.contents, how)(ID)
    await keeper.saved()
    assert (keeper.told, keeper.inbox.count) == ([], 0)


async def test_a_failed_message_is_retried_once(keeper: Keeper) -> None:
    await failed(keeper)
    assert not await keeper.contents.retry(f"7.2.2@{BOB}")
    assert await asyncio.gather(keeper.contents.retry(ID), keeper.contents.retry(ID)) == [True, False]
    await keeper.saved()
    assert (keeper.contents.waiting, keeper.contents.failed) == (1, 0)
    assert not await keeper.contents.retry(ID), "it waits"
    entry = await keeper.contents.take(ID)
    assert entry is not None
    assert (entry.state, entry.error) == ("waiting", "")


async def test_what_handlers_have_is_shown_and_theirs(keeper: Keeper) -> None:
    keeper.keep(message(1))
    await keeper.saved()
    [(key, _)] = await keeper.inbox.page(HELD)
    keeper.inbox.topics[BOB, "ms", "chat"].in_hand.add(key.encoded)
    assert await keeper.contents.take(ID) is None
    assert not await keeper.contents.drop(ID)
    assert await keeper.contents.entry(ID) is not None
    assert keeper.contents.waiting == 1


@pytest.mark.parametrize("bad", ["", "x", "7.2.1", "7.9.1@" + BOB, "7.2.0@" + BOB])
async def test_bad_ids(keeper: Keeper, bad: str) -> None:
    for call in (keeper.contents.entry, keeper.contents.take, keeper.contents.drop, keeper.contents.retry):
        with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's for some
            await call(bad)
