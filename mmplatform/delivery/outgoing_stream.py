"""The unsettled records of one lane and epoch at their sender: what waits, is in flight, is settled. Sans-I/O."""

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

from mmplatform.delivery.wire import (
    OVERHEAD,
    WINDOW,
    WINDOW_BYTES,
    Piece,
    Record,
    encode_packet,
    tombstone,
)

STALE: Final = 64  # entries of a heap of expiries, at least, that may name what waits no longer
NEVER: Final = 2**53  # no time at all, in Unix milliseconds


class OutgoingStream:
    """The unsettled records of one lane and epoch."""

    __slots__ = (
        "acked", "base", "blob", "confirmed", "due", "epoch", "flight", "flying", "noted", "offset", "top", "waiting",
    )  # fmt: skip

    def __init__(self, epoch: int, base: int) -> None:
        self.epoch = epoch
        self.base = base  # the lowest number that is not settled
        self.top = base - 1  # the highest number pushed
        self.waiting: deque[Record] = deque()
        self.flight: deque[Record] = deque()
        self.flying = 0  # bytes in flight
        self.acked: set[int] = set()  # settled above base: by a range, expired or cancelled
        self.blob = b""  # the encoding of waiting[0] while it goes out in pieces
        self.offset = 0  # bytes of the blob that were sent
        self.confirmed = 0  # bytes of the blob that the peer holds
        self.due: list[tuple[int, int]] = []  # heap of (expires, number); may name what waits no longer
        self.noted = 0  # the highest number that was put into ``due``: at each sweep, not at each push

    def rewind(self) -> None:
        """Let all that is not acknowledged wait again, in order: the link is gone."""
        self.waiting.extendleft(_buried(reversed(self.flight), self.acked))
        self.flight.clear()
        self.flying = 0
        self.drop_blob()

    def take_back(self, largest: int) -> None:
        """Let the first record that went out in pieces, and all after it, wait again."""
        at = next((n for n, r in enumerate(self.flight) if len(r.payload) + OVERHEAD > largest), None)
        if at is None:
            self.offset = self.confirmed
            return
        self.drop_blob()
        back = list(self.flight)[at:]
        for record in back:
            self.flight.pop()
            self.flying -= len(record.payload) + OVERHEAD
        self.waiting.extendleft(_buried(reversed(back), self.acked))

    def place(self, seq: int) -> int:
        """Return where a record waits, -1 when it does not: the numbers of those that wait have no gaps."""
        index = seq - self.waiting[0].seq if self.waiting else -1
        return index if 0 <= index < len(self.waiting) else -1

    def drop_blob(self) -> None:
        """Forget how far the first waiting record went out in pieces; a partial acknowledgement can tell again."""
        self.blob, self.offset, self.confirmed = b"", 0, 0

    def expire(self, now_ms: int) -> list[int]:
        """Turn waiting records whose time is over into tombstones, but for one that goes out in pieces; return their
        numbers."""
        self._note_waiting()
        due, waiting, gone = self.due, self.waiting, []
        first = waiting[0].seq if self.offset else 0
        while due and (due[0][0] <= now_ms or self.place(due[0][1]) < 0):
            _, seq = heappop(due)
            place = self.place(seq)
            if place >= 0 and waiting[place].topic and seq != first:
                waiting[place] = tombstone(seq, waiting[place].expires)
                gone.append(seq)
        self.acked.update(gone)
        self.skip_tombstones()
        return gone

    def note_again(self) -> int:
        """Put what is in flight or in pieces back into ``due``, as it will wait; return when the first expires."""
        earliest = NEVER
        for record in [*self.flight, *islice(self.waiting, 1 if self.offset else 0)]:
            if record.topic and record.seq not in self.acked:
                earliest = min(earliest, record.expires)
                if record.seq <= self.noted:  # else the next sweep finds it
                    heappush(self.due, (record.expires, record.seq))
        return earliest

    def _note_waiting(self) -> None:
        """Put what was pushed since the last sweep into ``due``; make it anew when most in it is settled."""
        if len(self.due) > 2 * len(self.waiting) + STALE:
            self.due, self.noted = [], 0
        fresh: list[tuple[int, int]] = []
        for record in reversed(self.waiting):
            if record.seq <= self.noted:
                break
            if record.topic:
                fresh.append((record.expires, record.seq))
        if len(fresh) > len(self.due):
            self.due += fresh
            heapify(self.due)
        else:
            for each in fresh:
                heappush(self.due, each)
        self.noted = max(self.noted, self.top)

    def skip_tombstones(self) -> None:
        """Let the base pass tombstones that no unsettled record precedes: they need not travel."""
        if self.flight or not self.waiting or self.waiting[0].topic:
            return
        while self.waiting and not self.waiting[0].topic:
            self.base = self.waiting.popleft().seq + 1
        self.drop_blob()
        self.acked = {seq for seq in self.acked if seq >= self.base}

    @property
    def empty(self) -> bool:
        """Whether no record is held."""
        return not self.waiting and not self.flight


