"""Reads the files of bundles, and puts aside those that prove damaged: they may come again then."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from mm_services.messenger.store.changes import Changes
from mm_services.messenger.store.disk_thread import DiskThread
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.files import BundleFiles, DamagedFile, NewFile
from mmplatform.errors import StorageCorrupt, StorageGone

LOOKED_AT: Final = 500  # files at a time

T = TypeVar("T")


class CheckedReader:
    """Has a thread of its own: who reads does not wait for what is written.

    Args:
        files: what is read.
        changes: have damaged files put aside.
        lose: takes a bundle out of the store; returns whether it was still there.
        failed: is told of what is damaged, or missing.

    """

    def __init__(
        self,
        files: BundleFiles,
        changes: Changes,
        lose: Callable[[BundleEntry], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self._files, self._changes, self._lose, self._failed = files, changes, lose, failed
        self._thread: DiskThread[NewFile] = DiskThread(files.folder, files.save)
        self._closed = False

    async def read(self, entry: BundleEntry, job: Callable[[BundleEntry], T]) -> T | None:
        """Return what ``job`` reads of a bundle, None when it is not there any more. Raises StorageError."""
        try:
            return await self._thread.call(partial(job, entry))
        except DamagedFile as error:
            self._put_aside([entry], str(error))
        except StorageGone as error:
            if self._lose(entry):
                self._failed(error)
        return None

    def look_at_sizes(self, entries: Iterator[BundleEntry]) -> None:
        """Have those of ``entries`` put aside, a few at a time, whose files do not have the size that was written."""

        def looked(done: asyncio.Future[list[BundleEntry]]) -> None:
            failure = done.exception()
            if isinstance(failure, Exception):
                self._failed(failure)
            else:
                self._put_aside(done.result(), "the size is wrong")
                self.look_at_sizes(entries)

        some = list(islice(entries, LOOKED_AT))
        if some and not self._closed:
            self._thread.call(partial(self._files.wrong_sizes, some)).add_done_callback(looked)

    async def close(self) -> None:
        """End when everything is read that was asked for."""
        self._closed = True
        await self._thread.close()

    def _put_aside(self, entries: Iterable[BundleEntry], why: str) -> None:
        damaged = [entry for entry in entries if self._lose(entry)]
        for entry in damaged:
            self._changes.call(partial(self._files.put_aside, entry.id))
        if damaged:
            self._failed(
                StorageCorrupt(
                    f"{self._files.folder}: {len(damaged)} bundles, as {damaged[0].id.hex()}, are damaged, and were "
                    f"put in aside/: {why}. Check the disk"
                )
            )
