"""Shares the event loop among links: whoever causes little work is served before whoever causes much.

Each turn of the loop has a budget of work on frames. A link whose frame comes when the budget is spent, or that has
more to do than one step, waits; those that wait are served by the work that they have caused so far, the least first
(virtual time, as in weighted fair queueing: Demers, Keshav, Shenker 1989). Nobody waits while there is time.
"""

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Protocol

TURN: Final = 0.004  # seconds of work in one turn of the loop, after which links of strangers wait
TURN_KNOWN: Final = 0.005  # the same for links of friends and devices
STEPS: Final = 0.003  # seconds of a turn that go to those that wait
SHARED: Final = 0.5  # part of these seconds that a turn has while several links have work: each waits for its end
LATELY: Final = 100  # turns for which a link that had work counts
LEAD: Final = 0.05  # seconds of virtual time: how far a link may be ahead of the others, or behind them
WEIGHT_KNOWN: Final = 4.0  # how many times the share of a stranger a friend or device has
UNNOTICED: Final = 0.0005  # seconds of work that need no turn of their own to be forgotten


class Scheduled(Protocol):
    """What waits: a link. ``worked``: its virtual time; the scheduler keeps it."""

    worked: float

    @property
    def known(self) -> bool:
        """Whether the peer is a friend or a device."""
        ...

    def work(self) -> bool:
        """Do one step of what waits; return whether more waits."""
        ...


class Scheduler:
    """Serves the links of one node. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._spent = 0.0  # seconds of work in this turn of the loop
        self._now = 0.0  # virtual time: that of the last one that waited and was served
        self._waiting: list[tuple[float, int, Scheduled]] = []  # heap
        self._numbers = count()
        self._armed = False
        self._last = 0  # the id of who had work last, who may be gone
        self._shared_turns = 0  # for how many turns more several links have work

    def admits(self, worker: Scheduled) -> bool:
        """Whether there is time in this turn for what came for ``worker``."""
        turn = TURN_KNOWN if worker.known else TURN
        return self._spent < (turn * SHARED if self._shared_turns else turn)

    def charge(self, worker: Scheduled, seconds: float) -> None:
        """Note that ``worker`` has caused work."""
        worker.worked += seconds / WEIGHT_KNOWN if worker.known else seconds
        self._spent += seconds
        if id(worker) != self._last:
            self._shared_turns = LATELY if self._last else 0
            self._last = id(worker)
        if self._spent > UNNOTICED and not self._armed:
            self._arm()

    def wait(self, worker: Scheduled) -> None:
        """Have ``worker`` do its steps when its turn comes."""
        worker.worked = min(max(worker.worked, self._now - LEAD), self._now + LEAD)
        heappush(self._waiting, (worker.worked, next(self._numbers), worker))
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn of the loop with some of what waits."""
        self._armed = False
        self._spent = 0.0
        self._shared_turns = max(0, self._shared_turns - 1)
        steps = STEPS * SHARED if self._shared_turns else STEPS
        try:
            while self._waiting and self._spent < steps:
                self._now, _, worker = heappop(self._waiting)
                begun = self.clock()
                more = worker.work()
                self.charge(worker, self.clock() - begun)
                if more:
                    heappush(self._waiting, (worker.worked, next(self._numbers), worker))
        finally:  # an error of one is told by the loop, and the others go on
            if self._waiting and not self._armed:
                self._arm()
