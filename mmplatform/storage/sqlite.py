"""Keeps rows in one SQLite file, written by a thread of its own in grouped transactions.

The loop side collects all calls of one loop turn, and all that come while the thread is busy, into
one batch; the thread commits the batch as one transaction and answers all of it with one ``call_soon_threadsafe``.
:mod:`mmplatform.storage.database` has the file side.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from mmplatform.errors import StorageError
from mmplatform.home import Home
from mmplatform.storage.contract import Row, Storage, check_rows
from mmplatform.storage.database import GET, KEYS, RANGE, SCAN, SIZES, TO_END, Database, Found

IDLE: Final = 1.0  # seconds without work after which free pages are given back to the disk
BETWEEN_STEPS: Final = 0.02

T = TypeVar("T")

Outcome = Found | StorageError | None


class SQLiteStorage(Storage):
    """The storage contract on a file in WAL mode. The folder must exist; the file is made with mode 0600.

    ``room`` bytes of the disk are kept for what frees space when the disk is full.
    """

    def __init__(self, path: str | PathLike[str], room: int = 0) -> None:
        self.path, self._room = Path(path), room
        self._worker: _Worker | None = None
        self._closing: _Worker | None = None
        self._batch = _Batch()
        self._busy = False

    async def open(self) -> None:
        if self._worker is not None:
            return
        await self.close()
        worker = self._worker = _Worker(Database(self.path, self._room), asyncio.get_running_loop(), self._finished)
        try:
            await asyncio.shield(worker.opened)
        except BaseException:
            worker.queue.put(None)
            self._closing, self._worker = worker, None  # close() waits for the end of this worker, too
            raise

    async def close(self) -> None:
        if self._worker is not None:
            if self._batch:
                self._worker.queue.put(self._take())
            self._worker.queue.put(None)
            self._closing, self._worker = self._worker, None
        if self._closing is not None:
            await asyncio.shield(self._closing.closed)
            self._closing.thread.join()

    async def get(self, key: bytes) -> bytes | None:
        found = await self._read(Database.read, GET, (key,))
        return found[0][1] if found else None

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        return await self._range(SCAN, prefix, start, limit)

    async def keys(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[bytes]:
        return [key for (key,) in await self._range(KEYS, prefix, start, limit)]

    async def sizes(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, int]]:
        return await self._range(SIZES, prefix, start, limit)

    async def page(self, prefix: bytes, start: bytes, limit: int, size: int) -> list[tuple[bytes, bytes]]:
        return await self._read(Database.page, *_span(prefix, start, limit), size)

    async def copy(self, to: Path) -> None:
        """Copy all rows of this moment into the file at ``to``; whoever reads or writes meanwhile waits."""
        await self._read(Database.copy, to)

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        worker = self._opened_worker()
        check_rows(rows)
        future: asyncio.Future[None] = worker.loop.create_future()
        self._schedule(worker)
        self._batch.rows.update(rows)
        self._batch.sync = self._batch.sync or sync
        self._batch.writers.append(future)
        return future

    def _range(self, selected: str, prefix: bytes, start: bytes, limit: int) -> asyncio.Future[Found]:
        span, arguments = _span(prefix, start, limit)
        return self._read(Database.read, f"{selected} {span}", arguments)

    def _read(self, method: Callable[..., Found], *arguments: object) -> asyncio.Future[Found]:
        worker = self._opened_worker()
        future: asyncio.Future[Found] = worker.loop.create_future()
        self._schedule(worker)
        self._batch.reads.append((method, arguments, future))
        return future

    def _schedule(self, worker: "_Worker") -> None:
        """Send the batch one turn later; to be called before anything is added to it."""
        if not self._batch and not self._busy:
            worker.loop.call_soon(self._send, worker)

    def _send(self, worker: "_Worker") -> None:
        if self._batch and not self._busy and worker is self._worker:
            self._busy = True
            worker.queue.put(self._take())

    def _take(self) -> "_Batch":
        batch, self._batch = self._batch, _Batch()
        return batch

    def _finished(
        self, worker: "_Worker", batch: "_Batch", failure: StorageError | None, results: list[Outcome]
    ) -> None:
        """Answer a batch. Woken writers run before ``_send``, so their next writes still join the next batch."""
        for writer in batch.writers:
            _resolve(writer, failure)
        for (_, _, reader), result in zip(batch.reads, results, strict=True):
            _resolve(reader, result)
        self._busy = False
        if self._batch:
            worker.loop.call_soon(self._send, worker)

    def _opened_worker(self) -> "_Worker":
        if self._worker is None:
            raise StorageError(f"{self.path} is not open; open() it first, and use nothing after close()")
        self._worker.home.check()
        return self._worker


class _Batch:
    """The rows that one transaction writes, with the futures of their callers; reads run after the commit."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self.sync = False
        self.writers: list[asyncio.Future[None]] = []
        self.reads: list[tuple[Callable[..., Found], tuple[object, ...], asyncio.Future[Found]]] = []

    def __bool__(self) -> bool:
        return bool(self.writers or self.reads)


class _Worker:
    """The thread: opens the database, serves batches until None comes, closes the database."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop, finished: Callable[..., None]) -> None:
        self.loop, self.home = loop, Home()
        self.home.enter()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._database = database
        self._untidy = True  # whether there may be free pages in the file
        self._finished = finished
        self.thread = threading.Thread(target=self._run, name=f"mm-storage {database.path.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self._post(_resolve, self.opened, self._attempt(self._database.open))
        for batch in iter(self._next, None):
            failure = self._attempt(self._database.commit, batch.rows, batch.sync) if batch.rows else None
            results = [self._attempt(method, self._database, *arguments) for method, arguments, _ in batch.reads]
            self._post(self._finished, self, batch, failure, results)
            self._untidy = self._untidy or None in batch.rows.values()
            del batch, results  # not to be kept until the next one comes
        self._database.close()
        self._post(_resolve, self.closed, None)

    def _next(self) -> _Batch | None:
        """Return the next batch; while none comes, give back to the disk what deletions have left free."""
        pause = IDLE
        while self._untidy:
            with suppress(Empty):
                return self.queue.get(timeout=pause)
            self._untidy, pause = self._attempt(self._database.give_back) is True, BETWEEN_STEPS
        return self.queue.get()

    def _attempt(self, job: Callable[..., T], *arguments: object) -> T | StorageError:
        try:
            return job(*arguments)
        except StorageError as error:
            return error

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop was closed under an open storage: nobody is left to tell
            self.loop.call_soon_threadsafe(callback, *arguments)


def _resolve(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, StorageError):
        error = type(outcome)(*outcome.args)
        error.__cause__ = outcome.__cause__
        future.set_exception(error)
    else:
        future.set_result(outcome)


def _span(prefix: bytes, start: bytes, limit: int) -> tuple[str, tuple[bytes | int, ...]]:
    """Return what selects the rows of a scan, and what is to be put into it."""
    first, end, count = max(prefix, start), _after(prefix), limit if limit > 0 else -1
    return (TO_END, (first, count)) if end is None else (RANGE, (first, end, count))


def _after(prefix: bytes) -> bytes | None:
    """Return the lowest key above all keys that begin with ``prefix``, None when there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
