"""What waits for one peer: a queue a priority, with its rows on disk and its front in memory."""

import asyncio
import secrets
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple
from weakref import ReferenceType

from mmplatform.delivery.letters import Letters
from mmplatform.delivery.outgoing_stream import NEVER
from mmplatform.delivery.sender import Sender
from mmplatform.delivery.wire import Ack, Record
from mmplatform.durable.rows import Row, first_of
from mmplatform.message import Delivery
from mmplatform.storage.contract import Row as StorageRow

READ_AGAIN: Final = 1.0  # seconds until rows that could not be read are looked up again, twice as many each time
DELIVERIES_SWEPT: Final = 16_384  # new Delivery objects of a lane after which those that nobody holds are forgotten
LAST: Final = b"\xff" * 8  # above the last number in the key of any row


class PeerQueue:
    """All that waits for one peer. ``save`` writes a row of its letters without waiting."""

    __slots__ = (
        "bytes", "emptied", "entering", "expiry_due", "greeted", "heard", "lanes", "letters", "linked", "peer",
        "sender", "why",
    )  # fmt: skip

    def __init__(self, peer: str, save: Callable[[StorageRow], None]) -> None:
        self.peer = peer
        self.sender = Sender()
        self.letters = Letters(peer, save, secrets.token_bytes)
        self.heard: dict[tuple[int, int], Ack] = {}  # acknowledgements of messages that are on disk only
        self.why = ""  # what keeps all mail to the peer back; empty when nothing does
        self.lanes = Lanes(peer)
        self.bytes = 0
        self.linked = False
        self.expiry_due = NEVER  # Unix milliseconds: when to look for messages that waited too long
        self.greeted = False  # whether the peer knows, or is about to be told, what it is to us
        self.entering: deque[Entering] = deque()  # senders that wait for room, in the order in which they came
        self.emptied: asyncio.Future[None] | None = None  # resolves when nothing waits

    @property
    def empty(self) -> bool:
        """Whether nothing waits for the peer."""
        return not any(lane.rows or lane.staged or lane.writing for lane in self.lanes)


class Entering:
    """A sender that waits for room."""

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken: asyncio.Future[None] | None = None

    async def woken(self) -> None:
        """Wait until :meth:`wake` is called."""
        self._woken = asyncio.get_running_loop().create_future()
        await self._woken

    def wake(self) -> None:
        """Let the sender look whether there is room for it."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class Lanes:
    """The lanes of one peer, each made when it is first used: most peers have one. Iterating gives them by priority."""

    __slots__ = ("_peer", "made")

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.made: dict[int, LaneQueue] = {}

    def __getitem__(self, lane: int) -> "LaneQueue":
        try:
            return self.made[lane]
        except KeyError:
            made = LaneQueue(self._peer, lane)
            self.made = dict(sorted([*self.made.items(), (lane, made)]))  # a new one: somebody may be iterating
            return made

    def __iter__(self) -> Iterator["LaneQueue"]:
        return iter(self.made.values())


class LaneQueue:
    """One lane of one peer: its rows in order; the first ``loaded`` of them are with the sender."""

    __slots__ = (
        "deliveries", "dropped", "drops", "lane", "loaded", "loader", "mailed", "messages", "next_seq", "pause", "peer",
        "pushed", "resident", "rows", "staged", "staged_bytes", "sweep_at", "too_large", "waiters", "why", "writing",
    )  # fmt: skip

    def __init__(self, peer: str, lane: int) -> None:
        self.peer, self.lane = peer, lane
        self.rows: deque[Row] = deque()  # in the order of their keys
        self.messages = 0  # in all rows
        self.loaded = 0
        self.resident = 0  # bytes of the loaded rows
        self.pushed: tuple[bytes, int] = (b"", 0)  # prefix of the last row given to the sender, and its last number
        self.loader: asyncio.Task[None] | None = None
        self.pause = READ_AGAIN
        self.next_seq = 1
        self.staged: list[Record] = []  # put in this loop turn
        self.staged_bytes = 0
        self.waiters: list[asyncio.Future[None]] = []  # resolve once the staged records are saved
        self.writing = 0  # transactions under way
        self.deliveries: dict[int, ReferenceType[Delivery]] = {}
        self.sweep_at = DELIVERIES_SWEPT
        self.why = ""  # what keeps the next message of this lane from being mailed; empty when nothing does
        self.too_large: tuple[int, int, int] = (0, 0, 0)  # epoch, number and bytes of a message that no letter holds
        self.dropped = 0  # rows that left ``rows`` at the front so far
        self.mailed = 0  # rows in letters, from the first one this lane ever had
        self.drops = 0  # letters that had been dropped when ``mailed`` was last counted

    def keeps(self, prefix: bytes, seq: int) -> bool:
        """Whether a message is in one of the rows that one run put here; ``prefix`` is that of their keys."""
        place = bisect_right(self.rows, prefix + seq.to_bytes(8) + LAST, key=_key) - 1
        if place < 0:
            return False
        row = self.rows[place]
        return row.key.startswith(prefix) and row.first <= seq <= row.last

    def add(self, row: Row) -> None:
        """Put a saved row behind all others."""
        self.rows.append(row)
        self.messages += row.last - row.first + 1

    def drop(self) -> None:
        """Forget the first row, which was loaded: all its messages are settled."""
        row = self.rows.popleft()
        self.messages -= row.last - row.first + 1
        self.dropped += 1
        self.loaded -= 1
        self.resident -= row.size

    def unread_holds(self, low: int, high: int) -> bool:
        """Whether a row that is to be read back holds a message of one of these numbers."""
        return any(row.first <= high and row.last >= low for row in islice(self.rows, self.loaded, None))

    def unread(self, limit: int) -> list[Row]:
        """Return the rows to read back next, in one look-up: as many as keep at most ``limit`` bytes in memory, but
        at least one as long as fewer bytes are there."""
        if self.resident >= limit:
            return []
        return first_of(islice(self.rows, self.loaded, None), limit - self.resident)

    def relayed(self, first: int, last: int, relayed: bool) -> None:
        """Tell the deliveries from ``first`` to ``last`` whether they are at a relay."""
        for seq in range(first, last + 1) if self.deliveries else ():
            held = self.deliveries.get(seq)
            delivery = held() if held is not None else None
            if delivery is not None:
                delivery.relayed = relayed

    def sweep(self) -> None:
        """Forget deliveries that nobody holds any more."""
        self.deliveries = {seq: held for seq, held in self.deliveries.items() if held() is not None}
        self.sweep_at = len(self.deliveries) + DELIVERIES_SWEPT

    def stop(self) -> None:
        """Tell whoever awaits a delivery that this node stops before the message ends."""
        for held in self.deliveries.values():
            delivery = held()
            if delivery is not None:
                delivery.stop()


def _key(row: Row) -> bytes:
    return row.key


class Saving(NamedTuple):
    """What one transaction saves of one lane, and its bytes."""

    lane_queue: LaneQueue
    size: int
    waiters: list[asyncio.Future[None]]
    parts: list[tuple[Row, list[Record]]]
