"""The receiving machine of one peer: each message once, in order, acknowledged when handled. Sans-I/O.

A stream is (lane, epoch). :meth:`Receiver.accept` gives the records to hand to handlers, in order and never twice;
:meth:`Receiver.finish` notes that one is handled. What is handled is first made durable (:meth:`Receiver.checkpoint`
gives the rows to save), then acknowledged; a node that is killed between the two repeats those messages only.
"""

from collections.abc import Callable, Iterable
from typing import Final

from mmplatform.accounts import NO_LIMIT, Account
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.fragments import Assembler
from mmplatform.delivery.left import Left
from mmplatform.delivery.wire import (
    MAX_FRAME,
    MAX_OUTCOMES,
    MAX_RANGES,
    TAKEN,
    WINDOW,
    WINDOW_BYTES,
    Ack,
    Batch,
    End,
    Ending,
    Integer,
    Record,
    decode_record,
    size_of,
    to_ranges,
)  # fmt: skip
from mmplatform.errors import ProtocolError

MAX_STREAMS: Final = 64  # of one peer; each start of its node opens one a lane, the oldest is forgotten first
PARTIAL_EVERY: Final = 1024 * 1024  # bytes of a large message between two reports of its progress


class SequenceState(Struct, array_like=True):
    """What is saved of one stream."""

    upto: Integer
    ranges: list[tuple[Integer, Integer]]
    outcomes: list[tuple[Integer, Integer, End, str]]
    seen: Integer


MAX_KEPT: Final = 4 * 1024 * 1024
_kept = Decoder(SequenceState, MAX_KEPT)


