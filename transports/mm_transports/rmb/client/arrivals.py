"""What comes for a twin: nothing of it counts before its source was looked up and its signature was checked.

Envelopes of one twin stay in order. Those of twins that are not known wait for the registry, bounded in number and
bytes; while it is away, few of each, so that a stranger does not fill what relays hand over at a time.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.opening import end_of, is_for, is_signed, payload_of
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.client.repeats import Repeats
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mmplatform.errors import InvalidRecord, Unreachable

SEEKERS: Final = 16  # twins that are looked up side by side
UNKNOWN: Final = 1024  # twins that wait for that
UNKNOWN_OF_ONE: Final = 4096  # envelopes of one of them
UNKNOWN_WHILE_AWAY: Final = 64  # the same while the registry is away: a relay hands over few at a time
UNKNOWN_BYTES: Final = 16 * 1024 * 1024  # of all of them
OVERHEAD: Final = 1024  # bytes that an envelope takes in memory beside those on the wire, roughly
SEEK_AGAIN: Final = 5.0  # seconds until a registry that was away is asked again

Taken = Callable[[], None]


class Uses(Protocol):
    """The endpoint that envelopes come for."""

    def received(self, received: ReceivedEnvelope) -> None:
        """Take what was checked."""

    def repeated(self, source: TwinAddress, uid: str) -> None:
        """Take note that a request that was dealt with came again."""

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        """Answer a request that its source has signed."""

    def work(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run ``coroutine`` until the endpoint closes."""


class _Waiting(NamedTuple):
    envelope: RmbEnvelope
    size: int
    taken: Taken


class EnvelopeArrivals:
    """What comes for the twin ``at``; ``plain``: whether payloads need not be encrypted; ``now`` gives Unix seconds."""

    def __init__(
        self, at: TwinAddress, uses: Uses, registry: CachedRegistry, payloads: PayloadKeys, plain: bool,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._at, self._uses, self._registry, self._payloads = at, uses, registry, payloads
        self._plain, self._now = plain, now
        self._repeats = Repeats()
        self._unknown: OrderedDict[int, deque[_Waiting]] = OrderedDict()  # those that are sought, and that wait for it
        self._unsought: deque[int] = deque()
        self._size = self._seekers = 0
        self._most = UNKNOWN_OF_ONE
        self.dropped: Counter[str] = Counter()
        """What did not reach the application, by reason."""

    @property
    def repeats(self) -> int:
        """How many came again."""
        return self._repeats.count

    def heard(self, envelope: RmbEnvelope, size: int, taken: Taken) -> None:
        """Deal with an envelope that names its source."""
        assert envelope.source is not None
        number = envelope.source.twin
        if not envelope.signature:
            self._drop(taken, "forged")  # no key of any twin fits: it is not worth a look-up
            return
        if number not in self._unknown:
            twin = self._registry.remembered(number)
            if twin is not None and self._opened(envelope, taken, twin, last=False):
                return
        self._seek_later(number, _Waiting(envelope, size + OVERHEAD, taken))

    # Checks.

    def _opened(self, envelope: RmbEnvelope, taken: Taken, twin: TwinInfo, *, last: bool) -> bool:
        """Hand over what is good, drop what is not; return False when ``twin`` may be outdated, unless it is the
        ``last`` that can be had."""
        source, uid = envelope.source, envelope.uid
        assert source is not None
        if not is_signed(envelope, twin):
            if last:
                self._drop(taken, "forged")  # and is not answered: whoever is named as its source did not send it
            return last
        if not is_for(envelope, self._at):
            self._drop(taken, "misdirected")
            return True
        name, now = (source.twin, uid, type(envelope.message).__name__), int(self._now())
        try:
            end = end_of(envelope, now)
        except TwinError as error:
            if name not in self._repeats:  # of those the first is, or was, answered
                self._refuse(envelope, error)
            self._drop(taken, "expired")
            return True
        if not self._repeats.first(name, now, taken):
            if isinstance(envelope.message, RmbRequest):
                self._uses.repeated(source, uid)
            return True
        try:
            payload = payload_of(envelope, twin, self._payloads, plain=self._plain)
        except TwinError as error:
            self._repeats.again(name)
            if last:
                self._refuse(envelope, error)
                self._drop(taken, "unreadable")
            return last
        self._uses.received(
            ReceivedEnvelope(
                envelope.message, source, twin.account, uid, payload, envelope.schema or "", envelope.tags or "", end,
                envelope.cipher is not None, lambda: self._repeats.done(name, end, int(self._now())),
            )
        )  # fmt: skip
        return True

    def _refuse(self, envelope: RmbEnvelope, error: TwinError) -> None:
        if isinstance(envelope.message, RmbRequest):
            assert envelope.source is not None
            self._uses.refuse(envelope.source, envelope.uid, error)

    def _drop(self, taken: Taken, reason: str) -> None:
        self.dropped[reason] += 1
        taken()

    # Twins that are not known.

    def _seek_later(self, number: int, waiting: _Waiting) -> None:
        queue = self._unknown.get(number)
        if self._size + waiting.size > UNKNOWN_BYTES or (queue is not None and len(queue) >= self._most):
            self._drop(waiting.taken, "unknown")
            return
        if queue is None:
            if len(self._unknown) >= UNKNOWN:
                self._drop(waiting.taken, "unknown")
                return
            queue = self._unknown[number] = deque()
            self._unsought.append(number)
        queue.append(waiting)
        self._size += waiting.size
        if self._unsought and self._seekers < SEEKERS:
            self._seekers += 1
            self._uses.work(self._seek(), "mm rmb look-up")

    async def _seek(self) -> None:
        """Look twins up, and deal with what they have sent, until nobody waits."""
        try:
            while self._unsought:
                number = self._unsought.popleft()
                try:
                    await self._sought(number)
                    self._most = UNKNOWN_OF_ONE
                except (Unreachable, InvalidRecord):
                    self._most = UNKNOWN_WHILE_AWAY
                    self._drop_some(number)
                    if number in self._unknown:
                        self._unsought.append(number)
                    await asyncio.sleep(SEEK_AGAIN)
        finally:
            self._seekers -= 1

    async def _sought(self, number: int) -> None:
        """Deal with what a twin has sent; by its newest keys, where others do not fit."""
        queue = self._unknown[number]
        twin, newest = await self._registry.find(number), False
        while queue:
            waiting = queue[0]
            done = twin is not None and self._opened(waiting.envelope, waiting.taken, twin, last=newest)
            if not done and not newest:
                twin, newest = await self._registry.find_newer(number), True
                continue
            self._leave(queue)
            if not done:
                self._drop(waiting.taken, "unknown")  # there is no such twin
        del self._unknown[number]

    def _drop_some(self, number: int) -> None:
        """Drop what has ended, and what is too much to wait for a registry that is away."""
        now, queue = int(self._now()), self._unknown[number]
        while len(queue) > UNKNOWN_WHILE_AWAY:
            self._size -= queue[-1].size
            self._drop(queue.pop().taken, "unknown")
        while queue and queue[0].envelope.timestamp + queue[0].envelope.expiration <= now:
            self._drop(self._leave(queue).taken, "expired")
        if not queue:
            del self._unknown[number]

    def _leave(self, queue: deque[_Waiting]) -> _Waiting:
        self._size -= queue[0].size
        return queue.popleft()
