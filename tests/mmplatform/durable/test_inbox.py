"""The inbox on both storages: what is kept is counted, bounded, found again after a restart, and ends once."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mmplatform.delivery.wire import OVERHEAD, TAKEN, End
from mmplatform.durable import handled
from mmplatform.durable import inbox as module
from mmplatform.durable.handled_log import INBOX, HandledLog, HandledNote
from mmplatform.durable.inbox import InboxLimits
from mmplatform.durable.inbox_rows import FAILED, HELD, InboxKey, InboxMessage
from mmplatform.errors import StorageCorrupt
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.inbox import STRANGER, Keeper, keeping, message
from tests.support.outbox import BOB, CAROL, full, until

SIZE = 1 + OVERHEAD


@pytest.fixture
async def keeper(store: Callable[[], Storage]) -> AsyncIterator[Keeper]:
    async with keeping(store()) as keeper:
        yield keeper


async def first(keeper: Keeper, prefix: bytes = HELD) -> tuple[InboxKey, InboxMessage]:
    await keeper.saved()
    return (await keeper.inbox.page(prefix))[0]


# What is kept.


async def test_what_is_kept_is_there_after_a_restart_in_its_order(store: Callable[[], Storage]) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1), message(2), message(3, "news"), message(1, peer=CAROL))
        await keeper.saved()
    async with keeping(store(), now=900.0) as keeper:  # the clock was set back
        keeper.keep(message(3))
        assert [(entry.sender, entry.topic, entry.id) for entry in await keeper.list()] == [
            (BOB, "chat", f"7.2.1@{BOB}"),
            (BOB, "chat", f"7.2.2@{BOB}"),
            (BOB, "chat", f"7.2.3@{BOB}"),
            (BOB, "news", f"7.2.3@{BOB}"),
            (CAROL, "chat", f"7.2.1@{CAROL}"),
        ]
        assert (keeper.inbox.count, keeper.inbox.held) == (5, 5)
        assert keeper.inbox._bytes == 5 * SIZE


async def test_what_ended_is_told_once_and_gone(store: Callable[[], Storage]) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1))
        keeper.inbox.end(*await first(keeper), TAKEN)
        await keeper.saved()
        assert keeper.told == [(BOB, (2, 7, 1, *TAKEN))]
        assert (keeper.inbox.topics, keeper.inbox._sums, keeper.inbox._bytes) == ({}, {}, 0)
    async with keeping(store()) as keeper:
        assert (await keeper.list(), keeper.told) == ([], [])


async def test_nothing_ends_in_memory_only_when_the_disk_is_full(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handled, "RETRY_AFTER", 0)
    keeper.keep(message(1))
    found = await first(keeper)
    empty = full(keeper.storage, monkeypatch)
    keeper.inbox.end(*found, TAKEN)
    await until(lambda: len(keeper.errors) > 1)
    assert keeper.told == []
    empty()
    await until(lambda: keeper.told)
    assert keeper.told == [(BOB, (2, 7, 1, *TAKEN))]


async def test_a_failed_message_is_told_once_and_waits_on(store: Callable[[], Storage]) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1))
        keeper.inbox.fail(*await first(keeper), "ValueError: x", (End.FAILED, "x"))
        await keeper.saved()
        assert keeper.told == [(BOB, (2, 7, 1, End.FAILED, "x"))]
        assert (keeper.inbox.count, keeper.inbox.held) == (1, 0)
    async with keeping(store()) as keeper:
        assert (keeper.inbox.count, keeper.inbox.held) == (1, 0)
        keeper.inbox.wait_again(*await first(keeper, FAILED))
        assert (keeper.inbox.count, keeper.inbox.held) == (1, 1)
        keeper.inbox.end(*await first(keeper), TAKEN)
        await keeper.saved()
        assert (keeper.told, keeper.inbox.count) == ([], 0)
        assert await keeper.storage.scan(b"") == []


# Quotas.


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (InboxLimits(peer_messages=10), 10),
        (InboxLimits(peer_bytes=12 * SIZE), 12),
        (InboxLimits(total_bytes=14 * SIZE), 14),
    ],
)
async def test_quotas_hold_and_room_is_told_when_a_tenth_is_free(
    store: Callable[[], Storage], limits: InboxLimits, most: int
) -> None:
    async with keeping(store(), limits) as keeper:
        seq = 0
        while keeper.inbox.room(BOB, SIZE, stranger=False):
            keeper.keep(message(seq := seq + 1))
        assert seq == most
        await keeper.saved()
        for key, held in await keeper.inbox.page(HELD):
            assert keeper.inbox.room(BOB, SIZE, stranger=False) == (seq < most)
            keeper.inbox.end(key, held, TAKEN)
            seq -= 1
            assert keeper.freed == ([BOB] if seq <= most * 9 // 10 else [])
            if keeper.freed:
                break


async def test_strangers_share_a_room_of_their_own(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeping(store(), InboxLimits(strangers_bytes=16 * SIZE)) as keeper:
        room = keeper.inbox.room
        keeper.keep(message(1, peer=STRANGER), message(2, peer=STRANGER))
        assert not room(STRANGER, SIZE, stranger=True), "an eighth is for one of them"
        others = [f"{number:043}=" for number in range(7)]
        for other in others:
            assert room(other, 2 * SIZE, stranger=True)
            keeper.keep(message(1, peer=other), message(2, peer=other))
        assert not room("T" * 43 + "=", SIZE, stranger=True)
        assert room(BOB, SIZE, stranger=False)
        monkeypatch.setattr(module, "MAX_STRANGERS", 8)
        assert not room("T" * 43 + "=", 0, stranger=True)


async def test_those_who_are_told_of_room_are_bounded(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FULL", 2)
    for number in range(4):
        assert not keeper.inbox.room(f"{number:043}=", 2**40, stranger=False)
    assert len(keeper.inbox._full) == 2


# The log of what was handled.


async def test_what_was_handled_before_a_kill_is_not_handed_over_again(
    store: Callable[[], Storage], tmp_path: Path
) -> None:
    log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
    async with keeping(store(), log=log) as keeper:
        keeper.keep(message(1), message(2))
        key, _ = await first(keeper)
        keeper.handled.note(INBOX, BOB, 0, 0, key.number, key.number)  # killed before the row could be deleted
        await keeper.saved()
    async with keeping(store(), log=HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))) as keeper:
        assert [entry.id for entry in await keeper.list()] == [f"7.2.2@{BOB}"]
        assert keeper.told == [(BOB, (2, 7, 1, *TAKEN))]
        assert len(await keeper.storage.keys(HELD)) == 1


async def test_old_notes_of_the_log_are_not_taken_for_new_messages(
    store: Callable[[], Storage], tmp_path: Path
) -> None:
    """A power cut may bring back a log that was cleared, as nothing of it is synced."""
    path = tmp_path / "log"

    def log() -> HandledLog:
        return HandledLog(path, lambda error: pytest.fail(str(error)))

    async with keeping(store(), log=log()) as keeper:
        keeper.keep(message(1))
        key, held = await first(keeper)
        keeper.handled.note(INBOX, BOB, 0, 0, key.number, key.number)
        keeper.inbox.end(key, held, TAKEN)
        await keeper.saved()
    noted = path.read_bytes()
    async with keeping(store(), log=log(), now=2000.0) as keeper:
        keeper.keep(message(2))
        await keeper.saved()
    path.write_bytes(noted)
    async with keeping(store(), log=log(), now=2000.0) as keeper:
        assert [entry.id for entry in await keeper.list()] == [f"7.2.2@{BOB}"]


async def test_notes_of_a_log_that_cannot_be_cleared_are_not_taken_for_new_messages(tmp_path: Path) -> None:
    storage = MemoryStorage()
    log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
    log.open()
    log.clear()
    log.note(HandledNote(INBOX, BOB, 0, 0, 10**9 + 1, 10**9 + 5))
    log.close()
    noted = (tmp_path / "log").read_bytes()
    for seq in (1, 2):
        (tmp_path / "log").write_bytes(noted)
        log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
        async with keeping(storage, log=log, now=1000.0) as keeper:
            keeper.keep(message(seq))
            assert len(await keeper.list()) == seq


# Damage.


async def test_a_page_of_damaged_rows_hides_none_behind_it(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS", 2)
    async with keeping(store()) as keeper:
        keeper.keep(*(message(seq) for seq in range(1, 5)))
        await keeper.saved()
        keys = await keeper.storage.keys(HELD)
        await keeper.storage.write([(key, b"\xc1") for key in keys[:3]])
        for _ in range(2):
            assert [held.seq for _, held in await keeper.inbox.page(HELD)] == [4]
        assert [type(error) for error in keeper.errors] == [StorageCorrupt] * 3, "told once each"
        assert (keeper.inbox.count, keeper.inbox._bytes) == (1, SIZE)
        await keeper.saved()
        assert await keeper.storage.keys(b"quarantine/") == [b"quarantine/" + key for key in keys[:3]]
        assert await keeper.storage.keys(HELD) == keys[3:]


async def test_a_large_message_is_read_alone(keeper: Keeper) -> None:
    keeper.keep(message(1, payload=bytes(600_000)), message(2, payload=bytes(600_000)), message(3))
    await keeper.saved()
    page = await keeper.inbox.page(HELD)
    assert [held.seq for _, held in page] == [1]
    assert [held.seq for _, held in await keeper.inbox.page(HELD, page[-1][0].encoded)] == [2, 3]


@pytest.mark.parametrize(
    "damaged",
    [
        HELD + b"short",
        message(1).key(2**64 - 1).encoded,
        HELD + BOB.encode() + b"0ms\0chat\0" + bytes(24),
        FAILED + b"\xff" * 44 + b"/ms\0chat\0" + bytes(24),
        HELD + BOB.encode() + b"/ms\0chat\0" + bytes(16) + b"\xff" * 8,
    ],
)
async def test_a_damaged_key_is_put_aside_at_the_start(store: Callable[[], Storage], damaged: bytes) -> None:
    async with store() as storage:
        await storage.put(damaged, b"value")
    async with keeping(store()) as keeper:
        assert [type(error) for error in keeper.errors] == [StorageCorrupt]
        assert await keeper.storage.get(b"quarantine/" + damaged) == b"value"
        keeper.keep(message(1))
        assert [entry.id for entry in await keeper.list()] == [f"7.2.1@{BOB}"]
        assert keeper.inbox.count == 1


@pytest.mark.parametrize("number", [1, 2])
async def test_a_damaged_index_ends_no_reader_in_a_circle(
    store: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1), message(2))
        await keeper.saved()
        keys, read = keeper.storage.keys, keeper.storage.page
        monkeypatch.setattr(keeper.storage, "keys", lambda prefix, start=b"", limit=0: keys(prefix, b"", number))
        monkeypatch.setattr(keeper.storage, "page", lambda prefix, start, limit, size: read(prefix, b"", number, size))
        assert len(await keeper.list()) == number
        assert [key async for key in keeper.inbox._keys(HELD)][:number] == await keys(HELD, b"", number)
        assert {str(error) for error in keeper.errors} == {str(module.OUT_OF_ORDER)}


async def test_a_row_that_is_damaged_after_it_was_handled_is_forgotten(
    store: Callable[[], Storage], tmp_path: Path
) -> None:
    async with keeping(store()) as keeper:
        keeper.keep(message(1), message(2))
        keys = [key for key, _ in await page(keeper)]
        await keeper.storage.put(keys[0].encoded, b"\xc1")
        keeper.inbox.fail(*(await keeper.inbox.page(HELD, keys[0].encoded))[0], "x", (End.FAILED, "x"))
        await keeper.saved()
        keeper.inbox.wait_again(*await first(keeper, FAILED))
        await keeper.saved()
        told = await first(keeper)
    log = HandledLog(tmp_path / "log", lambda error: pytest.fail(str(error)))
    log.open()
    log.clear()
    for key in (keys[0], told[0]):
        log.note(HandledNote(INBOX, BOB, 0, 0, key.number, key.number))
    log.close()
    async with keeping(store(), log=log) as keeper:
        assert (await keeper.list(), keeper.told, keeper.errors) == ([], [], [])


async def page(keeper: Keeper) -> list[tuple[InboxKey, InboxMessage]]:
    await keeper.saved()
    return await keeper.inbox.page(HELD)
