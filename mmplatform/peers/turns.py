"""Spreads attempts to reach peers over time: thousands that begin at once would keep the loop from all else."""

import asyncio
from collections import deque
from typing import Final

TOGETHER: Final = 24  # attempts that may begin in one SLICE: some 200 us of work each
SLICE: Final = 0.01  # seconds


class Turns:
    """Lets attempts begin in the order in which they come, a few in each slice of time."""

    def __init__(self) -> None:
        self._left, self._since = TOGETHER, 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Return when it is the caller's turn; at once when few attempts have begun just now."""
        loop = asyncio.get_running_loop()
        if not self._waiting and loop.time() >= self._since + SLICE:
            self._left, self._since = TOGETHER, loop.time()
        if self._left and not self._waiting:
            self._left -= 1
            return
        if not self._waiting:
            loop.call_at(self._since + SLICE, self._next_slice, loop)
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_slice(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left, self._since = TOGETHER, loop.time()
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else whoever waited was cancelled
                turn.set_result(None)
                self._left -= 1
        if self._waiting:
            loop.call_at(self._since + SLICE, self._next_slice, loop)
