"""The thread for the disk: one batch at a time, each answered, whatever fails."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from mm_services.messenger.store.disk_thread import DiskThread
from mmplatform.errors import StorageFull


class Saver:
    """Saves numbers: those above 9 do not fit, and 13 breaks it all."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[OSError | None]:
        self.batches.append(list(items))
        if 13 in items:
            raise OSError(errno.ENOSPC, "everything")
        return [OSError(errno.ENOSPC, "one") if item > 9 else None for item in items]


@pytest.fixture
async def saver() -> Saver:
    return Saver()


@pytest.fixture
async def disk(saver: Saver, tmp_path: Path) -> AsyncIterator[DiskThread[int]]:
    thread = DiskThread(tmp_path, saver)
    yield thread
    await thread.close()


async def test_what_is_asked_in_one_turn_and_while_it_works_is_a_batch(saver: Saver, disk: DiskThread[int]) -> None:
    go = threading.Event()
    first = [disk.save(number) for number in range(3)]
    stuck = disk.call(go.wait)
    await asyncio.sleep(0)
    later = [disk.save(number) for number in range(3, 6)]
    await asyncio.sleep(0)
    later += [disk.save(number) for number in range(6, 9)]
    go.set()
    await asyncio.gather(*first, *later, stuck)
    assert saver.batches == [[0, 1, 2], [3, 4, 5, 6, 7, 8]]


async def test_whoever_is_answered_joins_the_next_batch(saver: Saver, disk: DiskThread[int]) -> None:
    async def again(number: int) -> None:
        for step in range(3):
            await disk.save(number + step)

    await asyncio.gather(*(again(number) for number in range(5)))
    assert [len(batch) for batch in saver.batches] == [5, 5, 5]


async def test_each_is_told_its_own_failure(saver: Saver, disk: DiskThread[int], tmp_path: Path) -> None:
    found = await asyncio.gather(disk.save(1), disk.save(10), disk.save(2), return_exceptions=True)
    assert found[0] is None is found[2]
    assert isinstance(found[1], StorageFull)
    assert str(tmp_path) in str(found[1])
    found = await asyncio.gather(disk.save(1), disk.save(13), return_exceptions=True)
    assert [type(each) for each in found] == [StorageFull] * 2
    with pytest.raises(ZeroDivisionError):
        await disk.call(lambda: 1 // 0)
    assert await disk.call(lambda: 7) == 7


async def test_who_gives_up_waiting_is_left_alone(saver: Saver, disk: DiskThread[int]) -> None:
    futures = [disk.save(1), disk.call(lambda: 1 // 0), disk.save(2)]
    for future in futures[:2]:
        future.cancel()
    await futures[2]
    assert saver.batches == [[1, 2]]


async def test_calls_come_before_what_is_saved_and_in_order(saver: Saver, disk: DiskThread[int]) -> None:
    order: list[object] = []
    disk.save(1)
    for number in range(3):
        disk.call(lambda number=number: order.append((number, len(saver.batches))))  # type: ignore[misc]
    await disk.call(lambda: None)
    assert order == [(0, 0), (1, 0), (2, 0)]
    assert saver.batches == [[1]]
