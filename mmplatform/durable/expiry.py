"""Ends messages that waited too long, with one timer for all peers."""

import asyncio
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from mmplatform.delivery.outgoing_stream import NEVER
from mmplatform.delivery.sender import Settled
from mmplatform.durable.queues import PeerQueue

SHORTEST_TIMER: Final = 0.01  # seconds until messages are looked at that expire now: others that are due soon share it
LONGEST_TIMER: Final = 3600.0  # seconds between two looks at the wall clock, at most: it may be set
TOGETHER: Final = 50  # peers whose messages are looked at in one turn of the loop
STALE: Final = 64  # entries of the heap, at least, that may name a time that is no longer that of the peer


class ExpiryWatch:
    """Looks at the queues in ``made`` when the first message in one expires. ``now`` is in Unix seconds.

    ``settle(peer, settled)`` is told of messages that expired; then ``refill(peer)`` reads what is behind them.
    """

    def __init__(
        self,
        made: Mapping[str, PeerQueue],
        now: Callable[[], float],
        settle: Callable[[str, Settled], None],
        refill: Callable[[str], None],
    ) -> None:
        self._made, self._now, self._settle, self._refill = made, now, settle, refill
        self._due: list[tuple[int, str]] = []  # heap of Unix milliseconds and peers
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = NEVER
        self._closed = False

    def watch(self, queue: PeerQueue) -> None:
        """Look at ``queue``, into which something was put, when the first message in it expires."""
        due = queue.sender.next_expiry
        if due >= queue.expiry_due:
            return
        queue.expiry_due = due
        if len(self._due) > 2 * len(self._made) + STALE:
            self._due = [(each.expiry_due, peer) for peer, each in self._made.items() if each.expiry_due < NEVER]
            heapify(self._due)
        else:
            heappush(self._due, (due, queue.peer))
        if due < self._timer_due:
            self._set_timer()

    def look(self) -> None:
        """End what has expired by now."""
        now_ms = int(self._now() * 1000)
        for _ in range(TOGETHER):
            if not self._due or self._due[0][0] > now_ms:
                break
            due, peer = heappop(self._due)
            queue = self._made.get(peer)
            if queue is not None and queue.expiry_due == due:
                self._expire(queue, now_ms)
        self._set_timer()

    def close(self) -> None:
        """Look at nothing any more: what waits is on disk."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self, queue: PeerQueue, now_ms: int) -> None:
        queue.expiry_due = NEVER
        for settled in queue.sender.expire(now_ms):
            self._settle(queue.peer, settled)
        self._refill(queue.peer)
        self.watch(queue)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = None, NEVER
        if self._due and not self._closed:
            self._timer_due = self._due[0][0]
            wait = min(max(self._timer_due / 1000 - self._now(), SHORTEST_TIMER), LONGEST_TIMER)
            self._timer = asyncio.get_running_loop().call_later(wait, self.look)
