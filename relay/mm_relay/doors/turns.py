"""Shares each turn of the loop among all connections of a relay, so that none of them holds up the others.

uvloop reads a socket up to 32 times in a row, a megabyte of it may be a hundred thousand messages, and one message
4096 items. So a connection handles what came frame by frame, and asks here whether there is time for the next. What
there is no time for waits in a queue; the connection is not read meanwhile.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN: Final = 0.001  # seconds of one turn of the loop for what comes; what comes later waits for the next turn
NEWCOMERS: Final = 0.0005  # seconds of it for requests and sign-ins, which are dear and which anybody can begin
RESTS: Final = (
    0.0005  # seconds of it for what is left of earlier turns, so that who says little need not wait behind it
)


class LoopTurns:
    """The turns of one loop. ``clock`` gives seconds; that of uvloop stands still within a turn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = False
        self._began = 0.0
        self._first: deque[Callable[[], None]] = deque()
        self._rests: deque[Callable[[], None]] = deque()
        self._newcomers: dict[str, _Newcomers] = {}  # by network; the next in turn first

    def has_time(self) -> bool:
        """Whether this turn has time for one step more."""
        if self._begun:
            return self._clock() - self._began < TURN
        self._begin()
        return True

    def first(self, step: Callable[[], None]) -> None:
        """Call ``step`` in the next turn, before all rests: it is the first of a connection that had nothing to do."""
        self._first.append(step)
        self._ensure()

    def rest(self, step: Callable[[], None]) -> None:
        """Call ``step`` when its turn comes, behind all other rests."""
        self._rests.append(step)
        self._ensure()

    def newcomer(self, network: str, step: Callable[[], object]) -> None:
        """Call ``step`` when its network has its turn: all networks with newcomers take one step after the other, each
        by turns its oldest and its newest. When it returns True it has begun what takes long: it was the last one of
        its turn of the loop."""
        self._newcomers.setdefault(network, _Newcomers()).steps.append(step)
        self._ensure()

    def _ensure(self) -> None:
        if not self._begun:
            self._begin()

    def _begin(self) -> None:
        self._begun, self._began = True, self._clock()
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._begun = False
        if not self._first and not self._rests and not self._newcomers:
            return
        self._begin()
        self._run(self._first, TURN)
        self._run(self._rests, RESTS)
        self._let_in()

    def _let_in(self) -> None:
        began = self._clock()
        for _ in range(sum(len(each.steps) for each in self._newcomers.values())):
            network = next(iter(self._newcomers))
            newcomers = self._newcomers.pop(network)
            step = newcomers.next()
            if newcomers.steps:
                self._newcomers[network] = newcomers
            if step() is True or self._clock() - began >= NEWCOMERS:
                return

    def _run(self, steps: deque[Callable[[], None]], most: float) -> None:
        """Take steps for ``most`` seconds of the turn; at least one, and each of those that wait at most once."""
        for _ in range(len(steps)):
            steps.popleft()()
            if self._clock() - self._began >= most:
                return


class _Newcomers:
    """The steps of one network. Behind hundreds of its handshakes that came at once, who comes now does not wait for
    all of them, and they do not wait for ever when more come than there is time for."""

    __slots__ = ("newest", "steps")

    def __init__(self) -> None:
        self.steps: deque[Callable[[], object]] = deque()
        self.newest = False

    def next(self) -> Callable[[], object]:
        self.newest = not self.newest
        return self.steps.popleft() if self.newest else self.steps.pop()
