"""A storage whose writes fail, as on a full disk, as long as a test wants it."""

import asyncio
from collections.abc import Sequence

from mmplatform.errors import StorageFull
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage


class FailingStorage(MemoryStorage):
    """Rows in memory; while ``full`` is set, a write fails a turn of the loop later, as with a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        if not self.full:
            return super().write(rows, sync=sync)
        loop = self._running_loop()
        written: asyncio.Future[None] = loop.create_future()
        loop.call_soon(lambda: written.done() or written.set_exception(StorageFull("the disk is full")))
        return written
