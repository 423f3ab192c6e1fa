"""The sending machine of one peer: sequences, priorities, windows, resending and tombstones. Sans-I/O.

A stream is (lane, epoch). Its records wait in order; :meth:`Sender.take` moves them into flight as far as the window
allows; an acknowledgement settles them; a lost link puts what is in flight back in front. A lane sends one epoch to
its end before the next begins, so order holds across restarts.

Records are sent without a gap from the base on: tombstones stand for settled records above it, so that a peer that
lost its state waits for nothing that never comes.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

from mmplatform.delivery.wire import (
    OVERHEAD,
    WINDOW,
    WINDOW_BYTES,
    Ack,
    Batch,
    End,
    Piece,
    Record,
    encode_packet,
    to_ranges,
    tombstone,
)  # fmt: skip
from mmplatform.message import DELIVERED, EXPIRED, Outcome, Priority

LANES: Final = len(Priority)
NEVER: Final = 2**53
STALE: Final = 64  # entries of a heap of expiries, at least, that may name what waits no longer
LEAST: Final = 4 * 1024  # bytes of durable messages a frame may always carry, however much else is queued


class Settled:
    """The sequence numbers that one event settled in one stream, with the outcome of those not simply delivered.

    ``kept``: ranges of numbers that the peer keeps for a handler to come, with the last time at which one of them
    expires, in Unix milliseconds. Their messages go on, here nothing needs to be sent any more.
    """

    __slots__ = ("base", "epoch", "kept", "lane", "outcomes", "seqs")

    def __init__(
        self,
        lane: int,
        epoch: int,
        base: int,
        seqs: list[int],
        outcomes: dict[int, Outcome],
        kept: list[tuple[int, int, int]] | None = None,
    ) -> None:
        self.lane = lane
        self.epoch = epoch
        self.base = base
        self.seqs = seqs
        self.outcomes = outcomes
        self.kept = kept or []


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


class Sender:
    """All streams to one peer."""

    def __init__(self) -> None:
        self._lanes: list[tuple[OutgoingStream, ...]] = [()] * LANES  # tuples, as most have none, and few more than one
        self._earliest = NEVER
        self.ready = False  # whether take() may find something

    @property
    def idle(self) -> bool:
        """Whether no record waits or is in flight."""
        return all(stream.empty for lane in self._lanes for stream in lane)

    @property
    def unsettled(self) -> int:
        """How many records are held."""
        return sum(len(stream.waiting) + len(stream.flight) for lane in self._lanes for stream in lane)

    def base(self, lane: int, epoch: int) -> int:
        """Return the lowest number of a stream that is not settled, 0 when the stream is not held."""
        stream = self._stream(lane, epoch)
        return stream.base if stream is not None else 0

    def top(self, lane: int, epoch: int) -> int:
        """Return the highest number of a stream that was pushed, 0 when the stream is not held."""
        stream = self._stream(lane, epoch)
        return stream.top if stream is not None else 0

    def holds(self, lane: int, epoch: int, seq: int) -> bool:
        """Whether the record was pushed and is not settled."""
        stream = self._stream(lane, epoch)
        return stream is not None and stream.base <= seq <= stream.top

    def settled(self, lane: int, epoch: int, seq: int) -> bool:
        """Whether the record was pushed and needs nothing more."""
        stream = self._stream(lane, epoch)
        return stream is not None and (seq < stream.base or seq in stream.acked)

    def in_flight(self, lane: int, epoch: int, seq: int) -> bool:
        """Whether the record, or a part of it, went out over the present link."""
        stream = self._stream(lane, epoch)
        if stream is None or not stream.base <= seq <= stream.top:
            return False
        return not stream.waiting or seq < stream.waiting[0].seq or (seq == stream.waiting[0].seq and stream.offset > 0)

    def push(self, lane: int, epoch: int, records: Iterable[Record]) -> None:
        """Add saved records, contiguous and in order, behind all that were pushed before."""
        self.ready = True
        streams = self._lanes[lane]
        stream = streams[-1] if streams and streams[-1].epoch == epoch else None
        for record in records:
            if stream is None:
                stream = OutgoingStream(epoch, record.seq)
                self._lanes[lane] = (*streams, stream)
            if record.seq >= stream.base:
                stream.waiting.append(record)
                stream.top = record.seq
                if record.expires < self._earliest:
                    self._earliest = record.expires
        if stream is not None:
            stream.skip_tombstones()

    def link_up(self, acks: Iterable[Ack]) -> list[Settled]:
        """Begin on a new link with the lowest unsettled numbers; return what ``acks``, from the handshake, settle."""
        self.ready = True
        self.link_down()
        return [settled for ack in acks if (settled := self.acknowledge(ack)) is not None]

    def link_down(self) -> None:
        """Let all unsettled records wait for the next link: this one is gone."""
        for lane in self._lanes:
            for stream in lane:
                self._earliest = min(self._earliest, stream.note_again())
                stream.rewind()

    def hand_over(self, largest: int) -> None:
        """Let another link take over while the old one still delivers what went out over it.

        Only messages above ``largest`` bytes, which went out in pieces, are sent again: pieces must come in order.
        """
        self.ready = True
        for lane in self._lanes:
            for stream in lane:
                self._earliest = min(self._earliest, stream.note_again())
                stream.take_back(largest)

    def take(self, budget: int, largest: int, now_ms: int) -> tuple[list[Batch], list[Settled]]:
        """Return up to about ``budget`` bytes to send now, by priority; records above ``largest`` bytes go in pieces.

        Returns, too, the records that were found to have expired; tombstones take their place.
        """
        batches: list[Batch] = []
        expired: list[Settled] = []
        budget = max(budget, LEAST)
        for number, lane in enumerate(self._lanes):
            while len(lane) > 1 and lane[0].empty:
                lane = self._lanes[number] = lane[1:]
            if budget <= 0 or not lane or not lane[0].waiting:
                continue
            stream = lane[0]
            gone: list[int] = []
            records, pieces, budget = _fill(stream, budget, largest, now_ms, gone)
            if gone:
                expired.append(Settled(number, stream.epoch, stream.base, gone, dict.fromkeys(gone, EXPIRED)))
            if records or pieces:
                batches.append(Batch(number, stream.epoch, stream.base, records, pieces))
        self.ready = bool(batches)
        return batches, expired

    def acknowledge(self, ack: Ack) -> Settled | None:
        """Settle what the peer confirmed; None when nothing is new."""
        stream = self._stream(ack.lane, ack.epoch)
        if stream is None:
            return None
        self.ready = True
        if ack.partial and stream.waiting and len(ack.partial) == 2 and stream.waiting[0].seq == ack.partial[0]:
            _confirm(stream, ack.partial[1])
        seqs: list[int] = []
        expiry = _expiries(stream, ack) if ack.outcomes else {}
        before = stream.base
        upto = min(ack.upto, stream.top)
        if upto >= before:
            _settle_upto(stream, upto, seqs)
            stream.base = upto + 1
        if ack.ranges:
            seqs += _acknowledge_ranges(stream, ack.ranges)
        stream.skip_tombstones()
        if not seqs and stream.base == before:
            return None
        if not ack.outcomes:
            return Settled(ack.lane, ack.epoch, stream.base, seqs, {})
        outcomes, kept = _outcomes(seqs, ack.outcomes)
        return Settled(ack.lane, ack.epoch, stream.base, seqs, outcomes, _to_expiring_ranges(kept, expiry))

    def again(self, lane: int, epoch: int) -> None:
        """Let all that is not acknowledged in one stream go out again: the peer has left some of it with us."""
        stream = self._stream(lane, epoch)
        if stream is not None:
            self._earliest = min(self._earliest, stream.note_again())
            stream.rewind()
            self.ready = True

    def cancel(self, lane: int, epoch: int, seq: int) -> bool:
        """Put a tombstone in place of a waiting record; False when the record is in flight, in pieces or unknown."""
        stream = self._stream(lane, epoch)
        if stream is None or (stream.offset and stream.waiting[0].seq == seq):
            return False
        index = stream.place(seq)
        if index < 0 or not stream.waiting[index].topic:
            return False
        stream.waiting[index] = tombstone(seq, stream.waiting[index].expires)
        stream.acked.add(seq)
        stream.skip_tombstones()
        return True

    def expire(self, now_ms: int) -> list[Settled]:
        """Turn waiting records whose time is over into tombstones. The peer judges those in flight."""
        found: list[Settled] = []
        self._earliest = NEVER
        for number, lane in enumerate(self._lanes):
            for stream in lane:
                gone = sorted(stream.expire(now_ms))
                if gone:
                    found.append(Settled(number, stream.epoch, stream.base, gone, dict.fromkeys(gone, EXPIRED)))
                if stream.due:
                    self._earliest = min(self._earliest, stream.due[0][0])
        return found

    @property
    def next_expiry(self) -> int:
        """Unix milliseconds before which no waiting record expires, but for one that goes out in pieces."""
        return self._earliest

    def _stream(self, lane: int, epoch: int) -> OutgoingStream | None:
        for stream in self._lanes[lane]:
            if stream.epoch == epoch:
                return stream
        return None


def _fill(
    stream: OutgoingStream, budget: int, largest: int, now_ms: int, gone: list[int]
) -> tuple[list[Record], list[Piece], int]:
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


def _confirm(stream: OutgoingStream, held: int) -> None:
    if not stream.blob:
        stream.blob = encode_packet(stream.waiting[0])
    if stream.confirmed < held < len(stream.blob):
        stream.confirmed = held
        stream.offset = max(stream.offset, held)


def _settle_upto(stream: OutgoingStream, upto: int, seqs: list[int]) -> None:
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


def _acknowledge_ranges(stream: OutgoingStream, ranges: list[tuple[int, int]]) -> list[int]:
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


def _outcomes(seqs: list[int], exceptions: list[tuple[int, int, End, str]]) -> tuple[dict[int, Outcome], list[int]]:
    """Return the outcomes of ``seqs``, and those of ``seqs`` that the peer keeps.

    Each is looked up in the disjoint ``exceptions``, however wide they claim to be.
    """
    found: dict[int, Outcome] = {}
    kept: list[int] = []
    exceptions = sorted(exceptions)
    starts = [low for low, _, _, _ in exceptions]
    for seq in seqs:
        position = bisect_right(starts, seq) - 1
        if position < 0 or seq > exceptions[position][1]:
            continue
        _, _, end, text = exceptions[position]
        if end is End.KEPT:
            kept.append(seq)
        elif end is not End.DELIVERED:
            found[seq] = outcome_of(end, text)
    return found, kept


def outcome_of(end: End, text: str) -> Outcome:
    """Return how a message ended, as its peer says. A message that is kept has not ended."""
    if end is End.EXPIRED:
        return EXPIRED
    if end is End.DELIVERED:
        return DELIVERED
    return Outcome(end.name.lower(), text)


def _expiries(stream: OutgoingStream, ack: Ack) -> dict[int, int]:
    """Return when the records expire that an acknowledgement may say are kept."""
    last = max((high for _, high, end, _ in ack.outcomes if end is End.KEPT), default=0)
    if last < stream.base:
        return {}
    found = {record.seq: record.expires for record in stream.flight}
    for record in stream.waiting:
        if record.seq > last:
            break
        found[record.seq] = record.expires
    return found


def _to_expiring_ranges(seqs: list[int], expiry: dict[int, int]) -> list[tuple[int, int, int]]:
    """Return ``seqs`` as ranges, each with the last expiry in it."""
    return [(low, high, max(expiry.get(seq, 0) for seq in range(low, high + 1))) for low, high in to_ranges(set(seqs))]
