"""What a twin sends: kept until a relay has confirmed it, sent again over another connection when one is lost.

It goes over the best relay that is connected: who failed lately comes last, and heals with time. What is on its way is
bounded in number and bytes; above, whoever sends waits. What no relay took in its time ends with Expired.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from mm_transports.rmb.client.asked import AskedRelays
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.ranks import Ranks
from mm_transports.rmb.client.twin_link import TwinLink
from mm_transports.rmb.client.unconfirmed import Sent
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbRequest
from mm_transports.rmb.protocol.stamps import stamp
from mmplatform.errors import Expired, NotRunning

WINDOW: Final = 4096  # envelopes on their way to a relay, above which ``send`` waits
WINDOW_BYTES: Final = 16 * 1024 * 1024
LOOK: Final = 1.0  # seconds between two looks at what ends, while anything is on its way


class Departures:
    """What one twin sends over its links.

    Args:
        links: By name; filled before anything is sent.
        sign: Signs an envelope and returns its bytes.
        told: Called with the uid of a request that a relay took, and why it will not be delivered.
        now: Gives Unix seconds.
        monotonic: Gives seconds that do not go back.

    """

    def __init__(
        self,
        links: Mapping[str, TwinLink],
        sign: Callable[[RmbEnvelope], bytes],
        told: Callable[[str, TwinError], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._links, self._sign, self._told = links, sign, told
        self._now, self._monotonic = now, monotonic
        self._ranks, self._asked = Ranks(), AskedRelays()
        self._best: TwinLink | None = None
        self._waiting: deque[Sent] = deque()  # no relay is connected
        self._count = self._size = 0  # of what is on its way
        self._room: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        """Whether nothing is sent any more."""

    async def put(self, envelope: RmbEnvelope) -> "asyncio.Future[None]":
        """Send an envelope as soon as there is room; return what is done when a relay has confirmed it.

        That raises TwinError (the relay answered with an error), Expired or NotRunning. Raises NotRunning, and
        InvalidPayload when the envelope cannot be encoded, Expired when there was no room in time.
        """
        raw = self._sign(envelope)
        waited = False
        while self._is_full(len(raw)) or (self._room and self._count and not waited and not self.closed):
            await self._room_again()
            waited = True
        if self.closed:
            raise NotRunning("the twin is not running")
        if waited:
            stamp(envelope, int(self._now()))
            if not envelope.expiration:
                raise Expired("no relay had room for it in time")
            raw = self._sign(envelope)
        done = self._begin(envelope, raw)
        if self._room and not self._is_full(0):
            self._wake(1)
        return done

    def ended(self, uid: str) -> None:
        """Take note that nobody waits for an answer to a request any more."""
        self._asked.ended(uid)

    async def drained(self) -> None:
        """Return when nothing is on its way."""
        if self._count:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    def close(self) -> None:
        """Give up what is on its way; links are closed before."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, deque()
        for sent in waiting:
            sent.done(NotRunning("the twin was stopped before a relay had this"))
        self._wake(len(self._room))

    # What links say.

    def up(self) -> None:
        self._choose()

    def failed(self, link: TwinLink) -> None:
        self._ranks.failed(link.name, self._monotonic())
        self._choose()

    def down(self, link: TwinLink, again: list[Sent]) -> None:
        self.failed(link)
        for sent in again:
            self._again(sent)

    def told(self, link: TwinLink, uid: str, error: RmbError) -> None:
        """Believe a relay what it says of an envelope that it was given, and nothing else."""
        refused = TwinError(error.code, error.message)
        if (sent := link.unconfirmed(uid)) is not None:
            if isinstance(sent.envelope.message, RmbRequest):
                self._asked.ended(uid)
            sent.done(refused)
        elif self._asked.has(uid, link.name):
            self._asked.ended(uid)
            self._told(uid, refused)

    # What goes.

    def _begin(self, envelope: RmbEnvelope, raw: bytes) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size, settled = len(raw), False

        def settle(error: Exception | None) -> None:
            nonlocal settled
            if settled:
                return
            settled = True
            self._count -= 1
            self._size -= size
            self._wake(1)
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # mark as seen: its caller may have given up already

        self._count += 1
        self._size += size
        end = envelope.timestamp + envelope.expiration
        self._put(Sent(envelope, end, settle, lambda: not settled and not done.cancelled()), raw)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)
        return done

    def _put(self, sent: Sent, raw: bytes) -> None:
        link = self._best
        if link is None or not link.connected:
            self._waiting.append(sent)
            return
        if isinstance(sent.envelope.message, RmbRequest):
            self._asked.sent(sent.envelope.uid, link.name)
        link.send(sent, raw)

    def _again(self, sent: Sent) -> None:
        """Send once more, stamped and signed anew, what may not have reached a relay."""
        if self._ends(sent):
            return
        if self._best is None or not self._best.connected:
            self._waiting.append(sent)
            return
        stamp(sent.envelope, int(self._now()))
        self._put(sent, self._sign(sent.envelope))

    def _ends(self, sent: Sent) -> bool:
        """Whether an envelope need not be sent any more."""
        if not sent.wanted():
            sent.done(None)
        elif sent.end <= self._now():
            sent.done(Expired("no relay has taken it in time"))
        else:
            return False
        return True

    def _choose(self) -> None:
        """Have the next envelopes go over the best link that is connected, those that wait first."""
        names = self._ranks.sorted(self._links, self._monotonic())
        self._best = next((self._links[name] for name in names if self._links[name].connected), None)
        if self._best is not None and self._waiting:
            waiting, self._waiting = self._waiting, deque()
            for sent in waiting:
                self._again(sent)

    def _look(self) -> None:
        """End what has taken too long; ranks heal."""
        self._choose()
        for link in self._links.values():
            link.look()
        self._waiting = deque(sent for sent in self._waiting if not self._ends(sent))
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look) if self._count else None

    # Room.

    def _is_full(self, size: int) -> bool:
        much = self._count >= WINDOW or self._size + size > WINDOW_BYTES
        return bool(self._count) and much and not self.closed

    async def _room_again(self) -> None:
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(room)
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self._wake(1)  # the next one is to have it
            raise

    def _wake(self, count: int) -> None:
        while self._room and count:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                count -= 1
        if not self._count:
            idle, self._idle = self._idle, []
            for waiter in idle:
                if not waiter.done():
                    waiter.set_result(None)
