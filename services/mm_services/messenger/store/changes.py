"""Puts what changes in a store on the disk: notes at the end of the turn of the loop, then the files that are to go."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from mm_services.messenger.store.disk_thread import DiskThread
from mm_services.messenger.store.entry import Note
from mm_services.messenger.store.files import BundleFiles, NewFile
from mm_services.messenger.store.journal import Journal
from mmplatform.storage.failures import storage_error

SYNC: Final = 1.0  # seconds after which notes are on the disk


class Changes:
    """What is not on the disk yet.

    A file goes after the note that says so: a kill in between leaves the file, and the next start removes it.

    Args:
        journal: takes the notes.
        files: what is removed.
        thread: removes it.
        failed: is told what could not be done.

    """

    def __init__(
        self, journal: Journal, files: BundleFiles, thread: DiskThread[NewFile], failed: Callable[[Exception], None]
    ) -> None:
        self._journal, self._files, self._thread, self._failed = journal, files, thread, failed
        self._loop: Final = asyncio.get_running_loop()
        self._notes: list[Note] = []
        self._removed: set[bytes] = set()
        self._flushing: asyncio.Handle | None = None
        self._syncing: asyncio.TimerHandle | None = None

    def note(self, *notes: Note) -> None:
        """Have the journal note something."""
        self._notes += notes
        self._wake()

    def remove(self, bundle: bytes) -> None:
        """Have all files of a bundle removed."""
        self._removed.add(bundle)
        self._wake()

    def settle(self, bundle: bytes) -> None:
        """Have the thread asked first to remove what is to go of a bundle that is about to come again."""
        if bundle in self._removed:
            self._flush()

    def call(self, job: Callable[[], None]) -> None:
        """Have the thread do something that nobody waits for."""
        self._thread.call(job).add_done_callback(self._look)

    async def close(self) -> None:
        """Have everything on the disk, and close the journal."""
        self._flush()
        if self._syncing is not None:
            self._syncing.cancel()
        last = self._thread.call(self._journal.close)
        last.add_done_callback(self._look)
        await asyncio.wait([last])

    def _wake(self) -> None:
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        notes, removed, self._notes, self._removed = self._notes, self._removed, [], set()
        if notes or self._journal.has_more:
            self._append(notes)
        if removed:
            self.call(partial(self._files.remove, removed))

    def _append(self, notes: list[Note]) -> None:
        was_behind = self._journal.behind
        try:
            self._journal.append(notes)
        except OSError as error:
            if not was_behind:  # told once
                self._failed(storage_error(error, self._files.folder))
        if self._journal.has_more:
            self._wake()
        elif self._journal.is_due():
            self.call(self._journal.replace)
        if self._syncing is None:
            self._syncing = self._loop.call_later(SYNC, self._sync)

    def _sync(self) -> None:
        self._syncing = None
        if self._journal.behind:
            self._append([])
        else:
            self.call(self._journal.sync)

    def _look(self, done: asyncio.Future[Any]) -> None:
        failure = None if done.cancelled() else done.exception()
        if isinstance(failure, Exception):
            self._failed(failure)
