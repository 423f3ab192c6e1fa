"""Deficit round robin over flows: items for slow sessions wait in one queue a flow, within bounds. Pure.

An :class:`Attachment` is one session, federation link or process. A :class:`Flow` is all that one source says to one
target, from the attachment that brings it (ingress) to the attachment by which it leaves (egress). While nothing waits,
a frame passes without touching this file. Bytes that wait count four times: for the ingress, for the address it is at
(which has any number of keys), for the egress, and for the whole relay. Above half of a bound, sources are told to
pause; above the whole, the largest flows of who exceeds it are dropped.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from mm_relay.ports import RelaySession
from mm_transports.relay.protocol.items import PEER, RELAY, Data, Forwardable, Forwarded, Item, Open

OVERHEAD: Final = 256  # bytes that a queued item takes beside its content
QUANTUM: Final = 16 * 1024  # bytes that a flow may send before the next flow to the same attachment has its turn
HERE: Final = 1  # a pause that this router asked for
THERE: Final = 2  # a pause that the next relay or process on the way asked for

Key = bytes | tuple[bytes, bytes]  # the other side, at a peer; source and target, at an attachment of many peers
Link = tuple[Key, int]


class Bounds(NamedTuple):
    """Bytes that may wait."""

    pause: int = 256 * 1024  # of a flow before its source is told to pause; at a quarter it is told to go on
    flow: int = 8 * 1024 * 1024  # of a flow; only sources that ignore the pause get there
    peer: int = 8 * 1024 * 1024  # brought by one peer
    place: int = 12 * 1024 * 1024  # brought by all peers at one network address; the connections hold as much again
    relay: int = 32 * 1024 * 1024  # brought by one other relay
    attachment: int = 32 * 1024 * 1024  # waiting for one attachment
    total: int = 512 * 1024 * 1024  # of the whole relay


class Attachment:
    """One session in the router: the flows it brings, and the items that wait for it."""

    __slots__ = (
        "active", "by_link", "bytes_brought", "bytes_waiting", "detours", "flows", "heard", "incoming",
        "is_federation_link", "is_null", "is_peer", "key", "over", "process", "session", "unread", "watches",
    )  # fmt: skip

    def __init__(self, session: RelaySession, process: str = "") -> None:
        """Make an attachment; ``process`` is the name of a process of the cluster, which is trusted, or ""."""
        self.session, self.key, self.process = session, session.key, process
        self.is_peer, self.is_federation_link = session.role == PEER, False
        self.is_null = isinstance(session, NullSession)
        self.over = False  # whether the session has ended
        self.flows: dict[Key, Flow] = {}  # the flows that the session brings
        # Links that leave by another egress than the rest of their flow, each with the attachment that caused it.
        self.by_link: dict[Link, tuple[Flow, Attachment]] = {}
        self.detours: dict[tuple[Attachment, Link], None] = {}  # entries it caused in ``by_link`` of others
        self.heard: dict[Key, Attachment] = {}  # where a sender was first heard: the way back
        self.incoming: dict[tuple[Attachment, bytes, bytes], Flow] = {}  # the flows that leave here
        self.active = _NONE  # incoming flows in which items wait, the next in turn first
        self.bytes_waiting = 0  # bytes that wait for this attachment
        self.bytes_brought = 0  # bytes that this attachment brought and that wait anywhere
        self.unread = 0  # items of the relay's own since the last time it was writable
        self.watches: dict[tuple[bytes, bytes], None] = {}  # (source, target): source asks when target signs in

    def key_to(self, source: bytes, target: bytes) -> Key:
        """Return the key under which ``flows`` has the flow from ``source`` to ``target``."""
        return target if self.is_peer else (source, target)


class Flow:
    """All that one source says to one target, with the items that wait.

    ``uses``: references from ``flows`` and ``by_link``; at 0 no further item can arrive. ``chosen``: the source opened
    a link over this flow, so it trusts the far side's statements about the target. ``place``: where the source is,
    or was when it left.
    """

    __slots__ = (
        "chosen", "deficit", "egress", "ingress", "items", "paused", "place", "resume_at", "size", "source", "target",
        "uses",
    )  # fmt: skip

    def __init__(self, source: bytes, target: bytes, ingress: Attachment, egress: Attachment) -> None:
        self.source, self.target, self.ingress, self.egress = source, target, ingress, egress
        self.place = ingress.session.place
        self.items: deque[Forwardable] = deque()
        self.size = 0
        self.deficit = 0
        self.paused = 0
        self.resume_at = 0
        self.uses = 0
        self.chosen = False

    def wrap(self, item: Forwardable) -> Item:
        """Return ``item`` as the session at the egress is told it."""
        return item if self.egress.is_peer else Forwarded(self.source, self.target, item)


_NONE: Final[deque[Flow]] = deque()  # of all for whom nothing has waited: a deque takes 700 bytes


class Queues:
    """All items that wait in one router."""

    def __init__(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a constant
        self.bounds = bounds
        self.size = 0
        self.count = 0
        self._waiting: dict[Flow, None] = {}
        self._places: Counter[bytes] = Counter()

    def put(self, flow: Flow, item: Forwardable) -> list[Flow]:
        """Queue an item; return the flows that must give way now (usually none), to be cleared and closed."""
        if not flow.items:
            self._enter(flow)
        size = cost(item)
        flow.items.append(item)
        self.count += 1
        self._count(flow, size)
        return self._too_much(flow)

    def take(self, attachment: Attachment) -> tuple[Flow, Forwardable]:
        """Take the item that the attachment is to be told next; at least one must wait.

        Flows have their turns by bytes: a flow of large frames gets no more than one of small frames.
        """
        active = attachment.active
        flow = active[0]
        while flow.deficit < (size := cost(flow.items[0])):
            flow.deficit += QUANTUM
            active.rotate(-1)
            flow = active[0]
        item = flow.items.popleft()
        flow.deficit -= size
        self.count -= 1
        self._count(flow, -size)
        if not flow.items:
            active.popleft()
            flow.deficit = 0
            del self._waiting[flow]
        return flow, item

    def clear(self, flow: Flow) -> list[Forwardable]:
        """Drop and return the items that wait in a flow."""
        items = list(flow.items)
        if items:
            self._leave(flow)
            self.count -= len(items)
            self._count(flow, -flow.size)
            flow.items.clear()
        return items

    def move(self, flow: Flow, ingress: Attachment, egress: Attachment) -> None:
        """Give a flow another ingress and egress; its waiting items go with it, in order."""
        size = flow.size
        if size:
            self._leave(flow)
            self._count(flow, -size)
        flow.egress.incoming.pop((flow.ingress, flow.source, flow.target), None)
        flow.ingress, flow.egress = ingress, egress
        flow.place = ingress.session.place or flow.place
        egress.incoming[ingress, flow.source, flow.target] = flow
        if size:
            self._enter(flow)
            self._count(flow, size)

    def crowded(self, flow: Flow) -> bool:
        """Whether the source of a flow should pause."""
        bounds = self.bounds
        return (
            flow.size > bounds.pause
            or flow.ingress.bytes_brought * 2 > self._allowance(flow.ingress)
            or self._places[flow.place] * 2 > bounds.place
            or flow.egress.bytes_waiting * 2 > bounds.attachment
            or self.size * 2 > bounds.total
        )

    def _too_much(self, flow: Flow) -> list[Flow]:
        bounds, ingress, egress = self.bounds, flow.ingress, flow.egress
        if flow.size > bounds.flow:
            return [flow]
        if (over := ingress.bytes_brought - self._allowance(ingress)) > 0:
            return _largest(
                (each for each in self._waiting if each.ingress is ingress), over + ingress.bytes_brought // 8
            )
        if (over := self._places[flow.place] - bounds.place) > 0:
            return _largest((each for each in self._waiting if each.place == flow.place), over + bounds.place // 8)
        if (over := egress.bytes_waiting - bounds.attachment) > 0:
            return _largest(egress.active, over + egress.bytes_waiting // 8)
        if (over := self.size - bounds.total) > 0:
            owner = max((each.ingress for each in self._waiting), key=lambda attachment: attachment.bytes_brought)
            return _largest((each for each in self._waiting if each.ingress is owner), over + self.size // 8)
        return []

    def _allowance(self, ingress: Attachment) -> int:
        if ingress.process:
            return self.bounds.total  # it has bounds of its own
        return self.bounds.peer if ingress.is_peer else self.bounds.relay

    def _enter(self, flow: Flow) -> None:
        if flow.egress.active is _NONE:
            flow.egress.active = deque()
        flow.egress.active.append(flow)
        self._waiting[flow] = None

    def _leave(self, flow: Flow) -> None:
        flow.egress.active.remove(flow)
        flow.deficit = 0
        del self._waiting[flow]

    def _count(self, flow: Flow, size: int) -> None:
        flow.size += size
        flow.ingress.bytes_brought += size
        flow.egress.bytes_waiting += size
        self.size += size
        if flow.place:
            self._places[flow.place] += size
            if not self._places[flow.place]:
                del self._places[flow.place]


def cost(item: Forwardable) -> int:
    """Return about how many bytes of memory an item takes."""
    return len(item.data) + OVERHEAD if isinstance(item, (Data, Open)) else OVERHEAD


def _largest(flows: Iterable[Flow], enough: int) -> list[Flow]:
    """Return the fewest flows that hold ``enough`` bytes together."""
    chosen: list[Flow] = []
    for flow in sorted(flows, key=lambda flow: -flow.size):
        if enough <= 0:
            break
        chosen.append(flow)
        enough -= flow.size
    return chosen


class NullSession:
    """A null session, for peers that are being looked up and peers that have left: always full, so that items wait."""

    key = b""
    role = RELAY
    place = b""
    address = ""
    full = True

    def tell(self, item: Item) -> None:
        """Do nothing: nobody is there."""

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Do nothing: nobody is there."""
