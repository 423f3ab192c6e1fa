"""The journal of a store: what is known of bundles, appended, so that nobody has to read their files at a start.

A record is a mark, the bytes and the checksum of what follows, and a list of notes. One that is torn or damaged is
skipped. What was appended survives the end of the process; it is synced now and then, and the files of the bundles have
all that must survive the end of the machine.

When most notes say nothing any more, a second file is begun: all new ones go there, and little by little notes that
tell what holds now. Once it tells all, it takes the place of the first. The same mends a journal that could not be
written for a while, on a full disk.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from mm_services.messenger.store.entry import Note
from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError
from mmplatform.storage.replacing import sync_names

MARK: Final = b"mmj1"
MAX_RECORD: Final = 1024 * 1024  # bytes
NOTES: Final = 64  # of one record: one with all recipients has 12 KiB
IDLE: Final = 10_000  # notes that may say nothing any more, beside as many as say something
COPIED: Final = 256  # notes that tell what holds now, at a time
RESERVE: Final = 256 * 1024  # bytes of zeros behind the notes: a full disk has room for those of what is removed
CHUNK: Final = 64 * 1024

_start = struct.Struct("<4sII")
_decoder: Decoder[list[Note]] = Decoder(list[Note], MAX_RECORD)


class Told(Protocol):
    """What a journal is about."""

    def __len__(self) -> int:
        """Return how many notes tell it all, about."""
        ...

    def notes(self) -> Iterator[Note]:
        """Yield notes that tell it all."""
        ...


class Journal:
    """The file at ``path``, and the one that is to take its place; of one process.

    Args:
        path: of the file.
        told: what it is about.

    """

    def __init__(self, path: Path, told: Told) -> None:
        self._path, self._next, self._told = path, path.with_name(f"{path.name}.next"), told
        self._file: FileIO | None = None
        self._former: FileIO | None = None
        self._size = self._notes = 0  # of the file that is appended to: bytes of notes, and how many
        self._reserved = 0  # bytes of it with what is reserved
        self._copying: Iterator[Note] | None = None
        self._is_next = self._replacing = False
        self.behind = False  # it lacks notes that could not be written
        self.damaged = 0  # places at which something was skipped

    def read(self) -> Iterator[Note]:
        """Yield all notes. Raises OSError."""
        for path in (self._path, self._next):
            self._is_next = path is self._next and path.exists()
            if path is self._path or self._is_next:
                yield from self._read(path)
        self._copying = self._told.notes() if self._is_next else None

    def open(self) -> None:
        """Open it for appending; it was read. Raises OSError."""
        self._file = _opened(self._next if self._is_next else self._path, self._size)
        self._reserved = self._size
        self._reserve(0)

    def append(self, notes: Sequence[Note]) -> None:
        """Write notes. Raises OSError; what is lost then is made up for by the next call that succeeds, and those that
        :attr:`has_more` asks for."""
        try:
            if self.behind or (not self._is_next and self._notes > 2 * len(self._told) + IDLE):
                self._begin_next()
            notes = [*notes, *self._copied()]
            for first in range(0, len(notes), NOTES):
                self._write(encode(notes[first : first + NOTES]))
        except OSError:
            self.behind = True
            raise
        self._notes += len(notes)

    @property
    def has_more(self) -> bool:
        """Whether :meth:`append` is to be called soon, with or without notes."""
        return self._copying is not None and not self.behind

    def is_due(self) -> bool:
        """Whether :meth:`replace` is to be called; says so once."""
        due = self._is_next and self._copying is None and not (self.behind or self._replacing)
        self._replacing = self._replacing or due
        return due

    def replace(self) -> None:
        """Have the second file take the place of the first; in any thread. Raises OSError."""
        try:
            self.sync()
            self._next.replace(self._path)
            sync_names(self._path.parent)
            self._is_next = False
            if self._former is not None:
                self._former.close()
        finally:
            self._replacing = False

    def sync(self) -> None:
        """Have all notes on the disk; in any thread. Raises OSError."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Have all notes on the disk, and close the files; does nothing when they are closed. Raises OSError."""
        try:
            if self._file is not None:
                self._file.truncate(self._size)
            self.sync()
        finally:
            for file in (self._file, self._former):
                if file is not None:
                    file.close()
            self._file = self._former = None

    def _begin_next(self) -> None:
        """Begin to tell all: in the second file, from its start, or once more."""
        if not self._is_next:
            file = _opened(self._next, 0)
            self._former, self._file, self._is_next = self._file, file, True
            self._size = self._notes = self._reserved = 0
        self._copying, self.behind = self._told.notes(), False

    def _copied(self) -> list[Note]:
        """Return some of the notes that tell all, for the second file."""
        if self._copying is None:
            return []
        copied = list(islice(self._copying, COPIED))
        if not copied:
            self._copying = None
        return copied

    def _write(self, payload: bytes) -> None:
        """Write a record; one that fails is overwritten by the next."""
        assert self._file is not None
        data = _start.pack(MARK, len(payload), zlib.crc32(payload)) + payload
        self._reserve(len(data))
        _write_at(self._file, data, self._size)
        self._size += len(data)

    def _reserve(self, size: int) -> None:
        """Reserve room for what is written next, and for more, when the disk has some."""
        if self._file is not None and self._size + size + RESERVE // 2 > self._reserved:
            zeros = bytes(self._size + size + RESERVE - self._reserved)
            with suppress(OSError):
                _write_at(self._file, zeros, self._reserved)
                self._reserved += len(zeros)

    def _read(self, path: Path) -> Iterator[Note]:
        self._size = 0
        if not path.exists():
            return
        with path.open("rb", buffering=CHUNK) as file:
            for begin, end, notes in records(file):
                self.damaged += begin > self._size
                self._size = end
                self._notes += len(notes)
                yield from notes


def _opened(path: Path, size: int) -> FileIO:
    """Open a file to write to behind its first ``size`` bytes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, size)
    return FileIO(descriptor, "r+")


def _write_at(file: FileIO, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):  # more than once when the disk is nearly full
        written += os.pwrite(file.fileno(), memoryview(data)[written:], place + written)


def records(file: BinaryIO) -> Iterator[tuple[int, int, list[Note]]]:
    """Yield where sound records begin and end, and their notes."""
    place = 0
    while start := file.read(_start.size):
        notes = _record(file, start)
        if notes is None:
            place = _next_mark(file, place + 1)
        else:
            yield place, file.tell(), notes
            place = file.tell()


def _record(file: BinaryIO, start: bytes) -> list[Note] | None:
    """Return the notes of the record that begins with ``start``, None unless it is sound."""
    if len(start) < _start.size:
        return None
    mark, size, checksum = _start.unpack(start)
    if mark != MARK or size > MAX_RECORD:
        return None
    payload = file.read(size)
    if len(payload) < size or zlib.crc32(payload) != checksum:
        return None
    try:
        return _decoder.decode(payload)
    except CodecError:
        return None


def _next_mark(file: BinaryIO, place: int) -> int:
    """Go to the next mark from ``place`` on, or the end; return where that is."""
    while True:
        file.seek(place)
        chunk = file.read(CHUNK)
        found = chunk.find(MARK)
        if found >= 0 or len(chunk) < len(MARK):
            place += found if found >= 0 else len(chunk)
            file.seek(place)
            return place
        place += len(chunk) - len(MARK) + 1
