"""A thread that works on the disk: all that is asked of it while it works is its next batch."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from mmplatform.storage.failures import storage_error

T = TypeVar("T")
Item = TypeVar("Item")
Call = tuple[Callable[[], Any], asyncio.Future[Any]]


class DiskThread(Generic[Item]):
    """Does what it is asked for in order; of a batch, calls first.

    Args:
        path: what errors name.
        save: saves many items together; returns what failed of each.

    """

    def __init__(self, path: Path, save: Callable[[Sequence[Item]], list[OSError | None]]) -> None:
        self._path, self._save = path, save
        self._loop: Final = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, "mm-messenger")
        self._items: list[tuple[Item, asyncio.Future[None]]] = []
        self._calls: list[Call] = []
        self._idle = True

    def save(self, item: Item) -> asyncio.Future[None]:
        """Save an item, together with what else is to be saved. Raises StorageError."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._items.append((item, future))
        self._wake()
        return future

    def call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Call ``job``. Raises what it raises, StorageError for OSError."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.append((job, future))
        self._wake()
        return future

    async def close(self) -> None:
        """End once everything is done that was asked for."""
        await self.call(lambda: None)
        self.end()

    def end(self) -> None:
        """Take nothing any more."""
        self._executor.shutdown(wait=False)

    def _wake(self) -> None:
        if self._idle:
            self._idle = False
            self._loop.call_soon(self._send)  # with all that is asked for in this turn

    def _send(self) -> None:
        if not (self._items or self._calls):
            self._idle = True
            return
        calls, items, self._calls, self._items = self._calls, self._items, [], []
        work = self._loop.run_in_executor(
            self._executor, self._work, [job for job, _ in calls], [item for item, _ in items]
        )
        work.add_done_callback(lambda done: self._answer([*calls, *items], done.result()))

    def _work(self, jobs: list[Callable[[], Any]], items: list[Item]) -> list[Any]:
        outcomes = [self._outcome(job) for job in jobs]
        if items:
            saved = self._outcome(lambda: self._save(items))
            each = saved if isinstance(saved, list) else [saved] * len(items)
            outcomes += [storage_error(one, self._path) if isinstance(one, OSError) else one for one in each]
        return outcomes

    def _outcome(self, job: Callable[[], Any]) -> Any:
        try:
            return job()
        except OSError as error:
            return storage_error(error, self._path)
        except Exception as error:
            return error

    def _answer(self, asked: Sequence[tuple[object, asyncio.Future[Any]]], outcomes: list[Any]) -> None:
        for (_, future), outcome in zip(asked, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._loop.call_soon(self._send)  # whoever is woken now joins the next batch
