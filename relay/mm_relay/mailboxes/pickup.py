"""Hands out mail and notes to peers that are signed in here, in the order of their numbers.

A session has one reader, which reads the store in order, never more than the windows allow. So it makes no difference
whether mail came before the sign-in, after it, or through another process: whoever stores something for a key wakes the
reader of that key. Mail that was not acknowledged when a session ends is read again for the next one.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.ports import RelaySession, TakenUntold
from mm_relay.stores.contract import MailStore, Note
from mm_transports.relay.protocol.items import Ended, Limits, Mail, Noted, Taken
from mmplatform.errors import StorageError
from mmplatform.identity.keys import sign_id_of

READS: Final = 64  # reads of the store at a time, of all readers
NOTES_WINDOW: Final = 256  # notes told to a session and not acknowledged
WINDOW_COUNT: Final = 1024  # envelopes under way to a session when the limits of the relay do not say
WINDOW_BYTES: Final = 16 * 1024 * 1024  # bytes under way to a session when the limits of the relay do not say
MOST_UNSETTLED: Final = 65_536  # envelopes that were taken and that the store failed to end; above, they come again

log = logging.getLogger("mm_relay.mailboxes")


class Pickup:
    """The readers of all sessions. ``ended(box, numbers, notes)`` is called when mail has left the store."""

    def __init__(
        self,
        store: MailStore,
        limits: Limits,
        now: Callable[[], float],
        metrics: Metrics,
        ended: Callable[[bytes, Sequence[int], list[Note]], None],
    ) -> None:
        self._store, self._now, self._metrics, self._on_ended = store, now, metrics, ended
        self._epoch = ""
        self._count = limits.window_count or WINDOW_COUNT
        self._size = limits.window_bytes or WINDOW_BYTES
        self._readers: dict[bytes, _Reader] = {}
        self._failed: set[bytes] = set()  # keys of readers whose call of the store failed
        self._unsettled: dict[bytes, dict[int, str]] = {}  # envelopes taken that the store failed to end, and how
        self._settling: set[bytes] = set()  # keys of those that the store is asked to end again
        self._reads = asyncio.Semaphore(READS)
        self._tasks: set[asyncio.Task[None]] = set()

    def signed_in(self, session: RelaySession) -> None:
        """Hand all for the key of ``session`` to it from now on, and no more to an earlier session of the key."""
        self._forget(self._readers.get(session.key))
        reader = self._readers[session.key] = _Reader(session)
        self._start(reader)

    def signed_out(self, session: RelaySession) -> None:
        self._forget(self._reader(session))

    def wake(self, key: bytes, *, mail: bool = True, notes: bool = True, number: int = 0) -> bool:
        """Read what is new in the store for ``key``, as the mail of that ``number`` is.

        Returns False when the key is not signed in here.
        """
        reader = self._readers.get(key)
        if reader is None:
            return False
        if 0 < number <= reader.mail_after and number not in reader.under_way:
            reader.mail_after = number - 1  # the numbers of the store have fallen back
        reader.mail |= mail
        reader.notes |= notes
        self._start(reader)
        return True

    def taken(self, session: RelaySession, item: Taken) -> None:
        reader = self._reader(session)
        if reader is None:
            return
        numbers = [number for number in item.numbers if reader.settle(number)]
        if numbers:
            untold = isinstance(item, TakenUntold)
            self._end(session.key, numbers, "refused" if item.refused else "" if untold else "delivered")
            self._start(reader)

    def noted(self, session: RelaySession, item: Noted) -> None:
        reader = self._reader(session)
        if reader is None:
            return
        upto = reader.note(item.number)
        if upto:
            _ignore(self._store.forget_notes(session.key, upto))  # a note whose deletion fails is told again next time
            self._start(reader)

    def again(self, share: int = 0) -> None:
        """Try failed calls of the store again, and let ``share`` readers look for mail of which no nudge came.

        All look when the store has another epoch.
        """
        failed, self._failed = self._failed, set()
        for key in failed:
            self.wake(key)
        for key in self._unsettled.keys() - self._settling:
            self._settling.add(key)
            taken = self._unsettled[key]
            for state in set(taken.values()):
                self._end(key, [number for number, each in taken.items() if each == state], state)
        before, self._epoch = self._epoch, self._store.epoch
        if before not in ("", self._epoch):
            share = len(self._readers)
        for key in list(self._readers)[:share] if share else ():
            self._readers[key] = self._readers.pop(key)  # to the end: all get their turn
            self.wake(key)

    async def close(self) -> None:
        for reader in list(self._readers.values()):
            self._forget(reader)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reader(self, session: RelaySession) -> "_Reader | None":
        """Return the reader of ``session``, None when another session has its key now."""
        reader = self._readers.get(session.key)
        return reader if reader is not None and reader.session is session else None

    def _forget(self, reader: "_Reader | None") -> None:
        if reader is not None:
            reader.gone = True
            self._readers.pop(reader.session.key, None)
            self._failed.discard(reader.session.key)

    def _start(self, reader: "_Reader") -> None:
        if reader.reading or not (reader.wants_notes() or reader.wants_mail(self._count, self._size)):
            return
        reader.reading = True
        task = asyncio.get_running_loop().create_task(self._read(reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: "_Reader") -> None:
        try:
            async with self._reads:
                while not reader.gone:
                    if reader.wants_notes():
                        await self._read_notes(reader)
                    elif reader.wants_mail(self._count, self._size):
                        await self._read_mail(reader)
                    else:
                        break
        except StorageError:
            self._metrics.store_errors += 1
            reader.mail = reader.notes = True
            self._fail(reader)
        finally:
            reader.reading = False

    async def _read_notes(self, reader: "_Reader") -> None:
        reader.begin(self._store.epoch)
        count = NOTES_WINDOW - len(reader.told)
        reader.notes = False
        notes = await self._store.notes(reader.session.key, reader.note_after, count)
        if reader.gone:
            return
        for note in notes:
            reader.note_after = note.number
            reader.told.append(note.number)
            reader.session.tell(Ended(note.number, note.target, note.id, note.state))
        reader.notes |= len(notes) == count

    async def _read_mail(self, reader: "_Reader") -> None:
        reader.begin(self._store.epoch)
        count, size = self._count - len(reader.under_way), self._size - reader.size
        reader.mail = False
        mails = await self._store.collect(reader.session.key, reader.mail_after, count, size)
        if reader.gone:
            return
        now = self._now() * 1000
        for mail in mails:
            reader.mail_after = mail.number
            if mail.number in reader.under_way or mail.number in self._unsettled.get(reader.session.key, ()):
                continue
            if mail.expires > now:  # the tick ends the others as expired
                reader.push(mail.number, len(mail.envelope))
                reader.session.tell(Mail(mail.number, mail.sender, mail.envelope))
        reader.mail |= bool(mails)  # only an empty answer is the end: the size may cut one short

    def _end(self, key: bytes, numbers: list[int], state: str) -> None:
        self._store.end(key, numbers, state).add_done_callback(partial(self._settled, key, numbers, state))

    def _settled(self, key: bytes, numbers: list[int], state: str, future: asyncio.Future[list[Note]]) -> None:
        self._settling.discard(key)
        if future.cancelled():
            return
        if future.exception() is not None:
            self._metrics.store_errors += 1
            if sum(map(len, self._unsettled.values())) + len(numbers) <= MOST_UNSETTLED:
                self._unsettled.setdefault(key, {}).update(dict.fromkeys(numbers, state))
            return
        if (unsettled := self._unsettled.get(key)) is not None:
            for number in numbers:
                unsettled.pop(number, None)
            if not unsettled:
                del self._unsettled[key]
        if log.isEnabledFor(logging.DEBUG):
            name = sign_id_of(key)
            log.debug("%d envelopes for %s are %s", len(numbers), name, state or "taken", extra={"peer": name})
        if not state:
            self._metrics.ended["delivered"] += len(numbers)
        self._on_ended(key, numbers, future.result())

    def _fail(self, reader: "_Reader") -> None:
        if not reader.gone:
            self._failed.add(reader.session.key)


class _Reader:
    """What one session has been told, and what may be in the store for it."""

    __slots__ = (
        "epoch", "gone", "mail", "mail_after", "note_after", "notes", "reading", "session", "size", "told", "under_way"
    )  # fmt: skip

    def __init__(self, session: RelaySession) -> None:
        self.session = session
        self.mail = self.notes = True  # whether there may be more in the store
        self.mail_after = self.note_after = 0
        self.epoch = ""
        self.under_way: dict[int, int] = {}  # number of mail -> size
        self.size = 0
        self.told: list[int] = []  # numbers of notes, in order
        self.reading = self.gone = False

    def begin(self, epoch: str) -> None:
        """Read all anew when the store has another epoch than before; what is under way is not handed out twice."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.mail_after = self.note_after = 0
            self.told.clear()

    def wants_notes(self) -> bool:
        return self.notes and len(self.told) <= NOTES_WINDOW // 2

    def wants_mail(self, count: int, size: int) -> bool:
        """Whether to read mail: half of the window is free, as a read for every acknowledgement would be a waste."""
        return self.mail and len(self.under_way) * 2 <= count and self.size * 2 <= size

    def push(self, number: int, size: int) -> None:
        self.under_way[number] = size
        self.size += size

    def settle(self, number: int) -> bool:
        size = self.under_way.pop(number, None)
        self.size -= size or 0
        return size is not None

    def note(self, upto: int) -> int:
        """Forget the notes up to ``upto``; return the highest that was told, 0 for none."""
        count = bisect_right(self.told, upto)
        highest = self.told[count - 1] if count else 0
        del self.told[:count]
        return highest


def _ignore(future: asyncio.Future[None]) -> None:
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
