"""What honest peers note of their round trips: at fixed times, whether earlier ones are back or not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

OUTSTANDING: Final = 100  # round trips of one peer that may be under way; more only say the same


class RoundTrips:
    """Latencies since the last look, those under way among them with their age: a stall is not a single late answer."""

    def __init__(self) -> None:
        self._done: list[float] = []
        self._under_way: dict[int, float] = {}
        self._number = 0

    def begin(self) -> int:
        self._number += 1
        self._under_way[self._number] = time.monotonic()
        return self._number

    def end(self, number: int, counted: bool = True) -> None:
        begun = self._under_way.pop(number, None)
        if begun is not None and counted:
            self._done.append(time.monotonic() - begun)

    @property
    def full(self) -> bool:
        return len(self._under_way) >= OUTSTANDING

    def take(self) -> list[float]:
        """Return the latencies since the last look, in seconds."""
        now = time.monotonic()
        taken = [*self._done, *(now - begun for begun in self._under_way.values())]
        self._done = []
        return taken


def percentile(values: list[float], part: float = 0.99) -> float:
    """Return the value that ``part`` of the values do not exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


async def every(seconds: float, run: Callable[[], Awaitable[Any]]) -> None:
    """Start ``run`` at fixed times, whether the one before has ended or not."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Future[Any]] = set()
    due = loop.time()
    while True:
        task = asyncio.ensure_future(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due = max(due + seconds, loop.time() - 1.0)
        await asyncio.sleep(max(0.0, due - loop.time()))
