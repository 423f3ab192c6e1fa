"""The files of bundles: ``bundles/`` has whole ones, ``partial/`` those that come, ``aside/`` damaged ones.

A file is: mark, bytes of the head, bytes of the hashes, checksum of both, head, hashes of the blocks, content. So a
block is read, and checked, alone. A file gets its name in ``bundles/`` once it is whole and on the disk. All that is
here is done in threads; what is left of a kill is swept away at the next start.
"""

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from mm_services.messenger.protocol.blocks import count, hashes_of
from mm_services.messenger.protocol.hops import Hops
from mm_services.messenger.protocol.limits import BLOCK, HASH, ID, MAX_CONTENT
from mm_services.messenger.store.entry import BundleEntry, Head, Time
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import CodecError
from mmplatform.storage.replacing import sync

MARK: Final = b"mmb1"
MAX_HEAD: Final = 128 * 1024  # bytes
TOGETHER: Final = 64  # files that are written before the first of them is synced
ASIDE: Final = MAX_CONTENT  # bytes of damaged files that are kept, the newest
UNFINISHED: Final = ".new"  # a file that is written at once, and is not whole yet
CANNOT_SYNC: Final = (errno.EINVAL, errno.ENOTSUP)  # of folders, on some network file systems

_start = struct.Struct("<4sIII")


class DamagedFile(Exception):
    """The file of a bundle is not what was written."""


class FileHead(Struct, array_like=True, forbid_unknown_fields=True):
    """What a file says of its bundle: all that is known when there is no journal."""

    header: bytes
    hops: Hops
    giver: str
    expires: Time
    for_us: bool
    own: bool


class NewFile(NamedTuple):
    """A file that is to be written: of a large bundle that comes block by block, ``content`` is empty."""

    id: bytes
    head: bytes
    content: bytes


_decoder = Decoder(FileHead, MAX_HEAD)


def head_bytes(head: FileHead, hashes: bytes) -> bytes:
    """Return what stands in a file before the content."""
    encoded = encode(head)
    return _start.pack(MARK, len(encoded), len(hashes), zlib.crc32(encoded + hashes)) + encoded + hashes


