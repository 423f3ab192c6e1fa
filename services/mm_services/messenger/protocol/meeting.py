"""A meeting: what one carrier does with one neighbour (docs/protocol/messenger.rst, "Meetings").

The side that chose the other begins: Meet, then Diff until both know what one has and the other has not. It pulls what
it lacks; each side pushes what the other lacks, and from then on what comes in. Small bundles go many at a time; of the
large ones one at a time goes block by block, between the small ones. A meeting ends when its task does; a request that
fails begins it anew after a pause.

No I/O here: the line to the neighbour, the carrier and the time are given.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.protocol.packets import (
    MAX_PACKET,
    MAX_PARCEL,
    MOST,
    Diff,
    Differs,
    Meet,
    Parcel,
    PullBlock,
    PullBundles,
    Pulled,
    PulledBlock,
    PushAnswer,
    PushAnswers,
    PushBlock,
    PushBundles,
    Reply,
    Request,
    Say,
)
from mm_services.messenger.protocol.reconcile import Difference, Reconciler
from mmplatform.errors import MMError, ProtocolError

FULL: Final = MAX_PACKET - MAX_PARCEL  # bytes of bundles that go in one packet; one more may come on top
AGAIN: Final = 300.0  # seconds after which stores are compared again: what was pushed may have been forgotten
SOON: Final = 1.0  # seconds, when one comparison could not find all
PAUSE: Final = 5.0  # seconds after a request that failed, at least; doubled each time
LONGEST_PAUSE: Final = 300.0
RETRY: Final = 10.0  # seconds until a bundle that was not taken is pushed again, at least
IDLE_ROUNDS: Final = 3  # of blocks after which a bundle that goes no further is pushed again later
FEW_BLOCKS: Final = 2  # blocks under way at a time: what a kill has sent again
MANY_BLOCKS: Final = 16  # where round trips are long
LONG_TRIP: Final = 0.02  # seconds


class Offered(NamedTuple):
    """What became of a bundle that was offered: its id, the bytes of its content, and the answer to who offered it."""

    id: bytes
    length: int
    answer: PushAnswer


class UnderWay(NamedTuple):
    """A large bundle that goes block by block: where the next one begins, and the bytes of its content."""

    id: bytes
    offset: int
    length: int


class Line(Protocol):
    """The connection to the neighbour."""

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Send requests together, and return their replies in order. Raises an MMError when one has none."""
        ...

    async def rest(self, until: float) -> None:
        """Return at ``until``, in Unix seconds, or once :meth:`wake` is called."""

    def wake(self) -> None:
        """End a rest."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        ...

    def random(self) -> float:
        """Return a number from 0 to below 1."""
        ...

    def salt(self) -> bytes:
        """Return 16 random bytes."""
        ...


class Stock(Protocol):
    """What the carrier has, for one neighbour."""

    def ids(self) -> bytes:
        """Return the ids of all bundles that are known, sorted and joined."""
        ...

    def introduction(self) -> Meet:
        """Return what we say of ourselves."""
        ...

    def introduced(self, meet: Meet) -> None:
        """Take note of what the neighbour says of itself."""

    def chosen(self, ids: Iterable[bytes]) -> list[tuple[bytes, int]]:
        """Return those of ``ids`` that go to the neighbour, the most urgent first, with the bytes of their content."""
        ...

    async def parcel(self, bundle: bytes) -> Parcel | None:
        """Return a bundle handed on to the neighbour, without its content when that is more than a block. None when
        it is not there any more, or not for the neighbour."""
        ...

    async def block(self, bundle: bytes, offset: int) -> bytes:
        """Return a block of a content; empty when it is not there any more."""
        ...

    def answered(self, bundle: bytes, answer: PushAnswer) -> None:
        """Take note of what became of a bundle at the neighbour."""

    async def offered(self, parcels: Sequence[Parcel]) -> list[Offered]:
        """Take bundles in from the neighbour; return what has become of each once it is on disk."""
        ...

    async def offered_block(self, bundle: bytes, offset: int, block: bytes) -> PushAnswer:
        """Take in a block of a bundle that GO_ON was answered for."""
        ...

    def failed(self, error: MMError) -> None:
        """Take note that the neighbour does not answer, or answers nonsense."""

    def reached(self) -> None:
        """Take note that the neighbour answers."""


class Meeting:
    """What is to be done with one neighbour.

    Args:
        line: the connection to it.
        stock: what we have, for it.
        begins: whether we chose it; else it begins, and we push what comes in later.

    """

    def __init__(self, line: Line, stock: Stock, begins: bool) -> None:
        self._line, self._stock, self.begins = line, stock, begins
        self._small: deque[bytes] = deque()
        self._large: deque[bytes] = deque()
        self._queued: dict[bytes, int] = {}  # in one of the two, or under way, or later: the bytes of their content
        self._later: list[tuple[float, bytes]] = []  # a heap
        self._tries: dict[bytes, int] = {}
        self._wanted: deque[bytes] = deque()
        self._pushing: UnderWay | None = None
        self._pulling: UnderWay | None = None
        self._idle_rounds = 0  # in which a large bundle went no further
        self._trip = 0.0
        self._compared = 0.0
        self._failures = 0
        self.met = False

    async def run(self) -> None:
        """Meet until cancelled."""
        while True:
            try:
                if self.begins:
                    await self._begin()
                while not self.begins or self._line.now() < self._compared + AGAIN:
                    await self._step()
            except MMError as error:
                self.met = False
                self._failures += 1
                self._stock.failed(error)
                self._put_back()
                pause = min(PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE) * (1 + self._line.random())
                until = self._line.now() + pause
                while self._line.now() < until and self._failures:
                    await self._line.rest(until)

    def add(self, ids: Iterable[bytes]) -> None:
        """Push these bundles, too, those of them that go to the neighbour."""
        for bundle, size in self._stock.chosen(each for each in ids if each not in self._queued):
            self._queued[bundle] = size
            (self._small if size <= BLOCK else self._large).append(bundle)
        self._line.wake()

    def asked(self, ids: Iterable[bytes]) -> None:
        """Leave large ones of these to the neighbour, which asks for them: else they go twice where both chose each
        other."""
        for bundle in ids:
            if self._queued.get(bundle, 0) <= BLOCK:
                continue
            del self._queued[bundle]
            if self._pushing is not None and self._pushing.id == bundle:
                self._pushing = None

    def back(self) -> None:
        """Try again at once: the neighbour is heard again."""
        self._failures = 0
        self._line.wake()

    # Inside.

    async def _begin(self) -> None:
        """Say who we are, and find out what one has and the other has not."""
        (meet,) = await self._ask([self._stock.introduction()])
        if not isinstance(meet, Meet):
            raise _odd(meet)
        self._stock.introduced(meet)
        self.met = True
        reconciler = Reconciler(self._stock.ids(), self._line.salt())
        step: bytes | Difference = reconciler.begin()
        while isinstance(step, bytes):
            (reply,) = await self._ask([Diff(step)])
            if not isinstance(reply, Differs):
                raise _odd(reply)
            step = reconciler.heard(reply.data)
        self._compared = self._line.now() if step.complete else self._line.now() - AGAIN + SOON
        self._wanted = deque(step.lacking)
        self.add(step.missing)

    async def _step(self) -> None:
        """Do one thing of each kind that is to be done; rest when there is none."""
        now = self._line.now()
        while self._later and self._later[0][0] <= now:
            bundle = heapq.heappop(self._later)[1]
            if self._queued.pop(bundle, None) is not None:
                self.add([bundle])
        busy = False
        if self._pulling is not None or self._wanted:  # first: what is asked for is not pushed from there as well
            await self._pull()
            busy = True
        if self._small:
            await self._push_small()
            busy = True
        if self._pushing is not None or self._large:
            await self._push_large()
            busy = True
        if busy or self.begins:  # all that was asked was answered, not just the greeting
            self._failures = 0
            self._stock.reached()
        if not busy:
            compare = self._compared + AGAIN if self.begins else now + AGAIN
            await self._line.rest(min(compare, self._later[0][0]) if self._later else compare)

    async def _push_small(self) -> None:
        ids: list[bytes] = []
        parcels: list[Parcel] = []
        size = 0
        while self._small and len(ids) < MOST and size < FULL:
            bundle = self._small.popleft()
            parcel = await self._stock.parcel(bundle) if bundle in self._queued else None
            if parcel is None:
                self._queued.pop(bundle, None)
                continue
            ids.append(bundle)
            parcels.append(parcel)
            size += len(parcel.header) + len(parcel.content) + len(parcel.hashes) + 104 * len(parcel.hops) + 64
        if parcels:
            for bundle, answer in zip(ids, await self._push(parcels), strict=True):
                self._took(bundle, answer)

    async def _push_large(self) -> None:
        if self._pushing is None:
            bundle = self._large.popleft()
            parcel = await self._stock.parcel(bundle) if bundle in self._queued else None
            if parcel is None:
                self._queued.pop(bundle, None)
                return
            (answer,) = await self._push([parcel])
            self._go_on(bundle, answer)
            return
        bundle, offset, length = self._pushing
        offsets = range(offset, length, BLOCK)[: self._window()]
        blocks = [await self._stock.block(bundle, at) for at in offsets]
        if not all(blocks):
            self._pushing = None
            self._queued.pop(bundle, None)
            return
        packets = [PushBlock(bundle, at, block) for at, block in zip(offsets, blocks, strict=True)]
        replies = await self._ask(packets)
        for reply in replies if self._pushing is not None else ():
            if not isinstance(reply, PushAnswers) or len(reply.answers) != 1:
                raise _odd(reply)
            if not self._go_on(bundle, reply.answers[0]):
                return
        if self._pushing is not None:
            self._idle_rounds = 0 if self._pushing.offset > offset else self._idle_rounds + 1
            if self._idle_rounds >= IDLE_ROUNDS:
                self._pushing, self._idle_rounds = None, 0
                self._took(bundle, PushAnswer(Say.BUSY))

    def _go_on(self, bundle: bytes, answer: PushAnswer) -> bool:
        """Take note of an answer about a large bundle; return whether more of it is to be pushed."""
        self._pushing = _next(bundle, self._queued.get(bundle, 0), answer)
        if self._pushing is None:
            self._took(bundle, answer if answer.say != Say.GO_ON else PushAnswer(Say.BUSY))
        return self._pushing is not None

    async def _push(self, parcels: list[Parcel]) -> list[PushAnswer]:
        (reply,) = await self._ask([PushBundles(parcels)])
        if not isinstance(reply, PushAnswers) or len(reply.answers) != len(parcels):
            raise _odd(reply)
        return reply.answers

    def _took(self, bundle: bytes, answer: PushAnswer) -> None:
        """Take note of what became of a bundle that was pushed; one that was not taken is pushed again later."""
        self._stock.answered(bundle, answer)
        if Say(answer.say).final:
            self._queued.pop(bundle, None)
            self._tries.pop(bundle, None)
            return
        tries = self._tries[bundle] = self._tries.get(bundle, 0) + 1
        pause = max(answer.value / 1000, min(RETRY * 2 ** min(tries - 1, 8), LONGEST_PAUSE) * (1 + self._line.random()))
        if answer.say in (Say.BUSY, Say.RATE) and answer.value:
            named = answer.value / 1000
            if answer.say == Say.RATE:  # named is when one more is taken, and hundreds wait for that
                named = max(named, min(named * 2 ** min(tries - 1, 16), LONGEST_PAUSE))
            pause = named * (1 + self._line.random() / 4)
        heapq.heappush(self._later, (self._line.now() + pause, bundle))

    async def _pull(self) -> None:
        if self._pulling is not None:
            await self._pull_blocks(*self._pulling)
            return
        ids = [self._wanted.popleft() for _ in range(min(MOST, len(self._wanted)))]
        (reply,) = await self._ask([PullBundles(ids)])
        if not isinstance(reply, Pulled) or reply.left >= len(ids):
            raise _odd(reply)
        self._wanted.extendleft(reversed(ids[len(ids) - reply.left :]))
        for bundle, length, answer in await self._stock.offered(reply.parcels):
            if self._pulling is None:
                self._pulling = _next(bundle, length, answer)
            elif answer.say == Say.GO_ON:
                self._wanted.append(bundle)
            if answer.say == Say.BUSY:
                self._compare_soon()

    async def _pull_blocks(self, bundle: bytes, offset: int, length: int) -> None:
        self._pulling = None
        offsets = range(offset, length, BLOCK)[: self._window()]
        replies = await self._ask([PullBlock(bundle, at) for at in offsets])
        for at, reply in zip(offsets, replies, strict=True):
            if not isinstance(reply, PulledBlock):
                raise _odd(reply)
            if not reply.block:
                self._compare_soon()
                return
            answer = await self._stock.offered_block(bundle, at, reply.block)
            self._pulling = _next(bundle, length, answer)
            if self._pulling is None:
                if not Say(answer.say).final:
                    self._compare_soon()
                return

    def _compare_soon(self) -> None:
        """Find out again soon what is lacking: a pull came to nothing, and what is pulled is not pushed as well."""
        self._compared = min(self._compared, self._line.now() + RETRY - AGAIN)

    def _put_back(self) -> None:
        """Have what was under way pushed again once the neighbour answers."""
        queued = list(self._queued)
        self._small.clear()
        self._large.clear()
        self._later.clear()
        self._queued.clear()
        self._pushing = self._pulling = None
        if not self.begins:  # who begins compares anew
            self.add(queued)

    async def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        began = self._line.now()
        replies = await self._line.ask(requests)
        self._trip = self._line.now() - began
        return replies

    def _window(self) -> int:
        """Return how many blocks are under way at a time."""
        return FEW_BLOCKS if self._trip < LONG_TRIP else MANY_BLOCKS


def _next(bundle: bytes, length: int, answer: PushAnswer) -> UnderWay | None:
    """Return where a large bundle goes on, None when it does not."""
    if answer.say != Say.GO_ON or answer.value >= length or answer.value % BLOCK:
        return None
    return UnderWay(bundle, answer.value, length)


def _odd(reply: Reply) -> ProtocolError:
    return ProtocolError("bad-packet", f"a {type(reply).__name__} answers nothing that was asked")
