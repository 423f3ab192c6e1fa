"""Where messages wait: the rows of a lane on disk, the front of it in memory, and who waits for what."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import ReferenceType

from mmplatform.codec import Decoder, Struct
from mmplatform.delivery.letters import Letters
from mmplatform.delivery.sender import LANES, Sender
from mmplatform.delivery.wire import Ack, Record, size_of
from mmplatform.message import Delivery
from mmplatform.storage.contract import Row as StorageRow

PEER_BYTES: Final = 256 * 1024 * 1024  # what may wait for one peer before send() waits too
ROW_BYTES: Final = 1024 * 1024
KEY_SIZE: Final = 73  # outbox/ + peer + / + lane + ordinal of the run + first + last
DELIVERIES_SWEPT: Final = 16_384  # forget Delivery objects nobody holds whenever a lane has this many more


class Segment(Struct, array_like=True):
    """The value of one row."""

    epoch: int
    records: list[Record]


segments = Decoder(Segment, 256 * 1024 * 1024)


class Row(NamedTuple):
    """Where one segment is kept, and what is in it."""

    key: bytes
    first: int
    last: int
    size: int

    @property
    def run(self) -> bytes:
        """What the keys of all rows begin with that one run put in a lane."""
        return self.key[:-16]

    @property
    def ordinal(self) -> int:
        """Of the run that put it."""
        return int.from_bytes(self.key[-20:-16])


class Shelf:
    """One lane of one peer: its rows in order; the first ``loaded`` of them are with the sender."""

    __slots__ = (
        "deliveries", "dropped", "drops", "lane", "loaded", "loader", "mailed", "next_seq", "peer", "pushed",
        "resident", "rows", "staged", "staged_bytes", "sweep_at", "too_large", "waiters", "why",
        "writing",
    )  # fmt: skip

    def __init__(self, peer: str, lane: int) -> None:
        self.peer, self.lane = peer, lane
        self.rows: deque[Row] = deque()
        self.loaded = 0
        self.resident = 0  # bytes of the loaded rows
        self.pushed: tuple[bytes, int] = (
            b"",
            0,
        )  # epoch prefix of the last row given to the sender, and its last number
        self.loader: asyncio.Task[None] | None = None
        self.next_seq = 1
        self.staged: list[Record] = []  # put in this loop turn
        self.staged_bytes = 0
        self.waiters: list[asyncio.Future[None]] = []  # for them to be saved
        self.writing = 0  # transactions under way
        self.deliveries: dict[int, ReferenceType[Delivery]] = {}
        self.sweep_at = DELIVERIES_SWEPT
        self.why = ""  # what keeps the next of it from being mailed
        self.too_large: tuple[int, int, int] = (0, 0, 0)  # epoch, number and bytes of a message that no letter holds
        self.dropped = 0  # rows that left ``rows`` at the front so far
        self.mailed = 0  # rows in letters, counted likewise,
        self.drops = 0  # when so many letters had been dropped

    def stop(self) -> None:
        """Tell who waits for a delivery that this node will not see its end."""
        for held in self.deliveries.values():
            delivery = held()
            if delivery is not None:
                delivery.stop()

    def sweep(self) -> None:
        self.deliveries = {seq: held for seq, held in self.deliveries.items() if held() is not None}
        self.sweep_at = len(self.deliveries) + DELIVERIES_SWEPT


class Box:
    """All that waits for one peer."""

    __slots__ = ("bytes", "heard", "letters", "linked", "peer", "room", "sender", "shelves", "why")

    def __init__(self, peer: str, save: Callable[[StorageRow], None]) -> None:
        self.peer = peer
        self.sender = Sender()
        self.letters = Letters(peer, save, secrets.token_bytes)
        self.heard: dict[tuple[int, int], Ack] = {}  # acknowledgements of more than is in memory
        self.why = ""  # what keeps it from being mailed at all
        self.shelves = [Shelf(peer, lane) for lane in range(LANES)]
        self.bytes = 0
        self.linked = False
        self.room: asyncio.Future[None] | None = None

    @property
    def crowded(self) -> bool:
        """Whether a sender should wait in :meth:`Outbox.room`."""
        return self.bytes >= PEER_BYTES

    @property
    def empty(self) -> bool:
        return not any(shelf.rows or shelf.staged or shelf.writing for shelf in self.shelves)


class Saving(NamedTuple):
    """What one transaction saves of one lane."""

    shelf: Shelf
    waiters: list[asyncio.Future[None]]
    parts: list[tuple[Row, list[Record]]]


def split(records: list[Record]) -> list[list[Record]]:
    """Rows of about ROW_BYTES, so that reading one back is bounded."""
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
    """(peer, lane, first, last) of the key of a row, None for one that nobody here made."""
    first, last = int.from_bytes(key[-16:-8]), int.from_bytes(key[-8:])
    if len(key) != KEY_SIZE or not key[7:51].isascii() or key[52] >= LANES or not 0 < first <= last < first + ROW_BYTES:
        return None
    return key[7:51].decode(), key[52], first, last


def cancelled_key(known: tuple[str, int, int, int]) -> bytes:
    """Where the mark of a cancelled message is kept."""
    peer, lane, epoch, seq = known
    return f"cancelled/{epoch}.{lane}.{seq}@{peer}".encode()