class BundleFiles:
    """The three folders in ``folder``. Everything raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole, self._partial, self._aside = (folder / name for name in ("bundles", "partial", "aside"))

    def open(self) -> None:
        """Make the folders, and sweep away what was never whole."""
        for folder in (self.folder, self._whole, self._partial, self._aside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._partial.glob(f"*{UNFINISHED}"):
            path.unlink()

    def whole(self) -> Iterator[bytes]:
        """Yield the ids of all whole files. What else is there is put aside."""
        with os.scandir(self._whole) as found:
            for each in found:
                bundle = _id_of(each.name)
                if bundle is None or not each.is_file(follow_symlinks=False):
                    self._move_aside(Path(each.path))
                else:
                    yield bundle

    def has_size(self, entry: BundleEntry) -> bool:
        """Whether the file of a bundle has the size that it was written with."""
        return self._path(entry.id).stat().st_size == entry.head + entry.size

    def wrong_sizes(self, entries: Iterable[BundleEntry]) -> list[BundleEntry]:
        """Return those whose files are there with another size."""
        found = []
        for entry in entries:
            with suppress(FileNotFoundError):
                if not self.has_size(entry):
                    found.append(entry)
        return found

    def partial(self) -> Iterator[bytes]:
        """Yield the ids of files that were begun."""
        for path in list(self._partial.iterdir()):
            bundle = _id_of(path.name)
            if bundle is not None:
                yield bundle

    def save(self, new: Sequence[NewFile]) -> list[OSError | None]:
        """Write whole files; return what failed of each. Those that did not are on the disk under their names."""
        outcomes: list[OSError | None] = []
        for first in range(0, len(new), TOGETHER):
            outcomes += self._save(new[first : first + TOGETHER])
        try:
            self._sync_names()
        except OSError as error:
            self.remove(each.id for each in new)
            return [error] * len(new)
        return outcomes

    def remove_partial(self, bundle: bytes) -> None:
        """Remove the file of a bundle that is not whole."""
        self._path(bundle, partial=True).unlink(missing_ok=True)

    def remove(self, ids: Iterable[bytes]) -> None:
        """Remove all files of bundles; tries each, and raises the last error."""
        failure: OSError | None = None
        for bundle in ids:
            for folder in (self._whole, self._partial):
                try:
                    (folder / bundle.hex()).unlink(missing_ok=True)
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure

    def put_aside(self, bundle: bytes) -> None:
        """Put a damaged file where nothing reads it. Of such files the newest are kept."""
        self._move_aside(self._whole / bundle.hex())

    # Reading. Raises DamagedFile, too.

    def head(self, bundle: bytes, partial: bool = False) -> tuple[FileHead, bytes]:
        """Return the head and the hashes in a file."""
        with self._path(bundle, partial).open("rb", buffering=0) as file:
            return parse_head(file.read(_start.size), lambda size: file.read(size))

    def read(self, entry: BundleEntry) -> tuple[Head, bytes]:
        """Return a bundle."""
        data = self._path(entry.id).read_bytes()
        head, hashes = parse_head(data[: _start.size], lambda size: data[_start.size : _start.size + size])
        content = data[entry.head :]
        if len(content) != entry.size or hashes_of(content) != hashes:
            raise DamagedFile("its content is not what was signed")
        return Head(head.header, head.hops, hashes), content

    def read_head(self, entry: BundleEntry) -> Head:
        """Return a bundle without its content."""
        head, hashes = self.head(entry.id)
        return Head(head.header, head.hops, hashes)

    def read_block(self, entry: BundleEntry, offset: int) -> bytes:
        """Return the block of a content that begins at ``offset``."""
        place = entry.head - (count(entry.size) - offset // BLOCK) * HASH
        with self._path(entry.id).open("rb", buffering=0) as file:
            file.seek(place)
            expected = file.read(HASH)
            file.seek(entry.head + offset)
            block = file.read(min(BLOCK, entry.size - offset))
        if not block or hashes_of(block) != expected:
            raise DamagedFile(f"the block at {offset} is not what was signed")
        return block

    # Large bundles, block by block.

    def begin(self, new: NewFile) -> None:
        """Write the head of a partial file."""
        file = os.open(self._path(new.id, partial=True), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(file, new.head)
        finally:
            os.close(file)

    def check(self, entry: BundleEntry) -> int:
        """Cut off what is in a partial file behind its last sound block; return the bytes of content that are left.

        The last block of a content is cut off in any case: the bundle becomes whole when it comes.
        """
        path = self._path(entry.id, partial=True)
        _, hashes = self.head(entry.id, partial=True)
        most, sound = (len(hashes) // HASH - 1) * BLOCK, 0
        with path.open("r+b") as file:
            file.seek(entry.head)
            while sound < most and hashes_of(file.read(BLOCK)) == hashes[sound // BLOCK * HASH :][:HASH]:
                sound += BLOCK
            file.truncate(entry.head + sound)
        return sound

    def write_block(self, entry: BundleEntry, offset: int, block: bytes) -> None:
        """Write a block of a partial file."""
        with self._path(entry.id, partial=True).open("r+b", buffering=0) as file:
            _write_at(file.fileno(), block, entry.head + offset)

    def finish(self, entry: BundleEntry, offset: int, block: bytes) -> None:
        """Write the last block of a partial file, which is whole then, and on the disk."""
        path = self._path(entry.id, partial=True)
        with path.open("r+b", buffering=0) as file:
            _write_at(file.fileno(), block, entry.head + offset)
            os.fsync(file.fileno())
        path.rename(self._path(entry.id))
        try:
            self._sync_names()
        except OSError:
            self._path(entry.id).rename(path)
            raise

    # Inside.

    def _save(self, new: Sequence[NewFile]) -> list[OSError | None]:
        """Write some files, and then sync each: the first sync does some of the work of the others."""
        begun = [self._begin(each) for each in new]
        return [self._end(each, file) if isinstance(file, int) else file for each, file in zip(new, begun, strict=True)]

    def _begin(self, new: NewFile) -> int | OSError:
        """Write a file, under a name that nobody reads; return its descriptor, or what failed."""
        path = self._unfinished(new.id)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                if len(new.content) <= BLOCK:
                    _write_all(file, new.head + new.content)
                else:
                    _write_all(file, new.head)
                    _write_all(file, new.content)
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            _unlink(path)
            return error
        return file

    def _end(self, new: NewFile, file: int) -> OSError | None:
        """Have a file on the disk, and under its name; return what failed."""
        path = self._unfinished(new.id)
        try:
            try:
                os.fsync(file)
            finally:
                os.close(file)
            path.rename(self._path(new.id))
        except OSError as error:
            _unlink(path)
            return error
        return None

    def _path(self, bundle: bytes, partial: bool = False) -> Path:
        return (self._partial if partial else self._whole) / bundle.hex()

    def _unfinished(self, bundle: bytes) -> Path:
        return self._partial / f"{bundle.hex()}{UNFINISHED}"

    def _sync_names(self) -> None:
        try:
            sync(self._whole)
        except OSError as error:
            if error.errno not in CANNOT_SYNC:
                raise

    def _move_aside(self, path: Path) -> None:
        path.rename(self._aside / path.name)
        files = sorted(((each.stat().st_mtime, each) for each in self._aside.iterdir() if each.is_file()), reverse=True)
        size = 0
        for _, each in files:
            size += each.stat().st_size
            if size > ASIDE and each.name != path.name:
                each.unlink()


def _id_of(name: str) -> bytes | None:
    """Return the id that a file is named after."""
    try:
        bundle = bytes.fromhex(name)
    except ValueError:
        return None
    return bundle if len(bundle) == ID and bundle.hex() == name else None


def parse_head(start: bytes, read: Callable[[int], bytes]) -> tuple[FileHead, bytes]:
    """Return the head and the hashes in a file that begins with ``start``; ``read`` gives what follows."""
    if len(start) < _start.size:
        raise DamagedFile("its head is cut off")
    mark, head_size, hashes_size, checksum = _start.unpack(start)
    if mark != MARK or head_size > MAX_HEAD or hashes_size > count(MAX_CONTENT) * HASH or hashes_size % HASH:
        raise DamagedFile("its head is not what was written")
    data = read(head_size + hashes_size)
    if len(data) != head_size + hashes_size or zlib.crc32(data) != checksum:
        raise DamagedFile("its head is not what was written")
    try:
        return _decoder.decode(data[:head_size]), data[head_size:]
    except CodecError as error:
        raise DamagedFile(f"its head cannot be read: {error}") from None


def _write_all(file: int, data: bytes) -> None:
    written = os.write(file, data)
    while written < len(data):  # the disk is nearly full
        written += os.write(file, memoryview(data)[written:])


def _write_at(file: int, data: bytes, place: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(file, memoryview(data)[written:], place + written)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
