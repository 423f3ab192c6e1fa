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

from mmplatform.accounts import NOTED, Account, Accounts
from mmplatform.codec import encode
from mmplatform.delivery.incoming_stream import SequenceState, Stream, decode_state
from mmplatform.delivery.receipts import Entry
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import Ack
from mmplatform.durable.handled_log import INBOX, LOGGED, STREAM, HandledLog, HandledNote
from mmplatform.durable.handled_rows import PREFIX, key_of, parse_key
from mmplatform.durable.strangers import COMMIT, Strangers, size_of
from mmplatform.errors import StorageCorrupt, StorageError
from mmplatform.message import MAX_PAYLOAD
from mmplatform.storage.contract import Row, Storage

KEEP_MS: Final = 15 * 24 * 3600 * 1000  # twice the default time to live, and a day
PAGE: Final = 1024  # rows read at a time, at the start
RETRY_AFTER: Final = 1.0  # seconds until a failed write is tried again
GATHER: Final = 0.02  # seconds in which rows are gathered that need not be saved at once
GATHERED: Final = 256  # rows that are gathered at most
UNSAVED: Final = 1024  # rows that are not saved, from which on no more is handed over; the log has room for twice this

EndedMessages = tuple[str, Entry]  # the recipient of the receipt, and messages of its that ended alike
Checkpoint = list[tuple[Stream, bytes, Ack]]
Saving = list[tuple[str, Receiver, list[tuple[int, int]], Checkpoint]]  # peers, and what of each is deleted and written


