"""Leaves mail at one relay, and takes the mail that waits there for us.

After a reconnect the relay sends envelopes again. One that is in hand here is not given to the node twice; one that was
taken is reported as taken then. Nothing is kept on disk: the relay and the node have it all.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from mm_transports.relay.client import Client
from mm_transports.relay.protocol.items import (
    MAX_ITEMS,
    Declined,
    Deposit,
    Ended,
    Item,
    Mail,
    Noted,
    RoomAgain,
    Stored,
    Taken,
)
from mmplatform.errors import MailDeclined, MailHeldUp, MailUncertain, ProtocolError, Unreachable
from mmplatform.identity.keys import sign_id_of
from mmplatform.plugins.mail_carrier import MailHost
from mmplatform.text import escaped

ANSWER_TIMEOUT: Final = 30.0  # seconds in which the relay should have an envelope on its disk
MAX_PENDING_DEPOSITS: Final = 32
MAX_PENDING_BYTES: Final = 4 * 1024 * 1024  # bytes of deposits that wait for an answer, approximately
IN_HAND: Final = 4096  # envelopes for us that are not taken yet; a relay that sends more is hostile
IN_HAND_BYTES: Final = 64 * 1024 * 1024  # bytes of envelopes for us; a relay that sends more is hostile
REMEMBERED: Final = 4096  # taken envelopes, for when the relay did not hear that they were
TOLERATED: Final = 60.0  # seconds that the clock of the relay may differ before mail is dated by it
NEVER: Final = 2**53 - 1  # Unix milliseconds
STATES: Final = ("delivered", "expired", "refused", "overflow", "unknown")

Print = tuple[bytes, int, int]  # distinguishes envelopes of one number: a relay may have begun anew


class RelayMailClient:
    """The mail at the relay of ``client``; what comes for us goes to ``host``."""

    def __init__(self, client: Client, host: MailHost) -> None:
        self._client, self._host = client, host
        self._loop = asyncio.get_running_loop()
        self._deposits: dict[tuple[bytes, bytes], tuple[asyncio.Future[int], int, float]] = {}  # with size, since when
        self._deposit_bytes = 0
        self._turns: list[asyncio.Future[None]] = []
        self._in_hand: dict[int, Print] = {}
        self._in_hand_bytes = 0
        self._taken: OrderedDict[int, tuple[Print, bool]] = OrderedDict()
        self._untold: dict[bool, list[int]] = {True: [], False: []}
        self._noted = -1
        self._armed = False

    @property
    def idle(self) -> bool:
        """Whether no envelope is under way, either way."""
        return not (self._deposits or self._turns or self._in_hand)

    @property
    def unanswered(self) -> float:
        """For how many seconds the relay has not answered a deposit."""
        oldest = next(iter(self._deposits.values()), None)
        return self._loop.time() - oldest[2] if oldest is not None else 0.0

    async def deposit(self, peer: bytes, mail_id: bytes, expires: int, envelope: bytes, via: str) -> int:
        """Leave an envelope for ``peer``; return until when the relay keeps it, in Unix milliseconds.

        ``mail_id`` has 16 bytes; ``via`` is the address of the peer's relay when ours is to pass the envelope on.
        ``expires`` is by our clock, which may not be the relay's. Raises MailHeldUp, MailDeclined, MailUncertain or
        Unreachable.
        """
        limits = self._client.limits
        if limits is not None and 0 < limits.mail < len(envelope):
            raise MailDeclined("too-large")
        while self._client.full or self._crowded(len(envelope)):
            await self._turn()
        ahead = self._ahead()
        try:
            return await self._answer(Deposit(peer, mail_id, _dated(expires, ahead), envelope, via), ahead)
        except MailDeclined as error:
            if error.reason != "expired" or self._ahead() == ahead:
                raise
        ahead = self._ahead()  # known only since the relay has welcomed us
        return await self._answer(Deposit(peer, mail_id, _dated(expires, ahead), envelope, via), ahead)

    def said(self, item: Item) -> bool:
        """Handle an item of the relay; return False when it is not about mail. Raises ProtocolError."""
        match item:
            case Stored(peer=peer, id=mail_id, expires=expires, held_up=held_up):
                self._settle((peer, mail_id), MailHeldUp(expires) if held_up else expires)
            case Declined(peer=peer, id=mail_id, reason=reason, retry=retry):
                self._settle((peer, mail_id), MailDeclined(escaped(reason), retry / 1000))
            case RoomAgain(peer=peer):
                self._host.mail_welcome(sign_id_of(peer))
            case Ended():
                self._ended(item)
            case Mail():
                self._came(item)
            case _:
                return False
        return True

    def down(self, reason: str) -> None:
        """End the deposits that were not answered: the connection is lost, and they may be made again."""
        self._noted = -1
        for untold in self._untold.values():
            untold.clear()
        kind = MailUncertain if self._client.spoke else Unreachable
        for key in list(self._deposits):
            self._settle(key, kind(f"{self._client.address.text}: {reason}"))
        self.writable()

    def writable(self) -> None:
        """Wake the deposits that wait for their turn."""
        turns, self._turns = self._turns, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)

    # Leaving mail.

    async def _answer(self, deposit: Deposit, ahead: int) -> int:
        """Say a deposit that is dated ``ahead`` milliseconds later than by our clock; return what is answered."""
        key = (deposit.peer, deposit.id)
        if key not in self._deposits:
            if not self._client.tell(deposit):
                raise Unreachable(f"{self._client.address.text}: {self._client.reason}")
            self._deposits[key] = self._loop.create_future(), len(deposit.envelope), self._loop.time()
            self._deposit_bytes += len(deposit.envelope)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return _dated(min(deposit.expires, await asyncio.shield(self._deposits[key][0])), -ahead)
        except MailHeldUp as error:
            raise MailHeldUp(_dated(min(deposit.expires, error.until), -ahead)) from None
        except TimeoutError:
            unanswered = MailUncertain(f"{self._client.address.text}: no answer to a deposit")
            self._settle(key, unanswered)
            raise unanswered from None

    def _ahead(self) -> int:
        """Milliseconds that the clock of the relay is ahead of ours, when that is more than the way of a message."""
        return int(self._client.skew * 1000) if abs(self._client.skew) > TOLERATED else 0

    def _crowded(self, more: int) -> bool:
        return bool(self._deposits) and (
            len(self._deposits) >= MAX_PENDING_DEPOSITS or self._deposit_bytes + more > MAX_PENDING_BYTES
        )

    async def _turn(self) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        self._turns.append(turn)
        try:
            await turn
        finally:
            if turn in self._turns:
                self._turns.remove(turn)

    def _settle(self, key: tuple[bytes, bytes], result: int | Exception) -> None:
        answer, size, _ = self._deposits.pop(key, (None, 0, 0.0))
        if answer is None:
            return
        self._deposit_bytes -= size
        if isinstance(result, int):
            answer.set_result(result)
        else:
            answer.set_exception(result)
            answer.exception()  # mark as seen: its caller may have given up
        self.writable()

    def _ended(self, note: Ended) -> None:
        if note.state not in STATES:
            raise ProtocolError("bad-item", f"mail cannot end {note.state!r}")
        self._host.mail_finished(sign_id_of(note.peer), note.id, note.state)
        self._noted = max(self._noted, note.number)
        self._arm()

    # Taking mail.

    def _came(self, mail: Mail) -> None:
        number, size = mail.number, len(mail.envelope)
        found = (mail.peer, size, hash(mail.envelope))
        if self._in_hand.get(number) == found:
            return
        taken = self._taken.get(number)
        if taken is not None and taken[0] == found:
            self._tell(number, taken[1])
            return
        if len(self._in_hand) >= IN_HAND or self._in_hand_bytes + size > IN_HAND_BYTES:
            raise ProtocolError("flood", "more mail than this node asked for")
        self._in_hand[number] = found
        self._in_hand_bytes += size
        open_ones = [True]

        def done(good: bool) -> None:
            if open_ones:
                open_ones.clear()
                self._done(number, found, good)

        self._host.mail_received(mail.envelope, done)

    def _done(self, number: int, found: Print, good: bool) -> None:
        self._in_hand_bytes -= found[1]
        if self._in_hand.get(number) == found:
            del self._in_hand[number]
        self._taken[number] = found, good
        while len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)
        self._tell(number, good)

    def _tell(self, number: int, good: bool) -> None:
        """Report an envelope as taken at the end of the turn; while the relay is away, when it comes again."""
        if self._client.up:
            self._untold[good].append(number)
            self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._armed = False
        for good, numbers in self._untold.items():
            for start in range(0, len(numbers), MAX_ITEMS):
                self._client.tell(Taken(numbers[start : start + MAX_ITEMS], refused=not good))
            self._untold[good] = []
        if self._noted >= 0:
            self._client.tell(Noted(self._noted))
            self._noted = -1


def _dated(expires: int, ahead: int) -> int:
    return min(max(expires + ahead, 0), NEVER)