class Stream:
    """What has come in of one lane and epoch."""

    __slots__ = (
        "account", "assembler", "dirty", "done", "epoch", "finished", "lane", "left", "next", "outcomes",
        "pending_bytes", "piece_seq", "reported", "seen", "stale", "stash", "torn",
    )  # fmt: skip

    def __init__(self, lane: int, epoch: int, account: Account, largest: int) -> None:
        self.lane, self.epoch, self.account = lane, epoch, account
        self.assembler = Assembler(account, largest)
        self.done = 0  # all messages up to this number are handled
        self.next = 1  # the next number to hand out
        self.finished: set[int] = set()  # handled, above done
        self.left = Left()  # handed out and left with the sender: these may come again
        self.stash: dict[int, Record] = {}  # records that came before their turn, over another link
        self.outcomes: list[tuple[int, int, End, str]] = []
        self.piece_seq = 0  # the number of the message whose pieces the assembler holds
        self.reported = 0  # bytes of that message that the sender knows to be held
        self.dirty = False  # whether something is handled and not saved
        self.stale = False  # whether the sender should hear again what is saved
        self.torn = False  # whether the rest of a message came that was left: it has to come again as a whole
        self.seen = 0
        self.pending_bytes = 0

    def finish(self, seq: int, ending: Ending = TAKEN) -> None:
        """Note that a message is done with, and how it ended."""
        self.dirty = True
        if ending is not TAKEN:
            self._note(seq, *ending)
        if seq == self.done + 1:
            self.done = seq
            if self.finished:
                while self.done + 1 in self.finished:
                    self.done += 1
                    self.finished.discard(self.done)
        elif seq > self.done:
            self.finished.add(seq)

    def finish_run(self, low: int, high: int) -> None:
        """Note in one step that ``low`` to ``high`` are handled and were all delivered: the usual case."""
        if low != self.done + 1 or self.finished:
            for seq in range(low, high + 1):
                self.finish(seq)
        else:
            self.done = high
            self.dirty = True

    def amend(self, seq: int, ending: Ending) -> bool:
        """Note how a message ended that was kept; return False when its sender does not ask for it any more."""
        for at, (low, high, end, text) in enumerate(self.outcomes):
            if low <= seq <= high and end is End.KEPT:
                before = [(low, seq - 1, end, text)] if low < seq else []
                now = [(seq, seq, *ending)] if ending[0] is not End.DELIVERED else []
                after = [(seq + 1, high, end, text)] if seq < high else []
                self.outcomes[at : at + 1] = [*before, *now, *after][: MAX_OUTCOMES - len(self.outcomes) + 1]
                self.dirty = True
                return True
        return False

    def leave(self, record: Record) -> None:
        """Forget a message that was handed out: its sender keeps it, and when it comes again it is handed out again."""
        self.left.add(record)

    def must_leave(self, record: Record) -> bool:
        """Whether a message must be left, too, as an earlier one of its topic is."""
        return self.left.precedes(record)

    def begin_at(self, base: int) -> None:
        """Count all below ``base`` as handled: the sender holds nothing of it any more."""
        if base > self.done + 1:
            self.done = base - 1
            self.finished = {seq for seq in self.finished if seq > self.done}
            self.left.settle_upto(self.done)
            while self.done + 1 in self.finished:
                self.done += 1
                self.finished.discard(self.done)
            for seq in [seq for seq in self.stash if seq <= self.done]:
                self.unstash(seq)
            if self.piece_seq and self.piece_seq <= self.done:
                self.forget_pieces()
            self.next = max(self.next, self.done + 1)
            self.dirty = True
        if self.outcomes and self.outcomes[0][1] < base:
            self.outcomes = [entry for entry in self.outcomes if entry[1] >= base]

    def put_by(self, record: Record) -> None:
        """Keep a record that came before its turn. Raises ProtocolError: ``window`` or ``overloaded``."""
        if record.seq > self.done + WINDOW:
            raise ProtocolError("window", f"message {record.seq} while {self.done + 1} is not handled")
        if record.seq not in self.stash:
            size = size_of(record)
            if self.pending_bytes + size > 2 * WINDOW_BYTES + MAX_FRAME:
                raise ProtocolError("window", "too many bytes before their turn")
            self.account.charge(size)
            self.pending_bytes += size
            self.stash[record.seq] = record

    def unstash(self, seq: int) -> Record:
        """Take a record that came before its turn out again."""
        record = self.stash.pop(seq)
        self.pending_bytes -= size_of(record)
        self.account.credit(size_of(record))
        return record

    def forget(self) -> None:
        """Give back all memory; the records come again."""
        self.forget_pieces()
        for seq in list(self.stash):
            self.unstash(seq)

    def forget_pieces(self) -> None:
        """Give back the memory of a message in assembly."""
        self.assembler.clear()
        self.piece_seq = self.reported = 0

    def ack(self) -> Ack:
        """Return the acknowledgement of all that is handled."""
        ranges = to_ranges(self.finished)[:MAX_RANGES] if self.finished else []
        partial = [self.piece_seq, self.assembler.held] if self.piece_seq else []
        return Ack(self.lane, self.epoch, self.done, ranges, list(self.outcomes), partial)

    def kept(self) -> bytes:
        """Return the row to save."""
        return encode(SequenceState(self.done, to_ranges(self.finished), self.outcomes, self.seen))

    def _note(self, seq: int, end: End, text: str) -> None:
        if self.outcomes and self.outcomes[-1][1:] == (seq - 1, end, text):
            self.outcomes[-1] = (self.outcomes[-1][0], seq, end, text)
        else:
            self.outcomes.append((seq, seq, end, text))
            if len(self.outcomes) > MAX_OUTCOMES:
                del self.outcomes[0]