def fill(
    stream: OutgoingStream, budget: int, largest: int, now_ms: int, gone: list[int]
) -> tuple[list[Record], list[Piece], int]:
    """Move waiting records into flight; return them, pieces of large ones, and what is left of ``budget`` bytes.

    Numbers that were found to have expired are added to ``gone``.
    """
    records: list[Record] = []
    pieces: list[Piece] = []
    waiting, flight = stream.waiting, stream.flight
    top = stream.base + WINDOW
    while waiting and budget > 0 and stream.flying < WINDOW_BYTES:
        record = waiting[0]
        if record.seq >= top:
            break
        if record.expires <= now_ms and record.topic and not stream.offset:
            gone.append(record.seq)
            stream.acked.add(record.seq)
            record = tombstone(record.seq, record.expires)
        size = len(record.payload) + OVERHEAD
        if size > largest:
            sent = _cut(stream, record, min(budget, largest), pieces)
            budget -= sent
            if not sent:
                break
            if stream.offset < len(stream.blob):
                continue
        else:
            records.append(record)
            budget -= size
        if stream.blob:
            stream.drop_blob()
        waiting.popleft()
        flight.append(record)
        stream.flying += size
    return records, pieces, budget


def _cut(stream: OutgoingStream, record: Record, room: int, pieces: list[Piece]) -> int:
    """Add the next piece of a large record; 0 when the window is full."""
    if not stream.blob:
        stream.blob = encode_packet(record)
    open_bytes = WINDOW_BYTES - stream.flying - (stream.offset - stream.confirmed)
    data = stream.blob[stream.offset : stream.offset + max(0, min(room, open_bytes))]
    if data:
        pieces.append(Piece(record.seq, stream.offset, len(stream.blob), data))
        stream.offset += len(data)
    return len(data)


def confirm(stream: OutgoingStream, held: int) -> None:
    """Note how many bytes the peer holds of the record that goes out in pieces."""
    if not stream.blob:
        stream.blob = encode_packet(stream.waiting[0])
    if stream.confirmed < held < len(stream.blob):
        stream.confirmed = held
        stream.offset = max(stream.offset, held)


def settle_upto(stream: OutgoingStream, upto: int, seqs: list[int]) -> None:
    """Settle all up to ``upto``; add to ``seqs`` those that no range had settled before."""
    flight, waiting, acked = stream.flight, stream.waiting, stream.acked
    while flight and flight[0].seq <= upto:
        record = flight.popleft()
        stream.flying -= len(record.payload) + OVERHEAD
        seqs.append(record.seq)
    if waiting and waiting[0].seq <= upto:  # the peer had the record from an earlier link, or run of this node
        stream.drop_blob()
        while waiting and waiting[0].seq <= upto:
            seqs.append(waiting.popleft().seq)
    if acked:
        seqs[:] = [seq for seq in seqs if seq not in acked]
        stream.acked = {seq for seq in acked if seq > upto}


def acknowledge_ranges(stream: OutgoingStream, ranges: list[tuple[int, int]]) -> list[int]:
    """Settle the numbers in ``ranges``; looks only at records held, however wide the ranges claim to be."""
    fresh: list[int] = []
    if not stream.flight and not stream.waiting:
        return fresh
    first = stream.flight[0].seq if stream.flight else stream.waiting[0].seq
    last = min(stream.waiting[-1].seq if stream.waiting else stream.flight[-1].seq, stream.base + WINDOW)
    for low, high in ranges:
        fresh += [seq for seq in range(max(low, first), min(high, last) + 1) if seq not in stream.acked]
        first = max(first, high + 1)
    stream.acked.update(fresh)
    if fresh and stream.waiting and stream.waiting[0].seq <= fresh[-1]:
        # A waiting record is settled: the peer had it from an earlier link, or from an earlier run of this node.
        if stream.waiting[0].seq in stream.acked:
            stream.drop_blob()
        stream.waiting = deque(_buried(stream.waiting, stream.acked))
    return fresh


def _buried(records: Iterable[Record], settled: set[int]) -> Iterable[Record]:
    """Return the records, with a tombstone for each that is settled."""
    return (tombstone(r.seq) if r.seq in settled else r for r in records) if settled else records
