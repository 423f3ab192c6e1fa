"""A value counts at once; one that could not be saved goes back to what is on disk, whatever else is under way."""

import asyncio

import pytest

from mmplatform.errors import StorageFull
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.reverting import Reverting
from tests.support.failing import FailingStorage
from tests.support.waiting import until


class Value:
    """A number that is saved with each change."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.now = 0
        self._changes = Reverting[str, int](storage, self._revert)

    def set(self, number: int) -> asyncio.Future[None]:
        written = self._changes.write("value", (b"value", str(number).encode()), self.now, number)
        self.now = number
        return written

    def _revert(self, key: str, number: int) -> None:
        self.now = number


@pytest.fixture
async def storage() -> FailingStorage:
    storage = FailingStorage()
    await storage.open()
    return storage


async def test_what_is_saved_stays(storage: FailingStorage) -> None:
    value = Value(storage)
    await value.set(1)
    assert (value.now, await storage.get(b"value")) == (1, b"1")


async def test_what_is_not_saved_goes_back(storage: FailingStorage) -> None:
    value = Value(storage)
    await value.set(1)
    storage.full = True
    with pytest.raises(StorageFull):
        await value.set(2)
    assert value.now == 1


async def test_two_that_are_not_saved_go_back_to_what_is(storage: FailingStorage) -> None:
    value = Value(storage)
    storage.full = True
    both = [value.set(1), value.set(2)]
    assert value.now == 2
    await asyncio.gather(*both, return_exceptions=True)
    assert value.now == 0


async def test_a_later_change_that_is_saved_stays(storage: FailingStorage) -> None:
    value = Value(storage)
    storage.full = True
    first = value.set(1)
    storage.full = False
    await value.set(2)
    await asyncio.gather(first, return_exceptions=True)
    assert (value.now, await storage.get(b"value")) == (2, b"2")


async def test_who_waits_no_longer_changes_nothing(storage: FailingStorage) -> None:
    value = Value(storage)
    storage.full = True

    async def change() -> None:
        await asyncio.shield(value.set(1))

    waiting = asyncio.create_task(change())
    await asyncio.sleep(0)
    assert value.now == 1
    waiting.cancel()
    await until(lambda: value.now == 0)


async def test_a_storage_that_is_closed_changes_nothing(storage: FailingStorage) -> None:
    value = Value(storage)
    await storage.close()
    with pytest.raises(Exception, match="not open"):
        value.set(1)
    assert value.now == 0
