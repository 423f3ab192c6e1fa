"""The receiving machine of one peer: each message once, in order, acknowledged when handled. Sans-I/O.

A stream is (lane, epoch). :meth:`Receiver.accept` gives the records to hand to handlers, in order and never twice;
:meth:`Receiver.finish` notes that one is handled. What is handled is first made durable (:meth:`Receiver.checkpoint`
gives the rows to save), then acknowledged; a node that is killed between the two repeats those messages only.
"""

from collections.abc import Callable, Iterable
from typing import Final

from mmplatform.accounts import NO_LIMIT, Account
from mmplatform.delivery.incoming_stream import Stream, decode_state
from mmplatform.delivery.wire import (
    MAX_FRAME,
    MAX_HEAD,
    MAX_OUTCOMES,
    TOO_LARGE,
    WINDOW,
    Ack,
    Batch,
    End,
    Piece,
    Record,
    decode_record,
)  # fmt: skip
from mmplatform.errors import ProtocolError
from mmplatform.message import MAX_PAYLOAD

MAX_STREAMS: Final = 64  # of one peer; each start of its node opens one a lane, the oldest is forgotten first
PARTIAL_EVERY: Final = 1024 * 1024  # bytes of a large message between two reports of its progress


class Receiver:
    """All streams from one peer. What of them is held before its turn is in ``account``, which counts in ``above``.
    ``largest`` says how many bytes the payload of a message may have.

    When it has to give way, all of it is forgotten and ``gave_way`` is called: it comes again over the next link.
    """

    def __init__(
        self,
        above: Account,
        largest: Callable[[], int] = lambda: MAX_PAYLOAD,
        gave_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.account = Account(NO_LIMIT, above, self._give_way)
        self._gave_way = gave_way
        self._largest = largest
        self._streams: dict[tuple[int, int], Stream] = {}
        self.accepted = 0  # records handed out
        self.forgotten: list[tuple[int, int]] = []  # streams whose saved rows may go
        self.forgotten_bytes = 0  # on disk, of these rows
        self.full: Callable[[], bool] = lambda: False  # whether no new stream can be taken up

    def restore(self, lane: int, epoch: int, data: bytes) -> Stream:
        """Take up a stream as an earlier run saved it. Raises CodecError."""
        kept = decode_state(data)
        stream = self._open(lane, epoch)
        stream.done, stream.outcomes, stream.seen = kept.upto, kept.outcomes, kept.seen
        first, last = kept.upto + 1, kept.upto + WINDOW
        stream.finished = {n for low, high in kept.ranges for n in range(max(low, first), min(high, last) + 1)}
        stream.next, stream.on_disk = stream.done + 1, True
        return stream

    def merge(self, lane: int, epoch: int, numbers: Iterable[int], seen_ms: int) -> bytes:
        """Note, of a stream just taken up, that more was handled than its row says; return the row that says it."""
        stream = self._streams[lane, epoch]
        for seq in sorted(numbers):
            stream.finish(seq)
        stream.seen, stream.on_disk = max(stream.seen, seen_ms), True
        return stream.kept()

    def progress(self, lane: int, epoch: int) -> tuple[int, int]:
        """Return the numbers up to which a stream was handed out and not left with its sender, and handled."""
        stream = self._streams.get((lane, epoch))
        if stream is None:
            return 0, 0
        return (stream.left.lowest() or stream.next) - 1, stream.done

    def left(self) -> list[tuple[int, int]]:
        """Return lane and epoch of the streams of which something was left with the sender."""
        return [place for place, stream in self._streams.items() if stream.left.numbers]

    @property
    def unfinished(self) -> int:
        """How many records are handed out and not handled."""
        return sum(stream.unfinished for stream in self._streams.values())

    def amend(self, lane: int, epoch: int, low: int, high: int, end: End, text: str) -> bool:
        """Note how messages ended that were kept, for their sender, should it ask again; return whether it may."""
        stream = self._streams.get((lane, epoch))
        return stream is not None and stream.amend(low, high, end, text)

    def owe(self, lane: int, epoch: int) -> None:
        """Acknowledge this stream again, even when nothing is new: the sender waits for it."""
        stream = self._streams.get((lane, epoch))
        if stream is not None:
            stream.dirty = True
            stream.told = 0

    def retell(self) -> None:
        """Tell all outcomes again with the next acknowledgements: those told before may be lost with a link."""
        for stream in self._streams.values():
            stream.told = 0

    def accept(self, batch: Batch, now_ms: int) -> tuple[Stream, list[Record]]:
        """Take a batch; return the records to hand to handlers now, in order, none twice. Tombstones are among them.

        Raises ProtocolError: ``window`` (the sender passed its window), ``bad-piece``, ``bad-packet``, ``overloaded``.
        """
        stream = self._streams.get((batch.lane, batch.epoch))
        if stream is None:
            if self.full():
                raise ProtocolError("overloaded", "there is no room for what strangers' messages leave behind")
            stream = self._open(batch.lane, batch.epoch)
        stream.seen = now_ms
        if batch.base > stream.done + 1 or stream.outcomes:
            stream.begin_at(batch.base)
        first, left = stream.next, dict(stream.left.numbers)
        try:
            ready = self._in_turn(stream, batch.records)
            for piece in batch.pieces:
                if self._is_too_large(stream, piece):
                    ready += _refuse(stream, piece.seq)
                    continue
                whole = self._put_together(stream, piece.seq, piece.offset, piece.total, piece.data)
                if whole is not None:
                    ready += self._in_turn(stream, [whole])
        except ProtocolError:
            stream.next = max(first, stream.done + 1)  # none of it is handed out: all comes again over the next link
            stream.left.restore({seq: topic for seq, topic in left.items() if not stream.is_done(seq)})
            raise
        if 0 < stream.piece_seq < stream.next and stream.piece_seq not in stream.left.numbers:
            stream.forget_pieces()  # a tombstone took the place of the rest
        if left:  # pieces come behind the records of their batch
            ready.sort(key=_seq)
        self.accepted += len(ready)
        return stream, ready

    def acks(self) -> list[Ack]:
        """Return what is handled and saved, for the resume state of a new link.

        A stream with many exceptional outcomes does not fit there; it is acknowledged once the link is up.
        """
        acks = []
        for stream in sorted(self._streams.values(), key=lambda stream: -stream.seen)[:8]:
            if stream.dirty or stream.saving or len(stream.outcomes) > 16:
                stream.stale = True
            else:
                told, stream.told = stream.told, 0
                acks.append(stream.ack())
                stream.told = told  # this one may go out over a link that comes to nothing
        return acks

    def checkpoint(self) -> list[tuple[Stream, bytes, Ack]]:
        """Return the rows to save now, each with the acknowledgement to send once it is saved: then :meth:`saved` is to
        be called with the streams, or their rows are ``dirty`` again."""
        changed = [stream for stream in self._streams.values() if stream.dirty]
        self._bound_outcomes()
        for stream in changed:
            stream.dirty = stream.stale = False
            stream.saving = stream.on_disk = True
        return [(stream, stream.kept(), stream.ack()) for stream in changed]

    def _bound_outcomes(self) -> None:
        """Of too many outcomes, forget those that the peer was told: its base says that it has heard them, or never
        does."""
        surplus = sum([len(stream.outcomes) for stream in self._streams.values()]) - MAX_OUTCOMES
        if surplus > 0:
            for stream in sorted(self._streams.values(), key=lambda each: each.seen):
                surplus -= stream.forget_told(surplus)

    def saved(self, streams: Iterable[Stream]) -> None:
        """Take note that rows are on disk, or could not be written."""
        for stream in streams:
            stream.saving = False

    def reminders(self) -> list[Ack]:
        """Return acknowledgements of messages that came again, and of the progress of large messages.

        A stream whose row is being written is acknowledged when it is there, and not twice.
        """
        due = [stream for stream in self._streams.values() if stream.stale and not stream.dirty]
        for stream in due:
            stream.stale = False
        return [stream.ack() for stream in due if not stream.saving]

    @property
    def short_of_memory(self) -> bool:
        """Whether values in assembly take more than half of what they may, of this peer or of all."""
        return self.account.over

    def close(self) -> None:
        """Give back the memory of values in assembly, and of what came before its turn."""
        for stream in self._streams.values():
            stream.forget()

    def _give_way(self) -> None:
        self.close()
        self._gave_way()

    def _in_turn(self, stream: Stream, records: list[Record]) -> list[Record]:
        ready: list[Record] = []
        expected = stream.next
        if stream.stash:
            _follow_left(stream, ready)
            expected = _follow(stream, expected, ready)
        for record in records:
            seq = record.seq
            if seq == expected:
                expected += 1
                ready.append(record)
                if stream.stash or stream.finished:
                    expected = _follow(stream, expected, ready)
            elif seq < expected:
                if seq not in stream.left.numbers:
                    stream.stale = True
                elif seq == stream.left.lowest():
                    del stream.left.numbers[seq]
                    ready.append(record)
                    if stream.stash:
                        _follow_left(stream, ready)
                else:
                    stream.put_by(record)  # those before it come again, too
            else:
                stream.put_by(record)
        if expected - 1 > stream.done + WINDOW:
            raise ProtocolError("window", f"message {expected - 1} while {stream.done + 1} is not handled")
        stream.next = expected
        return ready

    def _is_too_large(self, stream: Stream, piece: Piece) -> bool:
        """Whether ``piece`` begins a message that is to be refused; one that is larger than any is a violation."""
        begins = piece.offset == 0 and not (stream.piece_seq == piece.seq and stream.assembler.held)
        if not begins or piece.total > MAX_FRAME or piece.total <= self._largest() + MAX_HEAD:
            return False
        new = piece.seq >= stream.next or piece.seq in stream.left.numbers
        return new and piece.seq not in stream.stash and not stream.is_done(piece.seq)

    def _put_together(self, stream: Stream, seq: int, offset: int, total: int, data: bytes) -> Record | None:
        if (seq < stream.next and seq not in stream.left.numbers) or seq in stream.stash or stream.is_done(seq):
            stream.stale = True
            return None
        if seq in stream.left.numbers and offset > (stream.assembler.held if seq == stream.piece_seq else 0):
            stream.torn = True  # what its sender holds to be here came before it was left
            return None
        if seq != stream.piece_seq:
            if offset or stream.next <= stream.piece_seq < seq:
                raise ProtocolError("bad-piece", f"slice of {seq} while {stream.piece_seq or stream.next} is due")
            stream.forget_pieces()
            stream.piece_seq = seq
        if offset < stream.assembler.held:
            stream.stale = True  # the sender does not know what we hold
        whole = stream.assembler.add(offset, total, data)
        if whole is None:
            if stream.assembler.held - stream.reported >= PARTIAL_EVERY:
                stream.reported, stream.stale = stream.assembler.held, True
            return None
        stream.piece_seq = stream.reported = 0
        record = decode_record(whole)
        if record.seq != seq:
            raise ProtocolError("bad-piece", "the pieces hold another message")
        return record

    def _open(self, lane: int, epoch: int) -> Stream:
        if len(self._streams) >= MAX_STREAMS:
            settled = [place for place, stream in self._streams.items() if not stream.unfinished]
            if not settled:
                raise ProtocolError("overloaded", f"{MAX_STREAMS} streams have messages whose handlers are not done")
            oldest = min(settled, key=lambda place: self._streams[place].seen)
            forgotten = self._streams.pop(oldest)
            forgotten.forget()
            if forgotten.on_disk:  # who opens streams faster than they are saved leaves nothing behind
                self.forgotten.append(oldest)
                self.forgotten_bytes += forgotten.row_size
        stream = Stream(lane, epoch, self.account)
        self._streams[lane, epoch] = stream
        return stream


def _refuse(stream: Stream, seq: int) -> list[Record]:
    """End a message whose pieces are not taken; return those that are now in turn."""
    if seq > stream.done + WINDOW:
        raise ProtocolError("window", f"message {seq} while {stream.done + 1} is not handled")
    ready: list[Record] = []
    stream.left.numbers.pop(seq, None)
    stream.finish(seq, (End.REFUSED, TOO_LARGE))
    if seq == stream.next:
        stream.next = _follow(stream, max(seq, stream.done) + 1, ready)
    return ready


def _seq(record: Record) -> int:
    return record.seq


def _follow(stream: Stream, expected: int, ready: list[Record]) -> int:
    """Take from the stash what is now in turn, and pass what an earlier run has handled."""
    while True:
        if expected in stream.finished:
            expected += 1
        elif expected in stream.stash:
            ready.append(stream.unstash(expected))
            expected += 1
        else:
            return expected


def _follow_left(stream: Stream, ready: list[Record]) -> None:
    """Take from the stash what was left and is now in turn again."""
    left = stream.left
    while (seq := left.lowest()) and seq in stream.stash:
        del left.numbers[seq]
        ready.append(stream.unstash(seq))
