"""Saves which messages are done with, then lets them be acknowledged.

Rows are small (a few numbers a stream), written once a loop turn at most and never while a write is under way. Rows
need no sync: messages whose row a power cut took were acknowledged, and the base of their sender says so, or were not.
Rows that others attach (a message that is kept, what a handler saves) go in the same transaction, and are synced: the
acknowledgement lets the sender forget the message. Until the row is there, the log of what is handled says the same.
What the inbox hands over is gathered for GATHER seconds: nobody waits for it, and a transaction a turn would cost more
than the messages.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mmplatform.codec import Decoder, encode
from mmplatform.delivery.fragments import KNOWN, STRANGERS, Budget
from mmplatform.delivery.receipts import Entry
from mmplatform.delivery.receiver import MAX_KEPT, Receiver, SequenceState, Stream
from mmplatform.delivery.sender import LANES
from mmplatform.delivery.wire import Ack
from mmplatform.durable.handled_log import INBOX, LOGGED, STREAM, HandledLog, HandledNote
from mmplatform.errors import StorageCorrupt, StorageError
from mmplatform.storage.contract import Row, Storage

KEEP_MS: Final = 15 * 24 * 3600 * 1000  # twice the default time to live, and a day
MAX_STRANGERS: Final = 10_000
RETRY_AFTER: Final = 1.0  # seconds until a failed write is tried again
GATHER: Final = 0.02  # seconds in which rows are gathered that need not be saved at once
GATHERED: Final = 512  # rows that are gathered at most
UNSAVED: Final = (
    1024  # rows that are not saved yet, from which on no more is handed over; the log has room for twice this
)

EndedMessages = tuple[str, Entry]  # the recipient of the receipt, and messages of its that ended alike
Saving = list[tuple[str, Receiver, list[tuple[Stream, bytes, Ack]]]]  # peers, and what of each is written

_kept = Decoder(SequenceState, MAX_KEPT)


class Handled:
    """The messages of every peer that this node has handled; ``acknowledge(peer, acks)`` is called once they are saved.

    A row that is damaged, or a write that fails, goes to ``failed``.
    """

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], float],
        known: Callable[[str], bool],
        acknowledge: Callable[[str, list[Ack]], None],
        failed: Callable[[Exception], None],
        log: HandledLog | None = None,
    ) -> None:
        self._storage, self._now, self._known = storage, now, known
        self._acknowledge, self._failed = acknowledge, failed
        self._saved: dict[str, list[tuple[int, int, bytes]]] = {}  # as read at the start, until the peer is met
        self._receivers: dict[str, Receiver] = {}
        self._dirty: dict[str, Receiver] = {}
        self._attached: list[Row] = []
        self._ended: list[EndedMessages] = []
        self.tell: Callable[[list[EndedMessages]], None] = lambda ended: None  # writes receipts at once
        self._watchers: list[Callable[[list[Row]], None]] = []
        self._log = log
        self._unlogged: HandledNote | None = None
        self._busy = self._scheduled = self._wanted = self._logging = False
        self._gathering: asyncio.TimerHandle | None = None
        self._writing = 0  # rows of others that are being written
        self._news: asyncio.Future[None] | None = None  # resolves when they are
        self._budgets = Budget(KNOWN), Budget(STRANGERS)
        self._timer: asyncio.TimerHandle | None = None
        self._strangers = self._past = 0
        self._closed = False

    async def open(self) -> list[HandledNote]:
        """Read what earlier runs handled; drop what is too old to come again.

        Returns the messages of the inbox that were handled before a kill, in rows that are still there.
        """
        gone: list[Row] = []
        newest: dict[str, int] = {}
        oldest_kept = int(self._now() * 1000) - KEEP_MS
        for key, value in await self._storage.scan(b"handled/"):
            try:
                peer, lane, epoch = _parse_key(key)
                seen = _kept.decode(value).seen
            except ValueError as error:  # a CodecError is one
                self._failed(StorageCorrupt(f"what was handled of a peer is damaged and was put aside: {error}"))
                gone += [(b"quarantine/" + key, value), (key, None)]
                continue
            if seen < oldest_kept:
                gone.append((key, None))
                continue
            newest[peer] = max(seen, newest.get(peer, 0))
            self._saved.setdefault(peer, []).append((lane, epoch, value))
        noted = self._log.open() if self._log is not None else []
        gone += self._take_up([note for note in noted if note.kind == STREAM])
        strangers = sorted((seen, peer) for peer, seen in newest.items() if not self._known(peer))
        for _, peer in strangers[: max(0, len(strangers) - MAX_STRANGERS)]:
            gone += [(_key(peer, lane, epoch), None) for lane, epoch, _ in self._saved.pop(peer)]
        self._strangers = min(len(strangers), MAX_STRANGERS)
        if gone:
            try:
                await self._storage.write(gone, sync=False)
            except StorageError as error:
                self._failed(error)
                return []
        return [note for note in noted if note.kind == INBOX]

    def begin_log(self) -> None:
        """Forget what the log says of earlier runs: the rows say it."""
        if self._log is not None:
            self._log.clear()

    async def close(self) -> None:
        """Save what was handled and is not saved yet; a failure is reported, not raised."""
        self._closed = True
        for timer in (self._timer, self._gathering):
            if timer is not None:
                timer.cancel()
        dirty, self._dirty = self._dirty, {}
        rows = [
            (_key(peer, stream.lane, stream.epoch), kept)
            for peer, receiver in dirty.items()
            for stream, kept, _ in receiver.checkpoint()
        ]
        if rows or self._attached:
            try:
                written = self._storage.write([*rows, *self._attached], sync=bool(self._attached))
                self.tell(self._ended)
                await written
            except StorageError as error:
                self._failed(error)
        for receiver in self._receivers.values():
            receiver.close()
        if self._log is not None:
            self.note_gathered()
            self._log.close()

    def receiver(self, peer: str) -> Receiver:
        """Return the receiving machine of ``peer``, as earlier runs left it."""
        receiver = self._receivers.get(peer)
        if receiver is None:
            known = self._known(peer)
            receiver = Receiver(self._budgets[0 if known else 1])
            saved = self._saved.pop(peer, [])
            for lane, epoch, value in saved:
                receiver.restore(lane, epoch, value)
            self._receivers[peer] = receiver
            if not (known or saved):  # those with rows were counted at the start
                self._strangers += 1
                if self._strangers > MAX_STRANGERS:
                    self._forget_oldest_stranger()
        return receiver

    @property
    def received(self) -> int:
        """Messages handed to handlers in this run."""
        return self._past + sum(receiver.accepted for receiver in self._receivers.values())

    @property
    def unfinished(self) -> int:
        """Messages that handlers have at hand."""
        return sum(receiver.unfinished for receiver in self._receivers.values())

    def save(self, peer: str, receiver: Receiver) -> None:
        """Save, at the end of this loop turn, what of ``peer`` is done with; then acknowledge it."""
        if not self._closed:
            self._dirty[peer] = receiver
            self._schedule()

    def amend(self, peer: str, ended: Entry) -> None:
        """Note how messages ended that were kept: their sender may have lost the receipt, and ask again. Saved with
        what is attached next."""
        receiver = self.receiver(peer)
        if receiver.amend(*ended):
            self._dirty[peer] = receiver

    def watch(self, saved: Callable[[list[Row]], None]) -> None:
        """Call ``saved`` with the rows that were attached, once they are on disk."""
        self._watchers.append(saved)

    def attach(self, rows: Sequence[Row], ended: Sequence[EndedMessages] = (), *, soon: bool = True) -> None:
        """Save ``rows`` at the end of this loop turn, in the order of the calls, after what was attached before.

        Args:
            rows: what is saved.
            ended: messages that end with them; given to ``tell``, whose receipts share their transaction.
            soon: whether to save them in this turn; else they are gathered with others for a while.

        """
        if self._closed:
            return
        self._attached += rows
        self._ended += ended
        if soon or len(self._attached) >= GATHERED:
            self._schedule()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER, self._gathered)

    async def room(self) -> None:
        """Wait until fewer than UNSAVED rows are attached and not saved."""
        while len(self._attached) + self._writing >= UNSAVED:
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)

    def note(self, kind: int, peer: str, lane: int, epoch: int, low: int, high: int) -> None:
        """Note at once that messages are handled, simply delivered and without rows of their own.

        Notes of one loop turn are gathered, as long as fewer than LOGGED messages are in them.
        """
        log = self._log
        if log is None:
            return
        before = self._unlogged
        if before is not None:
            if before[:4] == (kind, peer, lane, epoch) and before.high == low - 1 and high - before.low < LOGGED:
                low = before.low
            else:
                log.note(before)
        note = HandledNote(kind, peer, lane, epoch, low, high)
        if high - low >= LOGGED - 1:
            self._unlogged = None
            log.note(note)
            return
        self._unlogged = note
        if not self._logging:
            self._logging = True
            asyncio.get_running_loop().call_soon(self._log_later)

    def note_gathered(self) -> None:
        """Write the notes that were gathered: whoever calls is about to gather a run of messages of its own."""
        note, self._unlogged = self._unlogged, None
        if note is not None and self._log is not None:
            self._log.note(note)

    def _log_later(self) -> None:
        self._logging = False
        self.note_gathered()

    def _schedule(self) -> None:
        if self._busy:
            self._wanted = True
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _gathered(self) -> None:
        self._gathering = None
        self._schedule()

    def _flush(self) -> None:
        self._scheduled = self._wanted = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        dirty, self._dirty = self._dirty, {}
        attached, self._attached = self._attached, []
        ended, self._ended = self._ended, []
        rows: list[Row] = []
        saving: Saving = []
        for peer, receiver in dirty.items():
            rows += [(_key(peer, lane, epoch), None) for lane, epoch in receiver.forgotten]
            receiver.forgotten.clear()
            checkpoint = receiver.checkpoint()
            saving.append((peer, receiver, checkpoint))
            rows += [(_key(peer, stream.lane, stream.epoch), kept) for stream, kept, _ in checkpoint]
        if not rows and not attached:
            return
        self._busy, self._writing = True, len(attached)
        try:
            future = self._storage.write([*rows, *attached], sync=bool(attached))
        except Exception as error:
            self._not_saved(saving, attached, ended, error)
            return
        if ended:
            self.tell(ended)
        future.add_done_callback(partial(self._written, saving, attached, ended))

    def _written(
        self, saving: Saving, attached: list[Row], ended: list[EndedMessages], done: asyncio.Future[None]
    ) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._not_saved(saving, attached, ended, error)
            return
        self._busy, self._writing = False, 0
        self._wake()
        if attached:
            for saved in self._watchers:
                saved(attached)
        for peer, _, checkpoint in saving:
            self._acknowledge(peer, [ack for _, _, ack in checkpoint])
        if self._wanted and not self._closed:
            self._wanted = False
            self._schedule()  # a turn of its own: with many messages both halves take a while

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def _not_saved(self, saving: Saving, attached: list[Row], ended: list[EndedMessages], error: BaseException) -> None:
        """Try a failed write again after RETRY_AFTER seconds; nothing of it is acknowledged before."""
        self._failed(error if isinstance(error, StorageError) else StorageError(str(error)))
        self._attached[:0], self._ended[:0], self._writing = attached, ended, 0
        for peer, receiver, checkpoint in saving:
            for stream, _, _ in checkpoint:
                stream.dirty = True
            self._dirty[peer] = receiver
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(RETRY_AFTER, self._again)

    def _again(self) -> None:
        self._busy = False
        self._flush()

    def _take_up(self, notes: list[HandledNote]) -> list[Row]:
        """Add what the log says to what the rows say; return the rows that say it from now on."""
        handled: dict[tuple[str, int, int], set[int]] = {}
        for note in notes:
            numbers = handled.setdefault((note.peer, note.lane, note.epoch), set())
            numbers.update(note.numbers)
        changed: list[Row] = []
        for (peer, lane, epoch), numbers in handled.items():
            rows = self._saved.setdefault(peer, [])
            at = next((n for n, row in enumerate(rows) if row[:2] == (lane, epoch)), len(rows))
            receiver = Receiver(self._budgets[0])
            receiver.restore(lane, epoch, rows[at][2] if at < len(rows) else encode(SequenceState(0, [], [], 0)))
            value = receiver.merge(lane, epoch, numbers, int(self._now() * 1000))
            rows[at : at + 1] = [(lane, epoch, value)]
            changed.append((_key(peer, lane, epoch), value))
        return changed

    def _forget_oldest_stranger(self) -> None:
        """Forget the stranger met longest ago of whom nothing is unsaved; the next start prunes the rows on disk."""
        for peer in self._receivers:
            if not self._known(peer) and peer not in self._dirty:
                receiver = self._receivers.pop(peer)
                receiver.close()
                self._past += receiver.accepted
                self._strangers -= 1
                return


def _key(peer: str, lane: int, epoch: int) -> bytes:
    return b"handled/" + peer.encode() + b"/" + bytes([lane]) + epoch.to_bytes(8)


def _parse_key(key: bytes) -> tuple[str, int, int]:
    if len(key) != 62 or key[53] >= LANES:
        raise ValueError(f"a key of {len(key)} bytes")
    return key[8:52].decode("ascii"), key[53], int.from_bytes(key[54:])
