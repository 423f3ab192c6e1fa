"""The rows of the outbox: how their keys and values are made and read.

A key sorts by peer, lane, run and number, so a scan finds the messages of a lane in the order they were accepted.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from mmplatform.codec import Decoder, Struct, field
from mmplatform.delivery.sender import LANES
from mmplatform.delivery.wire import Record, size_of
from mmplatform.message import make_id

OUTBOX: Final = b"outbox/"  # the start of the keys of all rows
CANCELLED: Final = b"cancelled/"  # the start of the keys of all marks of cancelled messages
ROW_BYTES: Final = 1024 * 1024
READ_ROWS: Final = 256  # rows that one look-up reads back, at most
READ_BYTES: Final = 1024 * 1024  # bytes that one look-up reads back, unless its first row alone has more
KEY_SIZE: Final = 73  # outbox/ + peer + / + lane + run + first + last
PLACE: Final = 21  # bytes at the end of a key that tell rows of the same peer apart
PACKED: Final = PLACE + 5  # bytes of a packed row: its place and its size

MessageKey = tuple[str, int, int, int]  # peer, lane, epoch, number: what parse_id() finds in the id of a delivery


class Segment(Struct, array_like=True):
    """The value of one row: messages of one lane and epoch, in order."""

    epoch: int
    records: list[Record]


class SharingSegment(Segment, array_like=True):
    """The value of a row some of whose messages share payloads: the number of each such message, the bytes of its
    payload, and the name under which that is kept (``shared.py``)."""

    shared: list[tuple[int, int, bytes]] = field(default_factory=list)


segments = Decoder(SharingSegment, 256 * 1024 * 1024)  # reads both


class Row(NamedTuple):
    """Where one segment is kept, the numbers of its first and last message, and its bytes."""

    key: bytes
    first: int
    last: int
    size: int

    @property
    def prefix(self) -> bytes:
        """The start of the key, shared by all rows that the same run put in the same lane."""
        return self.key[:-16]

    @property
    def lane_prefix(self) -> bytes:
        """The start of the key, shared by all rows of the same lane."""
        return self.key[:-20]

    @property
    def lane(self) -> int:
        """The lane of the row."""
        return self.key[-21]

    @property
    def run(self) -> int:
        """The number of the run that put the row."""
        return int.from_bytes(self.key[-20:-16])


def row_prefix(peer: str, lane: int, run: int) -> bytes:
    """Return the start of the keys of all rows that ``run`` put in a lane: see :attr:`Row.prefix`."""
    return OUTBOX + peer.encode() + b"/" + bytes([lane]) + run.to_bytes(4)


def first_of(rows: Iterable[Row], limit: int = READ_BYTES) -> list[Row]:
    """Return the first of ``rows``, as many as one look-up reads back: at most ``limit`` bytes, but at least one."""
    found: list[Row] = []
    size = 0
    for row in islice(rows, READ_ROWS):
        size += row.size
        if found and size > min(READ_BYTES, limit):
            break
        found.append(row)
    return found


def pack_row(row: Row) -> bytes:
    """Return what tells a row from the others of its peer, in PACKED bytes."""
    return row.key[-PLACE:] + row.size.to_bytes(PACKED - PLACE)


def unpack_rows(peer: str, packed: bytes | bytearray) -> Iterator[Row]:
    """Give the rows of ``peer`` that :func:`pack_row` made ``packed`` of, one behind the other."""
    start = OUTBOX + peer.encode() + b"/"
    for at in range(0, len(packed), PACKED):
        place, size = bytes(packed[at : at + PLACE]), int.from_bytes(packed[at + PLACE : at + PACKED])
        yield Row(start + place, int.from_bytes(place[-16:-8]), int.from_bytes(place[-8:]), size)


def split(records: list[Record]) -> list[list[Record]]:
    """Split records into rows of about ROW_BYTES, so that reading one row back is bounded."""
    parts: list[list[Record]] = []
    size = ROW_BYTES
    for record in records:
        if size >= ROW_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += size_of(record)
    return parts


def parse_key(key: bytes) -> tuple[str, int, int, int] | None:
    """Return (peer, lane, first, last) of the key of a row, None for a damaged key."""
    first, last = int.from_bytes(key[-16:-8]), int.from_bytes(key[-8:])
    if len(key) != KEY_SIZE or not key[7:51].isascii() or key[52] >= LANES or not 0 < first <= last < first + ROW_BYTES:
        return None
    return key[7:51].decode(), key[52], first, last


def cancelled_key(message: MessageKey) -> bytes:
    """Return the key of the mark of a cancelled message."""
    return CANCELLED + make_id(*message).encode()
