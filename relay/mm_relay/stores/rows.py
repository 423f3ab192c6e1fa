"""The rows of a local store: makes their keys, loads them, sets damaged ones aside.

::

    relay/number               numbers up to this one may have been given
    relay/kept/ box number     Mark: all of an envelope but its bytes; opening reads these only
    relay/mail/ box number     the bytes of an envelope
    relay/note/ box number     NoteMark
    relay/here/ key            HereMark, of a key that was here lately
    relay/tried                when it was last seen whether a write works
    quarantine/...             rows that could not be read
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

from mm_relay.stores.index import Mark, NoteMark
from mm_transports.relay.protocol.items import MAX_MAIL, Integer
from mmplatform.codec import Decoder, Meta, Struct
from mmplatform.errors import CodecError, StorageCorrupt
from mmplatform.storage.contract import Row, Storage

NUMBER: Final = b"relay/number"
KEPT: Final = b"relay/kept/"
MAIL: Final = b"relay/mail/"
NOTE: Final = b"relay/note/"
HERE: Final = b"relay/here/"
TRIED: Final = b"relay/tried"
QUARANTINE: Final = b"quarantine/"

NUMBERS_RESERVED: Final = 65_536  # numbers reserved at a time: none is given again after its envelope has gone
ROWS_READ: Final = 8192  # rows read at a time


class HereMark(Struct, array_like=True, gc=False):
    """When and at which place a key was here last; its row on disk."""

    at: Integer
    place: Annotated[bytes, Meta(max_length=16)] = b""


_marks = Decoder(Mark, 4096)
_notes = Decoder(NoteMark, 4096)
_heres = Decoder(HereMark, 64)
_numbers = Decoder(int, 16)


class Rows:
    """The rows in a storage; ``failed`` is told of those that were set aside."""

    def __init__(self, storage: Storage, failed: Callable[[Exception], None]) -> None:
        self._storage, self._failed = storage, failed

    async def load(
        self,
        mail: Callable[[int, Mark], None],
        note: Callable[[int, NoteMark], None],
        here: Callable[[bytes, bytes, int], object],
    ) -> None:
        """Call these with all that is kept, except the bytes of the envelopes; ``here`` with the oldest key first."""
        await self._load(KEPT, _marks, mail)
        await self._load(NOTE, _notes, note)
        found = await self._load_here()
        for at, key, place in sorted(found):
            here(key, place, at)

    async def number(self) -> int:
        """Return the highest number that may have been given. Raises StorageCorrupt."""
        row = await self._storage.get(NUMBER)
        try:
            return _numbers.decode(row) if row is not None else 0
        except CodecError as error:
            raise StorageCorrupt(f"the numbers of the relay's mail are damaged: {error}; restore a backup") from None

    async def set_aside_mail(self, key: bytes, envelope: bytes | None) -> None:
        """Copy a damaged envelope to the quarantine; the caller removes it."""
        if envelope is not None:
            await self._storage.write([(QUARANTINE + key, envelope)])
        self._failed(StorageCorrupt(f"an envelope of the relay's mail is damaged; put aside as {QUARANTINE + key!r}"))

    async def _load(self, prefix: bytes, decoder: Decoder[Any], take: Callable[[int, Any], None]) -> None:
        start = prefix
        while rows := await self._storage.scan(prefix, start, ROWS_READ):
            for key, value in rows:
                number = int.from_bytes(key[-8:])
                try:
                    mark = decoder.decode(value)
                    if key != row_key(prefix, mark.box, number) or getattr(mark, "size", 0) > MAX_MAIL:
                        raise CodecError("it does not belong to its key")
                except CodecError as error:
                    await self._set_aside(key, value, str(error))
                else:
                    take(number, mark)
            start = rows[-1][0] + b"\x00"

    async def _load_here(self) -> list[tuple[int, bytes, bytes]]:
        """Read who was here lately; a row that is damaged is removed, as the key will be here again."""
        found = []
        start = HERE
        while rows := await self._storage.scan(HERE, start, ROWS_READ):
            for key, value in rows:
                try:
                    mark = _heres.decode(value)
                except CodecError:
                    await self._storage.write([(key, None)])
                else:
                    found.append((mark.at, key.removeprefix(HERE), mark.place))
            start = rows[-1][0] + b"\x00"
        return found

    async def _set_aside(self, key: bytes, value: bytes, why: str) -> None:
        """Move a row that cannot be read, with its envelope, to the quarantine."""
        rows: list[Row] = [(QUARANTINE + key, value), (key, None)]
        mail = MAIL + key.removeprefix(KEPT)
        envelope = await self._storage.get(mail) if key.startswith(KEPT) else None
        if envelope is not None:
            rows += [(QUARANTINE + mail, envelope), (mail, None)]
        await self._storage.write(rows)
        self._failed(StorageCorrupt(f"a row of the relay's mail is damaged ({why}); put aside as {QUARANTINE + key!r}"))


def row_key(prefix: bytes, box: bytes, number: int) -> bytes:
    """Return the key of a row."""
    return prefix + box + number.to_bytes(8)
