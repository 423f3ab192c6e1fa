"""An outbox on each storage; what a test leaves behind is collected before the next."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage
from tests.support.disks import small_disk
from tests.support.outbox import Node, running

__all__ = ["node", "nothing_left_over", "small_disk", "store"]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "data.db")
    memory = MemoryStorage()
    return lambda: memory


@pytest.fixture
async def node(store: Callable[[], Storage]) -> AsyncIterator[Node]:
    async with running(store()) as node:
        yield node


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    yield
    gc.collect()
