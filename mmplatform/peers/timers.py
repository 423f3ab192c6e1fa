"""Timers by name, at most one of each."""

import asyncio
from collections.abc import Callable


class Timers:
    """The timers of one object."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._timers

    def set(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` in ``seconds``, in place of what ``name`` was set for before."""
        self.cancel(name)
        self._timers[name] = self._loop.call_later(seconds, self._fire, name, call)

    def cancel(self, name: str) -> None:
        """Forget a timer; nothing happens when there is none."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def clear(self) -> None:
        """Forget all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, name: str, call: Callable[[], None]) -> None:
        del self._timers[name]
        call()
