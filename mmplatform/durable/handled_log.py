"""Notes what was handled at once, in a small file: a kill then repeats only what the last few microseconds handled.

The rows of the storage say the same a little later, and for good; the file only has to bridge that time. It is a ring
of entries of fixed size in memory that is mapped, so noting is no call of the system: while the storage syncs its file,
a write to another one waits for milliseconds on some file systems, and the loop with it. What is noted survives the end
of the process, not that of the machine. An entry lies within one sector and has a checksum: a torn one is not believed.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from mmplatform.errors import StorageError

ENTRY_SIZE: Final = 128
ENTRIES: Final = 2048
SIZE: Final = ENTRY_SIZE * ENTRIES
LOGGED: Final = 16  # messages that an entry names, at most
STREAM: Final = 1  # kinds of entries: numbers of a stream
INBOX: Final = 2  # messages of the inbox, by their numbers there; lane and epoch are 0

_entry = struct.Struct("<IBB2xQQQ44s")  # checksum, kind, lane, epoch, low, high, peer


class HandledNote(NamedTuple):
    """What one entry says: the messages ``low`` to ``high`` of a stream, or of the inbox, are handled."""

    kind: int
    peer: str
    lane: int
    epoch: int
    low: int
    high: int

    @property
    def numbers(self) -> range:
        """The messages, no more of them than an entry ever names."""
        return range(self.low, min(self.high, self.low + LOGGED - 1) + 1)


class HandledLog:
    """The file at ``path``, which belongs to one process. ``failed`` is told once when it cannot be written."""

    def __init__(self, path: Path, failed: Callable[[Exception], None]) -> None:
        self._path, self._failed = path, failed
        self._descriptor = -1
        self._mapped: mmap.mmap | None = None
        self._position = 0

    def open(self) -> list[HandledNote]:
        """Open the file, made when missing, with mode 0600; return what the run before noted last.

        A file that cannot be opened is reported: the node works without it, and a kill repeats a little more.
        """
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            return list(_parse(os.read(self._descriptor, SIZE)))
        except OSError as error:
            self._fail(error)
            return []

    def clear(self) -> None:
        """Forget all entries: the storage says the same by now. Takes all room that the file will ever need."""
        if self._descriptor < 0:
            return
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, bytes(SIZE))
            self._mapped = self._mapped or mmap.mmap(self._descriptor, SIZE)
        except (OSError, ValueError) as error:  # the latter when the file is shorter: the disk is full
            self._fail(error)

    def note(self, note: HandledNote) -> None:
        """Write one entry; the oldest one gives way."""
        if self._mapped is None:
            return
        body = _entry.pack(0, note.kind, note.lane, note.epoch, note.low, note.high, note.peer.encode())[4:]
        entry = zlib.crc32(body).to_bytes(4, "little") + body
        self._mapped[self._position : self._position + len(entry)] = entry
        self._position = (self._position + ENTRY_SIZE) % SIZE

    def close(self) -> None:
        """Close the file; does nothing when it is not open."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _fail(self, error: OSError | ValueError) -> None:
        self.close()
        self._failed(StorageError(f"{self._path}: {error}; after a kill, messages that were handled come again"))


def _parse(data: bytes) -> Iterator[HandledNote]:
    """Yield what the sound entries say."""
    for offset in range(0, len(data) - ENTRY_SIZE + 1, ENTRY_SIZE):
        checksum, kind, lane, epoch, low, high, peer = _entry.unpack_from(data, offset)
        sound = kind in (STREAM, INBOX) and checksum == zlib.crc32(data[offset + 4 : offset + _entry.size])
        if sound and peer.isascii() and 0 < low <= high:
            yield HandledNote(kind, peer.decode(), lane, epoch, low, high)
