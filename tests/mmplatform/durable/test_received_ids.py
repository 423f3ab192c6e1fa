"""The ids that recipients keep: ranges on disk that always say what a plain set would say."""

from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.codec import encode
from mmplatform.durable import received_ids as module
from mmplatform.durable.received_ids import OVERDUE_MS, PREFIX, Place, ReceivedIds
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.message import DELIVERED, Outcome
from mmplatform.storage.contract import Row, Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.outbox import BOB, CAROL

PLACE: Place = (BOB, 2, 7)
FAILED = Outcome("failed", "no")


@pytest.fixture
async def ids(store: Callable[[], Storage]) -> AsyncIterator[ReceivedIds]:
    async with store() as storage:
        yield ReceivedIds(storage, UnsyncedRows(storage, lambda error: pytest.fail(str(error))))


async def restored(ids: ReceivedIds) -> ReceivedIds:
    again = ReceivedIds(ids._storage, ids._unsynced)
    await again.restore()
    return again


class Rows(UnsyncedRows):
    """Takes rows down at once."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def put(self, row: Row) -> None:
        key, value = row
        if value is None:
            del self.rows[key]
        else:
            self.rows[key] = value


ranges = st.tuples(st.booleans(), st.integers(1, 30), st.integers(0, 8), st.integers(1, 5))


@given(st.lists(ranges, max_size=40))
def test_ranges_say_what_a_set_says(done: list[tuple[bool, int, int, int]]) -> None:
    rows = Rows()
    ids, model = ReceivedIds(MemoryStorage(), rows), dict[int, int]()
    for added, low, more, until in done:
        numbers = set(range(low, low + more + 1))
        if added and numbers & model.keys():
            continue  # a message is acknowledged as kept once
        if added:
            assert ids.add(PLACE, low, low + more, until) == []
            model |= dict.fromkeys(numbers, until)
        else:
            ended = ids.end(PLACE, low, low + more)
            assert [n for first, last in ended for n in range(first, last + 1)] == sorted(numbers & model.keys())
            model = {number: until for number, until in model.items() if number not in numbers}
        assert [number for number in range(50) if ids.holds(PLACE, number)] == sorted(model)
        assert ids.count(BOB) == ids.count() == len(model)
        on_disk = [(int.from_bytes(key[-8:]), module._kept.decode(value).high) for key, value in rows.rows.items()]
        assert [n for low, high in sorted(on_disk) for n in range(low, high + 1)] == sorted(model)
        overdue = {n for _, low, high in ids.overdue(OVERDUE_MS + 3) for n in range(low, high + 1)}
        assert {n for n, until in model.items() if until > 3} & overdue == set(), "none before its time"
    assert ids.end(PLACE, 0, 2**53) == [(low, high) for _, low, high, _ in ids.listed()] or not ids._ranges
    assert ids._ranges == {}


async def test_a_restart_finds_what_was_kept(ids: ReceivedIds) -> None:
    ids.add(PLACE, 1, 9, 5)
    ids.add((CAROL, 0, 8), 4, 4, 6)
    ids.end(PLACE, 4, 5)
    again = await restored(ids)
    assert again.listed() == [(PLACE, 1, 3, 5), (PLACE, 6, 9, 5), ((CAROL, 0, 8), 4, 4, 6)]
    assert (again.count(BOB), again.count(CAROL), again.count()) == (7, 1, 8)
    assert again.end(PLACE, 2, 7) == [(2, 3), (6, 7)]
    assert (await restored(again)).listed(BOB) == [(PLACE, 1, 1, 5), (PLACE, 8, 9, 5)]


KEY = PREFIX + BOB.encode() + b"/\2" + (7).to_bytes(8) + (3).to_bytes(8)


@pytest.mark.parametrize(
    "row",
    [
        (PREFIX + b"short", encode([4, 5])),
        (KEY[:54] + b"\7" + KEY[55:], encode([4, 5])),
        (PREFIX + b"\xff" * 44 + KEY[53:], encode([4, 5])),
        (KEY, b"\xc1"),
        (KEY, encode([-1, 5])),
        (KEY, encode([2, 5])),
        (KEY, encode([4, 5]) + bytes(60)),
    ],
)
async def test_damaged_rows_are_forgotten(ids: ReceivedIds, row: tuple[bytes, bytes]) -> None:
    ids.add((CAROL, 2, 7), 1, 1, 5)
    await ids._storage.write([row])
    again = await restored(ids)
    assert again.listed() == [((CAROL, 2, 7), 1, 1, 5)]
    ids._unsynced.flush()
    assert await ids._storage.get(row[0]) is None


@given(st.binary(max_size=80), st.binary(max_size=20))
async def test_foreign_rows_stop_no_start(key: bytes, value: bytes) -> None:
    async with MemoryStorage() as storage:
        await storage.put(PREFIX + key, value)
        await ReceivedIds(storage, UnsyncedRows(storage, lambda error: None)).restore()


# Receipts that come before the acknowledgement they belong to.


async def test_what_is_told_early_is_given_with_what_it_is_about(ids: ReceivedIds) -> None:
    ids.told_early(PLACE, 3, 9, FAILED)
    ids.told_early((CAROL, 2, 7), 1, 9, DELIVERED)
    assert ids.add(PLACE, 1, 2, 5) == []
    assert ids.add(PLACE, 5, 6, 5) == [(5, 6, FAILED)]
    assert sorted(ids.add(PLACE, 3, 4, 5) + ids.add(PLACE, 7, 20, 5)) == [(3, 4, FAILED), (7, 9, FAILED)]
    assert ids._early == {CAROL: {((CAROL, 2, 7), 1, 9): DELIVERED}}


async def test_what_is_told_early_is_bounded(ids: ReceivedIds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EARLY_OF_PEER", 2)
    monkeypatch.setattr(module, "EARLY_PEERS", 2)
    for peer in (BOB, CAROL, "D" * 43 + "="):
        for number in (1, 3, 5):
            ids.told_early((peer, 2, 7), number, number, DELIVERED)
    assert {peer: len(early) for peer, early in ids._early.items()} == {BOB: 2, CAROL: 2}
