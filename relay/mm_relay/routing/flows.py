"""What waits for those who are slow: one queue a pair, drained in turn, within bounds. Pure.

A :class:`Seat` is one session, lane or process. A :class:`Pair` is what one source says to one target, from the seat
that brings it to the seat by which it leaves. As long as nothing waits a frame passes without touching this file.
Bytes that wait count three times: for the seat that brought them, for the seat they wait for, and for the whole relay.
Above half of a bound sources are told to pause; above it the largest pairs of whoever is over give way.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from mm_relay.ports import Session
from mm_transports.relay.protocol.items import PEER, RELAY, Carried, Data, Item, Open, Said

OVERHEAD: Final = 256  # bytes a queued item takes beside its content
QUANTUM: Final = 16 * 1024  # bytes a pair may say before the next one of the same seat has its turn
HERE: Final = 1  # who asked for a pause: this router,
THERE: Final = 2  # or the relay or process that is next on the way

Key = bytes | tuple[bytes, bytes]  # the other side of a peer; source and target where a seat speaks for many
Link = tuple[Key, int]


class Bounds(NamedTuple):
    """Bytes that may wait."""

    pause: int = 256 * 1024  # of a pair before its source is told to pause; to go on at a quarter of it
    pair: int = 8 * 1024 * 1024  # of a pair; only who ignores the pause gets there
    peer: int = 32 * 1024 * 1024  # brought by one peer
    relay: int = 64 * 1024 * 1024  # brought by one other relay
    seat: int = 64 * 1024 * 1024  # for one seat
    total: int = 512 * 1024 * 1024


class Seat:
    """Where one session sits: the pairs it brings, and what waits for it."""

    __slots__ = (
        "by_link", "detours", "heard", "held", "incoming", "is_lane", "is_peer", "key", "over", "owed",
        "pairs", "process", "ring", "session", "unread", "void", "watches",
    )  # fmt: skip

    def __init__(self, session: Session, process: str = "") -> None:
        """``process``: it stands for one of the fleet, which is trusted."""
        self.session, self.key, self.process = session, session.key, process
        self.is_peer, self.is_lane = session.role == PEER, False
        self.void = isinstance(session, Void)
        self.over = False  # the session has ended
        self.pairs: dict[Key, Pair] = {}  # what it says, by whom it says it to
        self.by_link: dict[Link, tuple[Pair, Seat]] = {}  # single links that go another way, and whose doing that is
        self.detours: dict[tuple[Seat, Link], None] = {}  # entries in the ``by_link`` of others it is the cause of
        self.heard: dict[Key, Seat] = {}  # by which seat it has first heard of somebody: the way back
        self.incoming: dict[tuple[Seat, bytes, bytes], Pair] = {}  # what is said to it
        self.ring: deque[Pair] = deque()  # those of them in which something waits, the next in turn first
        self.held = 0  # bytes that wait for it
        self.owed = 0  # bytes it brought that wait anywhere
        self.unread = 0  # items of the relay's own it was told since it was last writable
        self.watches: dict[tuple[bytes, bytes], None] = {}  # who would like to know whom present

    def key_to(self, source: bytes, target: bytes) -> Key:
        """Where ``pairs`` has what ``source`` says to ``target``."""
        return target if self.is_peer else (source, target)


class Pair:
    """``uses`` counts the entries of ``pairs`` and ``by_link`` that lead here: at 0 nothing more can come. ``chosen``:
    its source has opened links by it, so it believes what is said of the target there."""

    __slots__ = (
        "chosen",
        "credit",
        "items",
        "outlet",
        "paused",
        "payer",
        "resume_at",
        "size",
        "source",
        "target",
        "uses",
    )

    def __init__(self, source: bytes, target: bytes, payer: Seat, outlet: Seat) -> None:
        self.source, self.target, self.payer, self.outlet = source, target, payer, outlet
        self.items: deque[Said] = deque()
        self.size = 0
        self.credit = 0
        self.paused = 0
        self.resume_at = 0
        self.uses = 0
        self.chosen = False

    def wrap(self, item: Said) -> Item:
        """As the session at the outlet is told it."""
        return item if self.outlet.is_peer else Carried(self.source, self.target, item)


class Queues:
    """All that waits in one router."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a constant
        self.bounds = bounds
        self.size = 0
        self.count = 0
        self._waiting: dict[Pair, None] = {}

    def put(self, pair: Pair, item: Said) -> list[Pair]:
        """Queue it; the pairs that must give way now (usually none), to be cleared and shut."""
        if not pair.items:
            self._enter(pair)
        size = cost(item)
        pair.items.append(item)
        self.count += 1
        self._count(pair, size)
        return self._too_much(pair)

    def take(self, seat: Seat) -> tuple[Pair, Said]:
        """What the seat is to be told next; its ring is not empty.

        Pairs have their turns by bytes: one with large frames gets no more than one with small ones.
        """
        ring = seat.ring
        pair = ring[0]
        while pair.credit < (size := cost(pair.items[0])):
            pair.credit += QUANTUM
            ring.rotate(-1)
            pair = ring[0]
        item = pair.items.popleft()
        pair.credit -= size
        self.count -= 1
        self._count(pair, -size)
        if not pair.items:
            ring.popleft()
            pair.credit = 0
            del self._waiting[pair]
        return pair, item

    def clear(self, pair: Pair) -> list[Said]:
        """Drop what waits in it."""
        items = list(pair.items)
        if items:
            self._leave(pair)
            self.count -= len(items)
            self._count(pair, -pair.size)
            pair.items.clear()
        return items

    def move(self, pair: Pair, payer: Seat, outlet: Seat) -> None:
        """From now on others bring it or are told it; what waits in it goes with it, in order."""
        size = pair.size
        if size:
            self._leave(pair)
            self._count(pair, -size)
        pair.outlet.incoming.pop((pair.payer, pair.source, pair.target), None)
        pair.payer, pair.outlet = payer, outlet
        outlet.incoming[payer, pair.source, pair.target] = pair
        if size:
            self._enter(pair)
            self._count(pair, size)

    def crowded(self, pair: Pair) -> bool:
        """Whether its source should pause."""
        bounds = self.bounds
        return (
            pair.size > bounds.pause
            or pair.payer.owed * 2 > self._allowance(pair.payer)
            or pair.outlet.held * 2 > bounds.seat
            or self.size * 2 > bounds.total
        )

    def _too_much(self, pair: Pair) -> list[Pair]:
        bounds, payer, outlet = self.bounds, pair.payer, pair.outlet
        if pair.size > bounds.pair:
            return [pair]
        if (over := payer.owed - self._allowance(payer)) > 0:
            return _largest((each for each in self._waiting if each.payer is payer), over + payer.owed // 8)
        if (over := outlet.held - bounds.seat) > 0:
            return _largest(outlet.ring, over + outlet.held // 8)
        if (over := self.size - bounds.total) > 0:
            owner = max((each.payer for each in self._waiting), key=lambda seat: seat.owed)
            return _largest((each for each in self._waiting if each.payer is owner), over + self.size // 8)
        return []

    def _allowance(self, payer: Seat) -> int:
        if payer.process:
            return self.bounds.total  # it has bounds of its own
        return self.bounds.peer if payer.is_peer else self.bounds.relay

    def _enter(self, pair: Pair) -> None:
        pair.outlet.ring.append(pair)
        self._waiting[pair] = None

    def _leave(self, pair: Pair) -> None:
        pair.outlet.ring.remove(pair)
        pair.credit = 0
        del self._waiting[pair]

    def _count(self, pair: Pair, size: int) -> None:
        pair.size += size
        pair.payer.owed += size
        pair.outlet.held += size
        self.size += size


def cost(item: Said) -> int:
    """Bytes of memory, roughly."""
    return len(item.data) + OVERHEAD if isinstance(item, (Data, Open)) else OVERHEAD


def _largest(pairs: Iterable[Pair], enough: int) -> list[Pair]:
    """The fewest that hold ``enough`` bytes together: an eighth more than is due, so that it is not soon due again."""
    chosen: list[Pair] = []
    for pair in sorted(pairs, key=lambda pair: -pair.size):
        if enough <= 0:
            break
        chosen.append(pair)
        enough -= pair.size
    return chosen


class Void:
    """A session that takes nothing, for peers that are being looked for and those that have left.

    Always full: what is for it waits in its queues.
    """

    key = b""
    role = RELAY
    address = ""
    full = True

    def tell(self, item: Item) -> None:
        """Nobody is there."""

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Nobody is there."""