class Handled:
    """The messages of every peer that this node has handled; ``acknowledge(peer, acks)`` is called once they are saved,
    ``largest(peer)`` says how many bytes the payload of a message may have.

    A row that is damaged, or a write that fails, goes to ``failed``.
    """

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], float],
        known: Callable[[str], bool],
        acknowledge: Callable[[str, list[Ack]], None],
        failed: Callable[[Exception], None],
        accounts: Accounts,
        log: HandledLog | None = None,
        largest: Callable[[str], int] = lambda peer: MAX_PAYLOAD,
    ) -> None:
        self._storage, self._now, self._known = storage, now, known
        self._acknowledge, self._failed, self._accounts = acknowledge, failed, accounts
        self._saved: dict[str, list[tuple[int, int, bytes]]] = {}  # as read at the start, until the peer is met
        self._receivers: dict[str, Receiver] = {}
        self._dirty: dict[str, Receiver] = {}
        self._leaving: set[str] = set()  # strangers that have gone
        self._writing_of: set[str] = set()  # peers of whom rows are being written
        self._attached: list[Row] = []
        self._ended: list[EndedMessages] = []
        self.tell: Callable[[list[EndedMessages]], None] = lambda ended: None  # writes receipts at once
        self.gave_way: Callable[[str], None] = lambda peer: None  # what was held of a peer is forgotten
        self._watchers: list[Callable[[list[Row]], None]] = []
        self._log, self._largest = log, largest
        self._unlogged: HandledNote | None = None
        self._busy = self._scheduled = self._wanted = self._logging = False
        self._gathering: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None  # when what is to be saved of strangers is
        self._writing = 0  # rows of others that are being written
        self._news: asyncio.Future[None] | None = None  # resolves when they are
        self._timer: asyncio.TimerHandle | None = None
        self._past = 0
        self._strangers = Strangers(storage, failed, self._let_go)
        self._closed = False

    async def open(self) -> list[HandledNote]:
        """Read what earlier runs handled; drop what is too old to come again.

        Returns the messages of the inbox that were handled before a kill, in rows that are still there.
        """
        noted = self._log.open() if self._log is not None else []
        streams = [note for note in noted if note.kind == STREAM]
        gone = await self._read({note.peer for note in streams})
        gone += self._take_up(streams)
        self._strangers.bytes += sum(
            size_of(value) for peer, rows in self._saved.items() if not self._known(peer) for *_, value in rows
        )
        if gone:
            try:
                await self._storage.write(gone, sync=False)
            except StorageError as error:
                self._failed(error)
                return []
        return [note for note in noted if note.kind == INBOX]

    async def _read(self, noted: set[str]) -> list[Row]:
        """Take up the rows of devices, friends and those whom the log names; return what is to be deleted or put aside.

        The rows of strangers stay on disk until they come.
        """
        gone: list[Row] = []
        oldest_kept = int(self._now() * 1000) - KEEP_MS
        start = b""
        while rows := await self._storage.scan(PREFIX, start, PAGE):
            start = rows[-1][0] + b"\0"
            for key, value in rows:
                try:
                    peer, lane, epoch = parse_key(key)
                    seen = decode_state(value).seen
                except ValueError as error:  # a CodecError is one
                    self._failed(StorageCorrupt(f"what was handled of a peer is damaged and was put aside: {error}"))
                    gone += [(b"quarantine/" + key, value), (key, None)]
                    continue
                if seen < oldest_kept:
                    gone.append((key, None))
                elif peer in noted or self._known(peer):
                    self._saved.setdefault(peer, []).append((lane, epoch, value))
                else:
                    self._strangers.bytes += len(key) + len(value)
        return gone

    def begin_log(self) -> None:
        """Forget what the log says of earlier runs: the rows say it."""
        if self._log is not None:
            self._log.clear()

    async def close(self) -> None:
        """Save what was handled and is not saved yet; a failure is reported, not raised."""
        self._closed = True
        for timer in (self._timer, self._gathering, self._later):
            if timer is not None:
                timer.cancel()
        await self._strangers.close()
        dirty, self._dirty = self._dirty, {}
        rows = [
            (key_of(peer, stream.lane, stream.epoch), kept)
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
        """Return the receiving machine of ``peer``, as earlier runs left it: of a stranger once it is ``loaded``."""
        receiver = self._receivers.get(peer)
        if receiver is None:
            known, saved = self._known(peer), self._saved.pop(peer, None)
            receiver = Receiver(
                self._accounts.of(peer, "", known), partial(self._largest, peer), partial(self._gave_way, peer)
            )
            if not known:
                receiver.full = lambda: self._strangers.full
            for lane, epoch, value in saved or ():
                receiver.restore(lane, epoch, value).row_size = 0 if known else size_of(value)
            self._receivers[peer] = receiver
            if not known and saved is None:
                self._strangers.met(peer)
        self._leaving.discard(peer)
        return receiver

    def loaded(self, peer: str) -> bool:
        """Whether all is known that earlier runs and links handled of ``peer``."""
        return peer not in self._strangers.unread

    def load(self, peer: str, then: Callable[[], None]) -> None:
        """Call ``then`` once :meth:`loaded` is true; nothing may be handed to its receiver before."""
        self._strangers.load(peer, self.receiver(peer), then)

    def release(self, peer: str) -> None:
        """Keep nothing of a stranger in memory that has gone, once all is handled and saved: its rows say it."""
        if peer in self._receivers:
            self._leaving.add(peer)
            self._let_go(peer)

    def _let_go(self, peer: str) -> None:
        """Forget a stranger that is leaving, unless something of it is under way: then this is called again."""
        receiver = self._receivers.get(peer)
        if receiver is None or peer not in self._leaving:
            return
        if receiver.unfinished or peer in self._dirty or peer in self._writing_of or self._strangers.reads(peer):
            return
        self._leaving.discard(peer)
        receiver.close()
        self._past += receiver.accepted
        del self._receivers[peer]
        self._strangers.unread.discard(peer)

    def locate(self, peer: str, network: str) -> None:
        """Count what ``peer`` has us hold as held for ``network``, where it is now, or for a device or friend."""
        self.receiver(peer).account.move(self._accounts.of(peer, network, self._known(peer)))

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
        if not self.loaded(peer):
            self.load(peer, partial(self.amend, peer, ended))
            return
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
        dirty, self._dirty = self._due()
        attached, self._attached = self._attached, []
        ended, self._ended = self._ended, []
        rows: list[Row] = []
        saving: Saving = []
        for peer, receiver in dirty.items():
            forgotten, checkpoint = receiver.forgotten, receiver.checkpoint()
            receiver.forgotten = []
            saving.append((peer, receiver, forgotten, checkpoint))
            rows += [(key_of(peer, lane, epoch), None) for lane, epoch in forgotten]
            rows += [(key_of(peer, stream.lane, stream.epoch), kept) for stream, kept, _ in checkpoint]
            if not self._known(peer):
                written = NOTED * self._strangers.saved(receiver, checkpoint) + COMMIT
                self._accounts.disk.spend(written, asyncio.get_running_loop().time())
        if not rows and not attached:
            return
        self._writing_of = set(dirty)
        self._busy, self._writing = True, len(attached)
        try:
            future = self._storage.write([*rows, *attached], sync=bool(attached))
        except Exception as error:
            self._not_saved(saving, attached, ended, error)
            return
        if ended:
            self.tell(ended)
        future.add_done_callback(partial(self._written, saving, attached, ended))

    def _due(self) -> tuple[dict[str, Receiver], dict[str, Receiver]]:
        """Return what is to be saved now, and what later: what is written for strangers has a measure."""
        loop = asyncio.get_running_loop()
        wait = self._accounts.disk.spend(0, loop.time())
        if not wait:
            return self._dirty, {}
        later = {peer: receiver for peer, receiver in self._dirty.items() if not self._known(peer)}
        if later and self._later is None:
            self._later = loop.call_later(wait, self._save_later)
        return {peer: receiver for peer, receiver in self._dirty.items() if peer not in later}, later

    def _save_later(self) -> None:
        self._later = None
        self._schedule()

    def _written(
        self, saving: Saving, attached: list[Row], ended: list[EndedMessages], done: asyncio.Future[None]
    ) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._not_saved(saving, attached, ended, error)
            return
        self._busy, self._writing, self._writing_of = False, 0, set()
        self._wake()
        if attached:
            for saved in self._watchers:
                saved(attached)
        for peer, receiver, _, checkpoint in saving:
            receiver.saved(stream for stream, _, _ in checkpoint)
            self._acknowledge(peer, [ack for _, _, ack in checkpoint])
            self._let_go(peer)
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
        self._attached[:0], self._ended[:0], self._writing, self._writing_of = attached, ended, 0, set()
        for peer, receiver, forgotten, checkpoint in saving:
            receiver.forgotten[:0] = forgotten
            receiver.saved(stream for stream, _, _ in checkpoint)
            for stream, _, _ in checkpoint:
                stream.dirty = True
                stream.told = 0
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
            receiver = Receiver(Account(0))
            receiver.restore(lane, epoch, rows[at][2] if at < len(rows) else encode(SequenceState(0, [], [], 0)))
            value = receiver.merge(lane, epoch, numbers, int(self._now() * 1000))
            rows[at : at + 1] = [(lane, epoch, value)]
            changed.append((key_of(peer, lane, epoch), value))
        return changed

    def _gave_way(self, peer: str) -> None:
        self.gave_way(peer)
