"""Where lines are kept: in the history, a file that only grows and is read again by place; or in memory alone."""

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mmplatform.errors import StorageError
from mmplatform.storage.replacing import sync_names

MAX_FILE: Final = 32 * 1024 * 1024  # bytes; then the file becomes the old one, and the old one before it goes
MAX_RECORD: Final = 64 * 1024
READ: Final = 1024  # bytes: most records are shorter
CHUNK: Final = 1024 * 1024
MAX_LINES: Final = 100_000  # in memory
MAX_BYTES: Final = 32 * 1024 * 1024


class MemoryLines:
    """Keeps the latest records; places are -1, -2, and so on. ``last`` and ``size`` bound how many."""

    def __init__(self, last: int = MAX_LINES, size: int = MAX_BYTES) -> None:
        self._records: deque[bytes] = deque()
        self._gone, self._size = 0, 0
        self._most, self._most_bytes = last, size

    def append(self, data: bytes) -> int:
        """Keep a record; return its place."""
        self._records.append(data)
        self._size += len(data)
        while len(self._records) > self._most or self._size > self._most_bytes:
            self._size -= len(self._records.popleft())
            self._gone += 1
        return -(self._gone + len(self._records))

    def read(self, place: int) -> bytes | None:
        """Return the record at ``place``, None when it is not there any more."""
        number = -place - 1 - self._gone
        return self._records[number] if 0 <= number < len(self._records) else None


class HistoryFile:
    """The history of a node, and the old file that it continues. Places count from the beginning of the old one.

    What was appended survives a kill of the process at once, and a power cut after :meth:`saved`. One process has it
    open at a time: whoever holds the lock of the data folder.
    """

    def __init__(self, path: Path, most: int = MAX_FILE) -> None:
        self._path, self._most = path, most
        self._old_path = path.with_suffix(f".old{path.suffix}")
        self._old = self._file = -1
        self._old_base = self._base = 0  # places at which the files begin
        self.end = 0  # the place of the record that comes next
        self._torn = False  # whether the file may end within a line
        self._synced = 0
        self._syncing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Make the file if it is not there, for this user alone, and end a line that a kill has cut off.

        Raises StorageError.
        """
        try:
            with suppress(FileNotFoundError):
                self._old = _opened(self._old_path, os.O_RDONLY)
            self._begin(0 if self._old < 0 else os.fstat(self._old).st_size)
        except OSError as error:
            raise self._failed(error) from None

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Give what was kept, each record with its place. In a thread of its own, while nothing else is done here."""
        for file, base in ((self._old, self._old_base), (self._file, self._base)):
            if file >= 0:
                yield from _records(file, base)

    def append(self, data: bytes) -> int:
        """Keep a record; return its place. Raises StorageError when the disk has no room for it."""
        try:
            if self.end - self._base >= self._most:
                self._turn()
            if self._torn:
                self._close_line()
            place = self.end
            self._torn = True
            written = os.write(self._file, data)
            self.end += written
            if written == len(data):
                self._torn = False
                return place
            raise OSError("no room for a whole line")
        except OSError as error:
            raise self._failed(error) from None

    def read(self, place: int) -> bytes | None:
        """Return the record at ``place``, None when it is not there any more."""
        file, base = (self._file, self._base) if place >= self._base else (self._old, self._old_base)
        if file < 0 or place < base:
            return None
        data = os.pread(file, READ, place - base)
        if b"\n" not in data:
            data = os.pread(file, MAX_RECORD, place - base)
        line, end, _ = data.partition(b"\n")
        return line if end else None

    async def saved(self) -> None:
        """Wait until all that was appended is on the disk. Those who ask while it is being written share the next time.

        Raises StorageError.
        """
        wanted = self.end
        while self._synced < wanted:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)

    def close(self) -> None:
        """Close the files."""
        for file in {self._old, self._file} - {-1}:
            os.close(file)
        self._old = self._file = -1

    async def _sync(self) -> None:
        end = self.end
        try:
            await asyncio.to_thread(os.fsync, self._file)
            self._synced = end
        except OSError as error:
            raise self._failed(error) from None
        finally:
            self._syncing = None

    def _begin(self, base: int) -> None:
        self._file, self._base = _opened(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND), base
        self.end = base + os.fstat(self._file).st_size
        self._close_line()
        sync_names(self._path.parent)

    def _close_line(self) -> None:
        """End a line that was cut off: the next record begins on one of its own."""
        size = self.end - self._base
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self.end += os.write(self._file, b"\n")
        self._torn = False

    def _turn(self) -> None:
        """Begin a new file: the one so far is the old one from now on."""
        os.fsync(self._file)
        with suppress(FileNotFoundError):  # it was moved before, and there was no room for a new one
            self._path.replace(self._old_path)
        if self._old not in (-1, self._file):
            os.close(self._old)
        self._old, self._old_base = self._file, self._base
        self._begin(self.end)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"{error}; the history in {self._path.parent} cannot be kept; --no-history does without")


def _opened(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _records(file: int, base: int) -> Iterator[tuple[int, bytes]]:
    """Give the records of one file; what has no end is none."""
    rest, at, begin = b"", 0, 0
    while chunk := os.pread(file, CHUNK, at):
        at += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield base + begin, line
            begin += len(line) + 1
