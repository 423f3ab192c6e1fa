"""The file of ``mm backup``: the key, the rows and the words of a folder, with a checksum over all of it.

::

    "mmbackup"  8 bytes         version  1 byte, 1
    length      4 bytes         header   MessagePack [signId, Unix seconds, [[name, size], ...]]
    contents    of the files, one behind the other, in the order of the header
    checksum    32 bytes, BLAKE2b-256 of all before it

Numbers are big endian. Names are those below, each once, so none leads out of a folder; each has its largest size.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final, NoReturn

from mmplatform.cli.remembered import ALL
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import CodecError, InvalidKey, LocalError

MAGIC: Final = b"mmbackup"
VERSION: Final = 1
CHUNK: Final = 1024 * 1024
MAX_HEADER: Final = 4096
CHECKSUM_SIZE: Final = 32
KEY: Final = "identity"
ROWS: Final = "data.db"
NOTES: Final = "handled"
COPY: Final = "data.db.copy-"  # begins the names of copies of the rows
LARGEST: Final[dict[str, int]] = {
    KEY: 1024, ROWS: 1 << 40, NOTES: 1024 * 1024, **{kind.file: 64 * 1024 for kind in ALL}
}  # fmt: skip

Progress = Callable[[int], object]  # is told how many bytes more were moved


class BackupError(LocalError):
    """The file is no whole backup."""


class BackupHeader(Struct, array_like=True):
    """What is in a backup: of whom, when it was made, and the files with their sizes."""

    sign_id: str
    made: int
    files: list[tuple[str, int]]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


_headers: Decoder[BackupHeader] = Decoder(BackupHeader, MAX_HEADER)


def write_backup(
    to: BinaryIO, header: BackupHeader, sources: Sequence[BinaryIO], progress: Progress = lambda size: None
) -> None:
    """Write a backup of ``sources``, in the order of the header. Raises BackupError for one that has another size."""
    digest = hashlib.blake2b(digest_size=CHECKSUM_SIZE)

    def put(data: bytes) -> None:
        digest.update(data)
        to.write(data)

    encoded = encode(header)
    put(MAGIC + bytes([VERSION]) + len(encoded).to_bytes(4) + encoded)
    for (name, size), source in zip(header.files, sources, strict=True):
        left = size
        while left and (chunk := source.read(min(left, CHUNK))):
            put(chunk)
            progress(len(chunk))
            left -= len(chunk)
        if left:
            raise BackupError(f"{name} became shorter while it was copied; try again")
    to.write(digest.digest())


class BackupReader:
    """Reads a backup from a stream; nothing of it is to be believed before ``contents`` has ended.

    Args:
        stream: gives as many bytes as are asked for, fewer only at its end.

    Raises BackupError for what is none, or one of a newer version.

    """

    def __init__(self, stream: BinaryIO) -> None:
        from mmplatform.identity.keys import parse_sign_id

        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=CHECKSUM_SIZE)
        if self._read(len(MAGIC)) != MAGIC:
            _reject("it is no file of mm backup")
        version = self._read(1)[0]
        if version != VERSION:
            _reject(f"it has format {version}, and this mm reads {VERSION}; use a newer mm")
        size = int.from_bytes(self._read(4))
        if size > MAX_HEADER:
            _reject(f"its header has {size} bytes, and none has more than {MAX_HEADER}")
        try:
            self.header = _headers.decode(self._read(size))
            parse_sign_id(self.header.sign_id)
        except (CodecError, InvalidKey) as error:
            raise BackupError(f"its header cannot be read ({error})") from None
        _check(self.header)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Give the files, in chunks. Raises BackupError when something is missing, changed, or left over."""
        for name, size in self.header.files:
            left = size
            while left:
                chunk = self._read(min(left, CHUNK))
                left -= len(chunk)
                yield name, chunk
        expected = self._digest.digest()
        if self._read(CHECKSUM_SIZE) != expected:
            _reject("it was changed or damaged: its checksum is another one")
        if self._stream.read(1):
            _reject("there is more behind its end")

    def _read(self, size: int) -> bytes:
        data: Any = self._stream.read(size)
        if len(data) < size:
            _reject("it ends too soon; copy it again, whole")
        self._digest.update(data)
        return bytes(data)


def _check(header: BackupHeader) -> None:
    names = [name for name, _ in header.files]
    if len(set(names)) < len(names) or not {KEY, ROWS} <= set(names):
        _reject(f"it needs {KEY} and {ROWS}, and each file once")
    for name, size in header.files:
        if name not in LARGEST:
            _reject("it has a file that no folder of a node has")
        if not 0 <= size <= LARGEST[name]:
            _reject(f"its {name} has {size} bytes, and none has more than {LARGEST[name]}")
    if header.made < 0:
        _reject("it was made before 1970")


def _reject(why: str) -> NoReturn:
    raise BackupError(f"the backup cannot be used: {why}")
