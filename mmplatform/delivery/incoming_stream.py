"""What has come in of one lane and epoch: what is handled, what waits for its turn, how messages ended. Sans-I/O."""

from collections.abc import Collection
from typing import Final

from mmplatform.accounts import Account
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
    End,
    Ending,
    Integer,
    Record,
    size_of,
    to_ranges,
)
from mmplatform.errors import ProtocolError


class SequenceState(Struct, array_like=True):
    """What is saved of one stream."""

    upto: Integer
    ranges: list[tuple[Integer, Integer]]
    outcomes: list[tuple[Integer, Integer, End, str]]
    seen: Integer


MAX_KEPT: Final = 4 * 1024 * 1024
_states = Decoder(SequenceState, MAX_KEPT)


def decode_state(data: bytes) -> SequenceState:
    """Return what was saved of a stream. Raises CodecError."""
    return _states.decode(data)


class Stream:
    """What has come in of one lane and epoch."""

    __slots__ = (
        "account", "assembler", "dirty", "done", "epoch", "finished", "lane", "left", "next", "on_disk", "outcomes",
        "pending_bytes", "piece_seq", "reported", "row_size", "saving", "seen", "stale", "stash", "told", "torn",
    )  # fmt: skip

    def __init__(self, lane: int, epoch: int, account: Account) -> None:
        self.lane, self.epoch, self.account = lane, epoch, account
        self.assembler = Assembler(account, lambda: MAX_FRAME)
        self.done = 0  # all messages up to this number are handled
        self.next = 1  # the next number to hand out
        self.finished: set[int] = set()  # handled, above done
        self.left = Left()  # handed out and left with the sender: these may come again
        self.stash: dict[int, Record] = {}  # records that came before their turn, over another link
        self.outcomes: list[tuple[int, int, End, str]] = []
        self.told = 0  # how many of them, from the first, the sender was told over the link in use
        self.piece_seq = 0  # the number of the message whose pieces the assembler holds
        self.reported = 0  # bytes of that message that the sender knows to be held
        self.dirty = False  # whether something is handled and not saved
        self.saving = False  # whether its row is being written: what it says is not acknowledged yet
        self.stale = False  # whether the sender should hear again what is saved
        self.torn = False  # whether the rest of a message came that was left: it has to come again as a whole
        self.seen = 0
        self.pending_bytes = 0
        self.on_disk = False  # whether a row of it is saved, or on its way there
        self.row_size = 0  # bytes that are on disk of it, where somebody counts them

    @property
    def unfinished(self) -> int:
        """How many records are handed out, and neither handled nor left with their sender."""
        return self.next - 1 - self.done - len(self.finished) - len(self.left.numbers)

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

    def amend(self, low: int, high: int, end: End, text: str) -> bool:
        """Note how messages ended that were kept; return False when their sender does not ask for them any more."""
        at = amended = 0
        while at < len(self.outcomes) and amended <= high - low:
            first, last, before, said = self.outcomes[at]
            if before is End.KEPT and first <= high and low <= last:
                below = [(first, low - 1, before, said)] if first < low else []
                now = [(max(first, low), min(last, high), end, text)] if end is not End.DELIVERED else []
                above = [(high + 1, last, before, said)] if high < last else []
                parts = [*below, *now, *above][: MAX_OUTCOMES - len(self.outcomes) + 1]
                self.outcomes[at : at + 1] = parts
                self.told = min(self.told, at)
                at += len(parts)
                amended += min(last, high) - max(first, low) + 1
            else:
                at += 1
        self.dirty = self.dirty or amended > 0
        return amended > 0

    def is_done(self, seq: int) -> bool:
        """Whether a message is handled."""
        return seq <= self.done or seq in self.finished

    def leave(self, record: Record) -> None:
        """Forget a message that was handed out: its sender keeps it, and when it comes again it is handed out again."""
        self.left.add(record)

    def must_leave(self, record: Record) -> bool:
        """Whether a message must be left, too, as an earlier one of its topic is."""
        return self.left.precedes(record)

    def begin_at(self, base: int) -> None:
        """Count all below ``base`` as handled: the sender holds nothing of it any more."""
        if base > self.done + 1:
            before, self.done = self.done, base - 1
            for seq in _among(self.finished, before, self.done):
                self.finished.discard(seq)
            self.left.settle_upto(self.done)
            while self.done + 1 in self.finished:
                self.done += 1
                self.finished.discard(self.done)
            for seq in _among(self.stash, before, self.done):
                self.unstash(seq)
            if self.piece_seq and self.piece_seq <= self.done:
                self.forget_pieces()
            self.next = max(self.next, self.done + 1)
            self.dirty = True
        passed = 0
        for _, high, _, _ in self.outcomes:
            if high >= base:
                break
            passed += 1
        self._forget_outcomes(passed)

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

    def forget_told(self, most: int) -> int:
        """Forget the first outcomes that the sender was told, ``most`` of them; return how many there were."""
        number = max(0, min(most, self.told))
        self._forget_outcomes(number)
        return number

    def ack(self) -> Ack:
        """Return the acknowledgement of all that is handled, with those outcomes that were not told before."""
        ranges = to_ranges(self.finished) if self.finished else []
        partial = [self.piece_seq, self.assembler.held] if self.piece_seq else []
        if len(ranges) > MAX_RANGES:
            ranges = ranges[:MAX_RANGES]
            news = self._news_upto(ranges[-1][1])
        else:
            news, self.told = self.outcomes[self.told :], len(self.outcomes)
        return Ack(self.lane, self.epoch, self.done, ranges, news, partial)

    def kept(self) -> bytes:
        """Return the row to save."""
        return encode(SequenceState(self.done, to_ranges(self.finished), self.outcomes, self.seen))

    def _note(self, seq: int, end: End, text: str) -> None:
        if self.outcomes and self.outcomes[-1][1:] == (seq - 1, end, text):
            self.outcomes[-1] = (self.outcomes[-1][0], seq, end, text)
            self.told = min(self.told, len(self.outcomes) - 1)
        else:
            self.outcomes.append((seq, seq, end, text))
            if len(self.outcomes) > MAX_OUTCOMES:
                self._forget_outcomes(1)

    def _news_upto(self, last: int) -> list[tuple[int, int, End, str]]:
        """Take what is to be told of messages up to ``last``; what ended above is told with what acknowledges it."""
        untold = self.outcomes[self.told :]
        news = [entry for entry in untold if entry[1] <= last]
        if len(news) < len(untold):
            self.outcomes[self.told :] = [*news, *(entry for entry in untold if entry[1] > last)]
        self.told += len(news)
        return news

    def _forget_outcomes(self, number: int) -> None:
        if number:
            del self.outcomes[:number]
            self.told = max(0, self.told - number)


def _among(numbers: Collection[int], low: int, high: int) -> list[int]:
    """Return those of ``numbers`` above ``low`` and up to ``high``; none is below. The cost is that of the shorter way:
    a sender that moves by one costs one step, however many there are."""
    if high - low < len(numbers):
        return [number for number in range(low + 1, high + 1) if number in numbers]
    return [number for number in numbers if number <= high]