class Receiver:
    """All streams from one peer. What of them is held before its turn is in ``account``, which counts in ``above``.

    When it has to give way, all of it is forgotten and ``gave_way`` is called: it comes again over the next link.
    """

    def __init__(self, above: Account, largest: int = MAX_FRAME, gave_way: Callable[[], None] = lambda: None) -> None:
        self.account = Account(NO_LIMIT, above, self._give_way)
        self._gave_way = gave_way
        self._largest = largest
        self._streams: dict[tuple[int, int], Stream] = {}
        self.accepted = 0  # records handed out
        self.forgotten: list[tuple[int, int]] = []  # streams whose saved rows may go

    def restore(self, lane: int, epoch: int, data: bytes) -> None:
        """Take up a stream as an earlier run saved it. Raises CodecError."""
        kept = _kept.decode(data)
        stream = self._open(lane, epoch)
        stream.done, stream.outcomes, stream.seen = kept.upto, kept.outcomes, kept.seen
        first, last = kept.upto + 1, kept.upto + WINDOW
        stream.finished = {n for low, high in kept.ranges for n in range(max(low, first), min(high, last) + 1)}
        stream.next = stream.done + 1

    def merge(self, lane: int, epoch: int, numbers: Iterable[int], seen_ms: int) -> bytes:
        """Note, of a stream just taken up, that more was handled than its row says; return the row that says it."""
        stream = self._streams[lane, epoch]
        for seq in sorted(numbers):
            stream.finish(seq)
        stream.seen = max(stream.seen, seen_ms)
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
        return sum(
            stream.next - 1 - stream.done - len(stream.finished) - len(stream.left.numbers)
            for stream in self._streams.values()
        )

    def amend(self, lane: int, epoch: int, seq: int, ending: Ending) -> bool:
        """Note how a message ended that was kept, for its sender, should it ask again; return whether it may."""
        stream = self._streams.get((lane, epoch))
        return stream is not None and stream.amend(seq, ending)

    def owe(self, lane: int, epoch: int) -> None:
        """Acknowledge this stream again, even when nothing is new: the sender waits for it."""
        stream = self._streams.get((lane, epoch))
        if stream is not None:
            stream.dirty = True

    def accept(self, batch: Batch, now_ms: int) -> tuple[Stream, list[Record]]:
        """Take a batch; return the records to hand to handlers now, in order, none twice. Tombstones are among them.

        Raises ProtocolError: ``window`` (the sender passed its window), ``bad-piece``, ``bad-packet``, ``overloaded``.
        """
        stream = self._streams.get((batch.lane, batch.epoch)) or self._open(batch.lane, batch.epoch)
        stream.seen = now_ms
        if batch.base > stream.done + 1 or stream.outcomes:
            stream.begin_at(batch.base)
        first, left = stream.next, dict(stream.left.numbers)
        try:
            ready = self._in_turn(stream, batch.records)
            for piece in batch.pieces:
                whole = self._put_together(stream, piece.seq, piece.offset, piece.total, piece.data)
                if whole is not None:
                    ready += self._in_turn(stream, [whole])
        except ProtocolError:
            stream.next = first  # none of it is handed out: all comes again over the next link
            stream.left.restore(left)
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
            if stream.dirty or len(stream.outcomes) > 16:
                stream.stale = True
            else:
                acks.append(stream.ack())
        return acks

    def checkpoint(self) -> list[tuple[Stream, bytes, Ack]]:
        """Return the rows to save now, each with the acknowledgement to send once it is saved."""
        changed = [stream for stream in self._streams.values() if stream.dirty]
        for stream in changed:
            stream.dirty = stream.stale = False
        return [(stream, stream.kept(), stream.ack()) for stream in changed]

    def reminders(self) -> list[Ack]:
        """Return acknowledgements of messages that came again, and of the progress of large messages."""
        due = [stream for stream in self._streams.values() if stream.stale and not stream.dirty]
        for stream in due:
            stream.stale = False
        return [stream.ack() for stream in due]

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

    def _put_together(self, stream: Stream, seq: int, offset: int, total: int, data: bytes) -> Record | None:
        if (seq < stream.next and seq not in stream.left.numbers) or seq in stream.stash:
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
        whole = stream.assembler.add(offset, min(total, self._largest + 1), data)
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
            oldest = min(self._streams, key=lambda key: self._streams[key].seen)
            self._streams.pop(oldest).forget()
            self.forgotten.append(oldest)
        stream = Stream(lane, epoch, self.account, self._largest)
        self._streams[lane, epoch] = stream
        return stream


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
