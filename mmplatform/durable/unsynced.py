"""Writes whose loss does no harm: deletions, gathered over one turn of the loop, and notes. None waits for the disk."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mmplatform.errors import StorageError
from mmplatform.storage.contract import Row, Storage

RETRY: Final = 1.0  # seconds until deletions that failed are tried again; twice as many each time
LONGEST_RETRY: Final = 10.0


class UnsyncedRows:
    """Rows of ``storage`` that are written without a sync. ``failed`` is told of a write that could not begin."""

    def __init__(self, storage: Storage, failed: Callable[[Exception], None]) -> None:
        self._storage, self._failed = storage, failed
        self._deletions: list[Row] = []
        self._scheduled: asyncio.Handle | None = None
        self._pause = RETRY
        self._closed = False

    @property
    def pending(self) -> bool:
        """Whether deletions wait for the end of this turn of the loop."""
        return bool(self._deletions)

    def put(self, row: Row) -> None:
        """Write one row now."""
        try:
            self._storage.write([row], sync=False).add_done_callback(retrieve)
        except StorageError as error:
            self._failed(error)

    def delete(self, key: bytes) -> None:
        """Delete one row at the end of this turn of the loop. A lost deletion costs a send that the peer recognises."""
        if not self._deletions:
            self._scheduled = asyncio.get_running_loop().call_soon(self.flush)
        self._deletions.append((key, None))

    def flush(self) -> None:
        """Write now the deletions that wait."""
        if self._scheduled is not None:
            self._scheduled.cancel()
        rows, self._deletions = self._deletions, []
        if not rows:
            return
        try:
            self._storage.write(rows, sync=False).add_done_callback(partial(self._deleted, rows))
        except StorageError as error:
            self._failed(error)

    def close(self) -> None:
        """Write what waits; what fails from now on is not tried again."""
        self._closed = True
        self.flush()

    def _deleted(self, rows: list[Row], done: asyncio.Future[None]) -> None:
        """Try deletions that failed, as on a full disk, again after a while: perhaps nothing else will be deleted."""
        if not done.cancelled() and done.exception() is None:
            self._pause = RETRY
        elif not self._closed:
            if self._scheduled is not None:
                self._scheduled.cancel()
            self._deletions[:0] = rows
            self._scheduled = asyncio.get_running_loop().call_later(self._pause, self.flush)
            self._pause = min(2 * self._pause, LONGEST_RETRY)


def retrieve(done: asyncio.Future[None]) -> None:
    """Take note of the exception, so that asyncio does not report it as never seen."""
    if not done.cancelled():
        done.exception()


async def all_done(writes: Sequence[asyncio.Future[None]]) -> None:
    """Wait for all of ``writes``; raises what the first of them does that fails."""
    try:
        for written in writes:
            await written
    except BaseException:
        for written in writes:
            written.add_done_callback(retrieve)
        raise
