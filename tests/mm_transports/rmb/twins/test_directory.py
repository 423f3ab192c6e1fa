"""The directory of one node: first come holds a number, its account alone may change it, and nobody fills it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_transports.rmb.protocol.twin_record import LONGEST
from mm_transports.rmb.twins.directory import HELD, PER_PUBLISHER, SWEEP, TwinDirectory
from mmplatform.errors import InvalidRecord, StorageError
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.failing import FailingStorage
from tests.support.rmb_values import NOW
from tests.support.twins import keys_of, record_of

PUBLISHER = b"p" * 32


class Clock:
    time = float(NOW)

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    async with MemoryStorage() as opened:
        yield opened


@pytest.fixture
async def directory(storage: Storage, clock: Clock) -> TwinDirectory:
    return await opened(storage, clock)


async def opened(storage: Storage, clock: Clock, most: int = 64) -> TwinDirectory:
    made = TwinDirectory(storage, clock.now, pytest.fail, most)
    await made.open()
    return made


async def test_found_by_number_and_by_account(directory: TwinDirectory) -> None:
    record = record_of(30)
    await directory.publish(record.data)
    assert await directory.read(30) == await directory.read(record.twin.account) == record.data
    assert await directory.read(31) is None
    assert await directory.read(b"") is None
    assert await directory.read(-1) is None
    assert directory.records() == [record]
    assert len(directory) == 1


@pytest.mark.parametrize("first", [1, 2], ids=["ed25519", "sr25519"])
async def test_first_come_holds_a_number_and_its_account_alone_may_change_it(
    directory: TwinDirectory, first: int
) -> None:
    await directory.publish(record_of(30, keys=keys_of(first)).data)
    with pytest.raises(InvalidRecord, match=r"^taken: another account holds the number 30"):
        await directory.publish(record_of(30, seq=99, keys=keys_of(3 - first)).data)
    newer = record_of(30, seq=2, keys=keys_of(first))
    await directory.publish(newer.data)
    assert await directory.read(30) == newer.data


async def test_an_older_record_does_not_come_back(directory: TwinDirectory) -> None:
    old, new = record_of(30, seq=1), record_of(30, seq=2)
    await directory.publish(new.data)
    await directory.publish(new.data)  # the same one, once more
    for one in (old, record_of(30, seq=2, expires=NOW + 9)):
        with pytest.raises(InvalidRecord, match=r"^older: there is one with the seq 2"):
            await directory.publish(one.data)
    assert await directory.read(30) == new.data


async def test_an_account_holds_one_number(directory: TwinDirectory) -> None:
    await directory.publish(record_of(30).data)
    with pytest.raises(InvalidRecord, match=r"^second: this account holds the number 30"):
        await directory.publish(record_of(31, keys=keys_of(30)).data)


async def test_what_proves_nothing_is_refused(directory: TwinDirectory) -> None:
    good = record_of(30).data
    for data, reason in (
        (b"", "malformed"),
        (good[:-1] + bytes([good[-1] ^ 1]), "signature"),
        (record_of(30, expires=NOW).data, "expired"),
        (record_of(30, expires=NOW + LONGEST + 1).data, "expires"),
        (bytes(2000), "size"),
    ):
        with pytest.raises(InvalidRecord, match=f"^{reason}: "):
            await directory.publish(data)
    assert len(directory) == 0


async def test_a_number_outlives_its_record_for_its_account(directory: TwinDirectory, clock: Clock) -> None:
    await directory.publish(record_of(30).data)
    clock.time = NOW + 3600
    assert await directory.read(30) is None
    assert directory.records() == []
    clock.time = NOW + 3600 + HELD - 1
    late = record_of(30, seq=9, expires=int(clock.time) + 60, keys=keys_of(7))
    with pytest.raises(InvalidRecord, match=r"^taken: "):
        await directory.publish(late.data)
    clock.time += 1
    await directory.publish(late.data)  # it is free again
    assert await directory.read(30) == late.data
    assert await directory.read(keys_of(30).account) is None


async def test_nobody_fills_it(storage: Storage, clock: Clock) -> None:
    directory = await opened(storage, clock, most=PER_PUBLISHER + 2)
    for number in range(1, PER_PUBLISHER + 1):
        await directory.publish(record_of(number).data, PUBLISHER)
    with pytest.raises(InvalidRecord, match=r"^quota: you brought 16 twins"):
        await directory.publish(record_of(100).data, PUBLISHER)
    await directory.publish(record_of(1, seq=2).data, PUBLISHER)  # a newer one needs no other place
    await directory.publish(record_of(100).data, b"q" * 32)
    await directory.publish(record_of(101).data)
    with pytest.raises(InvalidRecord, match=r"^full: there are 18 twins"):
        await directory.publish(record_of(102).data)
    clock.time += 3600 + HELD + SWEEP
    await directory.publish(record_of(102, expires=int(clock.time) + 60).data, PUBLISHER)
    assert len(directory) == 1
    assert len(await storage.scan(b"")) == 1


async def test_a_newer_record_is_charged_to_who_brought_the_first(directory: TwinDirectory) -> None:
    await directory.publish(record_of(1).data, PUBLISHER)
    await directory.publish(record_of(1, seq=2).data, b"q" * 32)
    for number in range(2, PER_PUBLISHER + 1):
        await directory.publish(record_of(number).data, PUBLISHER)
    with pytest.raises(InvalidRecord, match=r"^quota: "):
        await directory.publish(record_of(100).data, PUBLISHER)


async def test_all_is_as_it_was_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with SQLiteStorage(tmp_path / "rows.db") as rows:
        directory = await opened(rows, clock)
        for number in range(1, 60):
            await directory.publish(record_of(number).data, number.to_bytes(32))
    async with SQLiteStorage(tmp_path / "rows.db") as rows:
        directory = await opened(rows, clock)
        assert [record.twin.number for record in directory.records()] == list(range(1, 60))
        with pytest.raises(InvalidRecord, match=r"^taken: "):
            await directory.publish(record_of(30, seq=9, keys=keys_of(7000)).data)
        with pytest.raises(InvalidRecord, match=r"^second: "):
            await directory.publish(record_of(7000, keys=keys_of(30)).data)


async def test_damaged_rows_are_told_and_left_out(storage: Storage, clock: Clock) -> None:
    directory = await opened(storage, clock)
    await directory.publish(record_of(1).data)
    [(_, row)] = await storage.scan(b"")
    await storage.write([((2).to_bytes(4), row), ((3).to_bytes(4), b"\xc1"), ((4).to_bytes(4), row[:-40] + bytes(40))])
    told: list[Exception] = []
    again = TwinDirectory(storage, clock.now, told.append)
    await again.open()
    assert [record.twin.number for record in again.records()] == [1]
    assert len(told) == 2


async def test_what_could_not_be_saved_is_not_held(clock: Clock) -> None:
    async with FailingStorage() as rows:
        directory = await opened(rows, clock)
        rows.full = True
        with pytest.raises(StorageError):
            await directory.publish(record_of(30).data)
        assert await directory.read(30) is None
        rows.full = False
        first = record_of(30, keys=keys_of(7)).data
        await directory.publish(first)
        rows.full = True
        with pytest.raises(StorageError):
            await directory.publish(record_of(30, seq=2, keys=keys_of(7)).data)
        assert await directory.read(30) == first


async def test_of_two_that_come_at_once_one_holds_the_number(directory: TwinDirectory) -> None:
    records = [record_of(30, keys=keys_of(number)).data for number in (7, 9, 11)]
    came = await asyncio.gather(*map(directory.publish, records), return_exceptions=True)
    assert [isinstance(one, InvalidRecord) for one in came] == [False, True, True]
    assert await directory.read(30) == records[0]
