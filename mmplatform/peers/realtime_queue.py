"""Holds the events, requests and replies of this turn of the loop until they are in a frame."""

import asyncio
from typing import Final, TypeVar

from mmplatform.delivery.wire import Event, Reply, Request
from mmplatform.message import Scope

PORTION: Final = 128 * 1024  # bytes of a larger queue that one frame carries: with its rest, less than MAX_MIXED
UNREAD: Final = 65_536  # replies that wait for a peer that asks on
BACKLOG: Final = 64 * 1024 * 1024  # bytes of them for a friend
BACKLOG_OF_STRANGER: Final = 1024 * 1024  # the same for a stranger
EXTRA: Final = 16  # bytes that a message takes beside its payload, about

Queued = TypeVar("Queued", Event, Request, Reply)


class RealtimeQueue:
    """The queue to one peer. Its owner appends to the three lists, and adds to ``bytes`` what they grew by."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self.bytes = 0  # size of the three lists, about
        self.waiter: asyncio.Future[None] | None = None  # shared by all callers of shrunk()
        self._late: set[int] = set()  # numbers of requests that nobody waits for any more, some of them sent before

    def clogged(self, scope: Scope) -> bool:
        """Whether so much waits for a peer of ``scope`` that it does not read what it asked for."""
        most = BACKLOG_OF_STRANGER if scope == "public" else BACKLOG
        return len(self.replies) >= UNREAD or self.bytes > most

    async def shrunk(self) -> None:
        """Wait until some of the queue was sent, or all of it is discarded."""
        if self.waiter is None or self.waiter.done():
            self.waiter = asyncio.get_running_loop().create_future()
        await asyncio.shield(self.waiter)

    def wake(self) -> None:
        """End the waiting in :meth:`shrunk`."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        self.waiter = None

    def ask_again(self, requests: list[Request]) -> None:
        """Queue all requests that wait for a reply, in place of those that were queued."""
        self.requests = requests
        self.bytes += _size(requests)

    def withdraw(self, numbers: list[int]) -> None:
        """Take out requests whose time is up, once they may be half of the queue: a peer that reads nothing would have
        them all at last, before those that somebody waits for."""
        late = self._late
        late.update(numbers)
        if 2 * len(late) < len(self.requests):
            return
        gone = [request for request in self.requests if request.id in late]
        if gone:
            self.requests = [request for request in self.requests if request.id not in late]
            left = self.events or self.requests or self.replies
            self.bytes = max(self.bytes - _size(gone), 1) if left else 0
            self.wake()
        late.clear()

    def discard(self) -> None:
        """Forget everything: the link is gone."""
        self.events, self.requests, self.replies, self.bytes = [], [], [], 0
        self.wake()

    def portion(self) -> tuple[list[Event], list[Request], list[Reply]]:
        """Take some of a queue that outgrew one frame, in order; the largest message still has a frame of its own."""
        events, room = take(self.events, PORTION)
        requests, room = take(self.requests, room)
        replies, room = take(self.replies, room)
        left = self.events or self.requests or self.replies
        self.bytes = max(self.bytes - PORTION + room, 1) if left else 0
        return events, requests, replies


def take(queue: list[Queued], room: int) -> tuple[list[Queued], int]:
    """Take the first of ``queue`` that fit into ``room`` bytes, at least one when nothing was taken before; and the
    bytes that are left."""
    count = 0
    for item in queue:
        size = len(item.payload) + EXTRA
        if room < PORTION and size > room:
            break
        room -= size
        count += 1
    taken = queue[:count]
    del queue[:count]
    return taken, room


def _size(requests: list[Request]) -> int:
    """Return the bytes of requests, about."""
    return sum(len(request.payload) + len(request.topic) + EXTRA for request in requests)
