"""Saves the ids of messages that their recipient keeps for a handler to come: ranges of numbers, a row each.

Rows need no sync: one that a power cut took belongs to a message that is still in the outbox, and is acknowledged once
more.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final, NamedTuple

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.sender import LANES
from mmplatform.delivery.wire import Integer
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.errors import CodecError
from mmplatform.message import Outcome
from mmplatform.storage.contract import Storage

PREFIX: Final = b"received/"
OVERDUE_MS: Final = 7 * 24 * 3600 * 1000  # after its expiry, until which a receipt may still come
KEY_SIZE: Final = len(PREFIX) + 44 + 1 + 1 + 8 + 8
EARLY_OF_PEER: Final = 64  # receipts of one peer that came before the acknowledgement they belong to
EARLY_PEERS: Final = 64  # peers of whom there are such

Place = tuple[str, int, int]  # peer, lane, epoch


class _Value(Struct, array_like=True):
    """The value of a row: the last number of the range, and when the last of its messages expires (Unix ms)."""

    high: Integer
    until: Integer


_kept = Decoder(_Value, 64)


class Range(NamedTuple):
    """Numbers of one stream, both ends included. ``until``: when the last of their messages expires (Unix ms)."""

    low: int
    high: int
    until: int


class ReceivedIds:
    """Ranges of numbers, by peer, lane and epoch."""

    def __init__(self, storage: Storage, unsynced: UnsyncedRows) -> None:
        self._storage, self._unsynced = storage, unsynced
        self._ranges: dict[Place, list[Range]] = {}
        self._early: dict[str, dict[tuple[Place, int, int], Outcome]] = {}  # by peer

    async def restore(self) -> None:
        """Load what earlier runs left. Raises StorageError."""
        for key, value in await self._storage.scan(PREFIX):
            place = _parse_key(key)
            try:
                if place is None:
                    raise CodecError("a damaged key")
                low, kept = int.from_bytes(key[-8:]), _kept.decode(value)
                if kept.high < low:
                    raise CodecError("a damaged range")
            except CodecError:
                self._unsynced.delete(key)
                continue
            self._ranges.setdefault(place, []).append(Range(low, kept.high, kept.until))

    def add(self, place: Place, low: int, high: int, until: int) -> list[tuple[int, int, Outcome]]:
        """Note that a peer keeps the messages ``low`` to ``high``; return ranges whose end was told before."""
        told = self._take_early(place, low, high)
        for known in self._take(place, low - 1, high):  # one that ends just below grows
            low, high, until = min(low, known.low), max(high, known.high), max(until, known.until)
        self._put(place, Range(low, high, until))
        return told

    def end(self, place: Place, low: int, high: int) -> list[tuple[int, int]]:
        """Forget the messages ``low`` to ``high``, as far as they are known; return those, as ranges."""
        assert low <= high
        ended: list[tuple[int, int]] = []
        for known in self._take(place, low, high):
            ended.append((max(low, known.low), min(high, known.high)))
            if known.low < low:
                self._put(place, Range(known.low, low - 1, known.until))
            if known.high > high:
                self._put(place, Range(high + 1, known.high, known.until))
        if not self._ranges.get(place, True):
            del self._ranges[place]
        return ended

    def told_early(self, place: Place, low: int, high: int, outcome: Outcome) -> None:
        """Note a receipt for messages that are still in the outbox: their acknowledgement is yet to be seen."""
        of_peer = self._early.get(place[0], {})
        if len(of_peer) < EARLY_OF_PEER and (of_peer or len(self._early) < EARLY_PEERS):
            self._early.setdefault(place[0], of_peer)[place, low, high] = outcome

    def holds(self, place: Place, seq: int) -> bool:
        """Whether the peer keeps this message."""
        ranges = self._ranges.get(place, [])
        return _first_to(ranges, seq) < bisect_right(ranges, seq, key=_low)

    def count(self, peer: str | None = None) -> int:
        """How many messages ``peer`` keeps, or all peers."""
        return sum(high - low + 1 for _, low, high, _ in self.listed(peer))

    def listed(self, peer: str | None = None) -> list[tuple[Place, int, int, int]]:
        """Return the ranges of ``peer``, or of all: the stream, both ends, and when the last expires (Unix ms)."""
        return [
            (place, each.low, each.high, each.until) for place, each in self._all() if peer is None or place[0] == peer
        ]

    def overdue(self, now_ms: int) -> list[tuple[Place, int, int]]:
        """Return ranges whose messages have expired long ago, and of which no receipt came."""
        return [
            (place, range_.low, range_.high) for place, range_ in self._all() if range_.until + OVERDUE_MS <= now_ms
        ]

    def _all(self) -> Iterator[tuple[Place, Range]]:
        return ((place, range_) for place, ranges in self._ranges.items() for range_ in ranges)

    def _put(self, place: Place, added: Range) -> None:
        insort(self._ranges.setdefault(place, []), added)
        self._unsynced.put((_key(place, added.low), encode(_Value(added.high, added.until))))

    def _take(self, place: Place, low: int, high: int) -> list[Range]:
        """Take out the ranges that share a number with ``low`` to ``high``."""
        ranges = self._ranges.get(place, [])
        span = slice(_first_to(ranges, low), bisect_right(ranges, high, key=_low))
        taken = ranges[span]
        ranges[span] = []
        for range_ in taken:
            self._unsynced.put((_key(place, range_.low), None))
        return taken

    def _take_early(self, place: Place, low: int, high: int) -> list[tuple[int, int, Outcome]]:
        """Take out what was told of ``low`` to ``high``; what the same receipts told of others stays."""
        of_peer = self._early.pop(place[0], {})
        told: list[tuple[int, int, Outcome]] = []
        for early in [early for early in of_peer if early[0] == place and early[1] <= high and early[2] >= low]:
            _, first, last = early
            outcome = of_peer.pop(early)
            told.append((max(first, low), min(last, high), outcome))
            if first < low:
                of_peer[place, first, low - 1] = outcome
            if last > high:
                of_peer[place, high + 1, last] = outcome
        if of_peer:
            self._early[place[0]] = of_peer
        return told


def _low(range_: Range) -> int:
    return range_.low


def _first_to(ranges: list[Range], low: int) -> int:
    """Return the position of the first range that ends at ``low`` or above."""
    return bisect_left(ranges, low, key=lambda range_: range_.high)


def _key(place: Place, low: int) -> bytes:
    peer, lane, epoch = place
    return PREFIX + peer.encode() + b"/" + bytes([lane]) + epoch.to_bytes(8) + low.to_bytes(8)


def _parse_key(key: bytes) -> Place | None:
    if len(key) != KEY_SIZE or not key[9:53].isascii() or key[54] >= LANES:
        return None
    return key[9:53].decode(), key[54], int.from_bytes(key[55:63])
