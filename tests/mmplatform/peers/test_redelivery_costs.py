"""What it takes to hand over very many messages: rows, transactions, notes; and what waits for the disk meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from mmplatform.delivery.receipts import Entry
from mmplatform.durable import handled
from mmplatform.durable.handled_log import ENTRIES, INBOX, LOGGED, HandledLog, HandledNote
from mmplatform.durable.inbox_rows import HELD
from mmplatform.messaging.results import DONE, Result
from mmplatform.peers.pace import SLICE
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.inbox import Desk, at_desk, message
from tests.support.outbox import until

COUNT = 1000
OF_A_SLICE = 8  # messages for which a slice has time


class Log(HandledLog):
    """Keeps what it is told, in place of a file."""

    def __init__(self) -> None:
        super().__init__(Path("never"), lambda error: None)
        self.notes: list[HandledNote] = []

    def open(self) -> list[HandledNote]:
        return []

    def note(self, note: HandledNote) -> None:
        self.notes.append(note)

    @property
    def noted(self) -> int:
        return sum(len(note.numbers) for note in self.notes if note.kind == INBOX)


class Disk(MemoryStorage):
    """Counts deletions of held messages by the write they are in; writes end only while it is ``quick``."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[int] = []
        self.quick = True
        self._slow: list[asyncio.Future[None]] = []

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        done = super().write(rows, sync=sync)
        gone = sum(value is None and key.startswith(HELD) for key, value in rows)
        if gone:
            self.deleted.append(gone)
        if self.quick or not gone:
            return done
        self._slow.append(asyncio.get_running_loop().create_future())
        return self._slow[-1]

    def go_on(self) -> None:
        """Let all writes end, also those that come."""
        self.quick, slow, self._slow = True, self._slow, []
        for future in slow:
            future.set_result(None)


class Clock:
    """The time of the loop: real, and what the handlers of held messages are said to take on top."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, self._passed = asyncio.get_running_loop(), 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._passed)
        desk.program.answer = self.take

    def take(self, payload: bytes) -> Result:
        self._passed += SLICE / OF_A_SLICE
        return DONE


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def desk(disk: Disk, log: Log) -> AsyncIterator[Desk]:
    async with at_desk(disk, log=log) as desk:
        desk.keep(*(message(n, payload=b"%d" % n) for n in range(1, COUNT + 1)))
        await desk.saved()
        yield desk
        disk.go_on()


async def test_very_many_messages_end_in_few_transactions(
    desk: Desk, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(desk, monkeypatch)
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    await desk.saved()
    assert sum(disk.deleted) == COUNT
    assert len(disk.deleted) <= COUNT // (5 * OF_A_SLICE), "more than a hundred, if each turn of the loop had its own"


async def test_neighbours_are_told_and_noted_as_ranges(desk: Desk, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(desk, monkeypatch)
    told: list[Entry] = []
    amended: list[Entry] = []
    monkeypatch.setattr(desk.inbox, "_receipt", lambda peer, ends: told.extend(ends))
    monkeypatch.setattr(desk.handled, "amend", lambda peer, ended: amended.append(ended))
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    await desk.saved()
    ranges = 3 * COUNT // 4  # a range a slice, and what pages, a busy machine and chance cut; never one a message
    assert max(len(told), len(amended), len(log.notes)) <= ranges
    assert [low for _, _, low, _, _, _ in told[1:]] == [high + 1 for _, _, _, high, _, _ in told[:-1]]
    assert (told[0][2], told[-1][3], log.noted) == (1, COUNT, COUNT)


async def test_a_kill_at_any_moment_would_repeat_no_more_than_a_note_names(desk: Desk, log: Log) -> None:
    behind: list[int] = []

    def take(payload: bytes) -> Result:
        behind.append(int(payload) - log.noted)
        return DONE

    desk.program.answer = take
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    assert len(behind) == COUNT
    assert max(behind) <= LOGGED
    assert log.noted == COUNT


async def test_numbers_that_are_no_neighbours_are_noted_each(desk: Desk, log: Log) -> None:
    """The messages of two topics that came in turns."""
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    log.notes.clear()
    desk.listen()
    desk.keep(*(message(n, "even" if n % 2 == 0 else "odd") for n in range(2001, 2021)))
    await desk.saved()
    numbers = sorted([key.number for key, _ in await desk.inbox.page(HELD)])
    desk.listen("even", "odd")
    await until(lambda: not desk.inbox.topics)
    assert sorted([number for note in log.notes for number in note.numbers]) == numbers


async def test_a_slow_disk_holds_the_hand_over_up(desk: Desk, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handled and not saved is known by the log of what is handled only, which has room for so much."""
    monkeypatch.setattr(handled, "UNSAVED", 200)
    Clock(desk, monkeypatch)
    disk.quick = False
    desk.listen("chat")
    await until(lambda: desk.handled._news is not None)
    assert 200 <= len(desk.program.given) <= 200 + LOGGED + OF_A_SLICE
    disk.go_on()
    await until(lambda: not desk.inbox.topics)
    assert desk.program.payloads == [b"%d" % n for n in range(1, COUNT + 1)]


async def test_the_loop_goes_round_when_a_slice_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(desk, monkeypatch)
    seen: list[int] = []

    async def count_turns() -> None:
        while True:
            seen.append(len(desk.program.given))
            await asyncio.sleep(0)

    turning = asyncio.create_task(count_turns())
    desk.listen("chat")
    await until(lambda: not desk.inbox.topics)
    turning.cancel()
    assert max(b - a for a, b in pairwise(seen)) <= 2 * OF_A_SLICE


def test_the_log_has_room_for_all_that_is_not_saved() -> None:
    assert 2 * handled.UNSAVED <= ENTRIES, "a note a message at worst, and others beside them"
