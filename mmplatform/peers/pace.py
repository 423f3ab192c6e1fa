"""Shares the loop between those that hand over what was kept, and everything else.

One of them works at a time, for SLICE seconds a turn of the loop, and after WORK seconds of that all of them rest for
REST. A node that hands over without a rest never sleeps, and the system has a thread that never sleeps wait for whole
time slices when others want its processor: peers would wait for milliseconds, however short the turns of the loop are.
"""

import asyncio
from typing import Final

SLICE: Final = 0.0001  # seconds
WORK: Final = 0.001
REST: Final = 0.001  # no selector waits for less


class Slice:
    """A short time of work, after which others have their turn."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._ends = self._time() + SLICE

    @property
    def is_over(self) -> bool:
        """Whether it is the turn of others."""
        return self._time() >= self._ends

    async def next(self) -> None:
        """Let the loop go round, and begin another one."""
        await asyncio.sleep(0)
        self._ends = self._time() + SLICE


class Pace:
    """The slices of all hand-overs of a node, one after the other: ``async with`` is one of them, whose work is to end
    when it ``is_over``."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._began = self._worked = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is the turn of others."""
        return self._time() >= self._began + SLICE

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        self._time = asyncio.get_running_loop().time
        self._began = self._time()

    async def __aexit__(self, *_: object) -> None:
        try:
            self._worked += self._time() - self._began
            rest = self._worked >= WORK
            if rest:
                self._worked = 0.0
            await asyncio.sleep(REST if rest else 0)
        finally:
            self._turn.release()
