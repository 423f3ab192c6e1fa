"""Forwards mail to another relay: the content of that relay's box, in order, by a window.

An envelope leaves the box when the other relay says that it has stored it; after a kill in between it is sent again,
and the other relay knows its name. An envelope that finds no room there waits, and only the mail of the same sender to
the same recipient waits with it. Notes of mail that came from the other relay go back the same way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.stores.contract import MailStore, Note, StoredEnvelope
from mm_transports.relay.protocol.items import Declined, Deposit, Ended, Forwarded, Noted, RoomAgain, Stored
from mmplatform.errors import StorageError, Unreachable
from mmplatform.text import escaped

WINDOW_COUNT: Final = 256  # envelopes under way
WINDOW_BYTES: Final = 4 * 1024 * 1024  # bytes of envelopes under way
NOTES_WINDOW: Final = 256  # notes under way
PATIENCE: Final = 30.0  # seconds without an answer, while something is under way, that end the connection
SHORTEST_HOLD, LONGEST_HOLD = 2.0, 300.0  # seconds that a pair waits after the other relay had no room
SLACK: Final = 1.0  # seconds within which holds end together: at each end the box is read anew
HOLDS: Final = 4096  # pairs that wait
AGAIN: Final = 5.0  # seconds until the store is tried again after a failure
TEMPORARY: Final = ("overflow", "quota", "storage", "unreachable")
STATES: Final = {"overflow": "overflow", "quota": "overflow", "expired": "expired"}  # by reason; others are "refused"

_Pair = tuple[bytes, bytes]  # sender and recipient
_Name = tuple[bytes, bytes, bytes]  # sender, recipient and id

log = logging.getLogger("mm_relay.federation")


class Forwarder:
    """Forwards one box. ``tell`` sends an item to the other relay; ``ended`` gets the notes of what ended here."""

    def __init__(
        self,
        own: bytes,
        box: bytes,
        store: MailStore,
        now: Callable[[], float],
        metrics: Metrics,
        tell: Callable[[Forwarded], bool],
        ended: Callable[[bytes, list[Note]], None],
    ) -> None:
        self._own, self._box, self._store, self._now, self._metrics = own, box, store, now, metrics
        self._tell, self._on_ended = tell, ended
        self._changed = asyncio.Event()
        self._begin()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing waits, as far as is known."""
        return self._read_all and not (self._changed.is_set() or self._under_way or self._told or self._holds)

    def wake(self) -> None:
        """Look into the box: it has something new."""
        self._changed.set()

    async def run(self, keep: Callable[[], Awaitable[bool]], every: float) -> None:
        """Forward until ``keep``, asked ``every`` so many seconds, says that another process does.

        Raises Unreachable when the other relay stops answering.
        """
        self._begin()
        while await keep():
            renew = self._clock() + every
            while (wait := min(renew, self._deadline()) - self._clock()) > 0:
                self._changed.clear()
                await self._send()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, max(0.0, self._next_hold() - self._clock()))):
                        await self._changed.wait()
                self._release()
            if self._overdue():
                raise Unreachable(f"the relay has not answered for {PATIENCE:.0f} s")

    def said(self, forwarded: Forwarded) -> None:
        """Handle an answer of the other relay."""
        match forwarded.inner:
            case Stored(peer=peer, id=name):
                self._settle((forwarded.target, peer, name), "")
            case Declined(peer=peer, id=name, reason=reason, retry=retry):
                log.debug("another relay declines mail: %s", escaped(reason))
                if retry and reason in TEMPORARY:
                    self._hold((forwarded.target, peer, name), retry / 1000)
                else:
                    self._settle((forwarded.target, peer, name), STATES.get(reason, "refused"))
            case RoomAgain(peer=peer):
                self._let_go((forwarded.target, peer))
            case Noted(number=number):
                self._noted(number)
            case _:
                pass

    # What is under way.

    def _begin(self) -> None:
        self._epoch = self._store.epoch
        self._cursor = self._note_cursor = 0
        self._under_way: dict[_Name, tuple[int, int]] = {}  # -> number and size
        self._size = 0
        self._told: deque[int] = deque()
        self._holds: dict[_Pair, float] = {}  # -> until
        self._held_from = 0  # the lowest number that was passed over because of a hold, 0 for none
        self._rescan_at = 0.0
        self._ends: dict[str, list[int]] = {}  # state -> numbers
        self._ending: set[int] = set()
        self._heard = self._clock()
        self._read_all = False
        self._changed.set()

    async def _send(self) -> None:
        if self._epoch != self._store.epoch:
            self._begin()  # the other relay knows by their names what comes twice
            self._changed.clear()
        self._read_all = False
        try:
            await self._send_notes()
            await self._send_mail()
            self._read_all = not self._rescan_at
        except StorageError:
            self._metrics.store_errors += 1
            self._rescan_at = self._clock() + AGAIN

    async def _send_mail(self) -> None:
        while len(self._under_way) < WINDOW_COUNT and (room := WINDOW_BYTES - self._size) > 0:
            count = WINDOW_COUNT - len(self._under_way)
            mails = await self._store.collect(self._box, self._cursor, count, room)
            if not mails:
                return
            for mail in mails:
                self._cursor = mail.number
                self._forward(mail)

    def _forward(self, mail: StoredEnvelope) -> None:
        name = (mail.sender, mail.target, mail.id)
        if name in self._under_way or mail.number in self._ending or mail.expires <= self._now() * 1000:
            return
        if name[:2] in self._holds:
            self._held_from = min(self._held_from or mail.number, mail.number)
            return
        self._expect()
        self._under_way[name] = (mail.number, len(mail.envelope))
        self._size += len(mail.envelope)
        self._tell(Forwarded(mail.sender, mail.target, Deposit(mail.target, mail.id, mail.expires, mail.envelope)))

    async def _send_notes(self) -> None:
        while (count := NOTES_WINDOW - len(self._told)) > 0:
            notes = await self._store.notes(self._box, self._note_cursor, count)
            for note in notes:
                self._expect()
                self._note_cursor = note.number
                self._told.append(note.number)
                said = Ended(note.number, note.target, note.id, note.state)
                self._tell(Forwarded(self._own, note.sender, said))
            if len(notes) < count:
                return

    def _settle(self, name: _Name, state: str) -> None:
        number = self._answered(name)
        if number:
            if not self._ends:
                asyncio.get_running_loop().call_soon(self._end)
            self._ends.setdefault(state, []).append(number)
            self._ending.add(number)

    def _end(self) -> None:
        """End all envelopes that were answered in one loop turn in one step of the store."""
        ends, self._ends = self._ends, {}
        for state, numbers in ends.items():
            self._metrics.ended["forwarded"] += 0 if state else len(numbers)
            self._store.end(self._box, numbers, state).add_done_callback(partial(self._ended, numbers))

    def _ended(self, numbers: list[int], future: asyncio.Future[list[Note]]) -> None:
        self._ending.difference_update(numbers)
        if future.cancelled() or future.exception() is not None:
            self._rescan_at = self._clock() + AGAIN
        else:
            self._on_ended(self._box, future.result())

    def _answered(self, name: _Name) -> int:
        number, size = self._under_way.pop(name, (0, 0))
        self._size -= size
        self._heard = self._clock()
        self._changed.set()
        return number

    def _noted(self, upto: int) -> None:
        highest = 0
        while self._told and self._told[0] <= upto:
            highest = self._told.popleft()
        self._heard = self._clock()
        if highest:
            forgotten = self._store.forget_notes(self._box, highest)  # a note whose deletion fails is told again
            forgotten.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._changed.set()

    # What waits for room.

    def _hold(self, name: _Name, seconds: float) -> None:
        number = self._answered(name)
        if not number:
            return
        self._holds[name[:2]] = self._clock() + min(max(seconds, SHORTEST_HOLD), LONGEST_HOLD)
        self._held_from = min(self._held_from or number, number)
        if len(self._holds) > HOLDS:
            self._let_go(next(iter(self._holds)))

    def _let_go(self, pair: _Pair) -> None:
        if self._holds.pop(pair, None) is not None:
            self._rescan()

    def _release(self) -> None:
        now = self._clock()
        for pair in [pair for pair, until in self._holds.items() if until <= now + SLACK]:
            self._let_go(pair)
        if 0 < self._rescan_at <= now:
            self._rescan_at, self._held_from = 0.0, 1
            self._rescan()

    def _rescan(self) -> None:
        """Read the box anew from the lowest number that waits; envelopes on hold or under way are passed over."""
        if self._held_from:
            self._cursor, self._held_from = min(self._cursor, self._held_from - 1), 0
            self._changed.set()

    # Time.

    def _expect(self) -> None:
        if not (self._under_way or self._told):
            self._heard = self._clock()

    def _deadline(self) -> float:
        return self._heard + PATIENCE if self._under_way or self._told else float("inf")

    def _overdue(self) -> bool:
        return self._deadline() <= self._clock()

    def _next_hold(self) -> float:
        hold = min(self._holds.values(), default=float("inf"))
        return min(hold, self._rescan_at or hold)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
