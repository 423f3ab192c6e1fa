"""Spreads attempts to reach peers over time: thousands that begin at once would keep the loop from all else."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from mmplatform.identity.keys import SignId

TOGETHER: Final = 24  # attempts that may begin in one SLICE: some 200 us of work each
SLICE: Final = 0.01  # seconds
UNDER_WAY: Final = 512  # attempts under way while which no other begins: each has a task, and perhaps a socket


class Turns:
    """Lets attempts begin in the order in which they come, a few in each slice of time.

    ``begin(peer)`` begins one, or returns False when it is not wanted any more; whoever begins one calls
    :meth:`begun`, and :meth:`ended` at its end.
    """

    def __init__(self, begin: Callable[[SignId], bool]) -> None:
        self._begin = begin
        self._left, self._since = TOGETHER, 0.0
        self._waiting: deque[SignId] = deque()
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, peer: SignId) -> None:
        """Begin when it is the turn of ``peer``; at once when few attempts have begun just now."""
        self._waiting.append(peer)
        if self._timer is None:
            self._go_on()

    def begun(self) -> None:
        """Count an attempt that is under way."""
        self._under_way += 1

    def ended(self) -> None:
        """Let the next one begin, when there were too many."""
        self._under_way -= 1
        if self._waiting and self._timer is None:
            self._go_on()

    def close(self) -> None:
        """Let nothing begin any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._since + SLICE:
            self._left, self._since = TOGETHER, loop.time()
        while self._waiting and self._left and self._under_way < UNDER_WAY:
            self._left -= self._begin(self._waiting.popleft())
        if self._waiting and not self._left:
            self._timer = loop.call_at(self._since + SLICE, self._next_slice)

    def _next_slice(self) -> None:
        self._timer, self._since = None, 0.0
        self._go_on()
