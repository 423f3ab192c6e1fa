"""The sending machine of one peer: sequences, priorities, windows, resending and tombstones. Sans-I/O.

A stream is (lane, epoch). Its records wait in order; :meth:`Sender.take` moves them into flight as far as the window
allows; an acknowledgement settles them; a lost link puts what is in flight back in front. A lane sends one epoch to
its end before the next begins, so order holds across restarts.

Records are sent without a gap from the base on: tombstones stand for settled records above it, so that a peer that
lost its state waits for nothing that never comes.
"""

from collections.abc import Iterable
from typing import Final

from mmplatform.delivery.outcomes import expiries, outcomes_of, to_expiring_ranges
from mmplatform.delivery.outgoing_stream import NEVER, OutgoingStream, acknowledge_ranges, confirm, fill, settle_upto
from mmplatform.delivery.wire import (
    Ack,
    Batch,
    Record,
    tombstone,
)  # fmt: skip
from mmplatform.message import EXPIRED, Outcome, Priority

LANES: Final = len(Priority)
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
            records, pieces, budget = fill(stream, budget, largest, now_ms, gone)
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
            confirm(stream, ack.partial[1])
        seqs: list[int] = []
        expiry = expiries(stream, ack) if ack.outcomes else {}
        before = stream.base
        upto = min(ack.upto, stream.top)
        if upto >= before:
            settle_upto(stream, upto, seqs)
            stream.base = upto + 1
        if ack.ranges:
            seqs += acknowledge_ranges(stream, ack.ranges)
        stream.skip_tombstones()
        if not seqs and stream.base == before:
            return None
        if not ack.outcomes:
            return Settled(ack.lane, ack.epoch, stream.base, seqs, {})
        outcomes, kept = outcomes_of(seqs, ack.outcomes)
        return Settled(ack.lane, ack.epoch, stream.base, seqs, outcomes, to_expiring_ranges(kept, expiry))

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
                before, gone = stream.base, sorted(stream.expire(now_ms))
                if gone or stream.base != before:  # what expired in flight may stand in front, as a link went down
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
