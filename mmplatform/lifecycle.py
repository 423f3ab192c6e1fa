"""The life of a platform: it starts once, runs, and stops once, whoever asks and how often."""

import asyncio
from enum import Enum, auto

from mmplatform.errors import LocalError, NotRunning
from mmplatform.parts import Parts
from mmplatform.program import ended_by_signals, freeze_loaded


class Life(Enum):
    """Where a platform is in its life; it goes forward only."""

    NEW = auto()
    OPENING = auto()
    RUNNING = auto()
    CLOSING = auto()
    CLOSED = auto()


class Lifecycle:
    """Starts and stops ``parts``. ``setup_time``: seconds after the start for handlers to come."""

    def __init__(self, parts: Parts, setup_time: float) -> None:
        self._parts, self._setup_time = parts, setup_time
        self._life = Life.NEW
        self._start: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None  # of serve()
        self._ended = asyncio.Event()  # a signal came, or all is closed

    async def start(self) -> None:
        """Open everything; return when the platform runs, at once when it does already."""
        if self._life in (Life.CLOSING, Life.CLOSED):
            raise LocalError("a platform runs once; make a new one to start again")
        self._parts.home.enter()
        if self._start is not None:
            await self._started(asyncio.shield(self._start))
            return
        self._life = Life.OPENING
        self._start = asyncio.get_running_loop().create_task(self._open(), name="mm start")
        try:
            await self._started(self._start)
        except asyncio.CancelledError:
            if self._life is Life.RUNNING:  # cancelled when all was open
                await self._close(0.0)
            raise
        # Here: what the caller does next, without waiting, comes before all that peers do.
        self._parts.begin(self._setup_time)

    async def stop(self, grace: float) -> None:
        """Close everything; return when that is done. Handlers have ``grace`` seconds to end."""
        self._parts.home.check()
        if self._life is Life.OPENING and self._start is not None:
            self._start.cancel()  # it closes what it has opened
            if asyncio.current_task() is self._start:
                return
            await asyncio.wait([self._start])
            if self._life is Life.OPENING:  # cancelled before its first step
                await self._close(0.0)
        elif self._life is Life.RUNNING:
            await self._close(grace)
        elif self._life is Life.CLOSING:
            await self._parts.closed.wait()

    async def serve(self, grace: float) -> None:
        """Start, run until a signal comes or somebody stops the platform, and stop it; see :meth:`Platform.run`."""
        with ended_by_signals(self._interrupt):
            await self.start()
            freeze_loaded()
            await self._ended.wait()
            self._stopping = asyncio.get_running_loop().create_task(self.stop(grace), name="mm stop")
            await asyncio.gather(self._stopping, return_exceptions=True)

    def _interrupt(self) -> None:
        """Stop at the first signal, and without grace at the second."""
        self._ended.set()
        if self._stopping is not None:
            self._stopping.cancel()

    async def _open(self) -> None:
        try:
            await self._parts.open()
        except BaseException:
            await self._close(0.0)
            raise
        self._life = Life.RUNNING

    async def _started(self, starting: asyncio.Future[None]) -> None:
        """Wait for the start. Raises what it raises, and NotRunning when a stop ended it."""
        if asyncio.current_task() is self._start:
            return  # a service that starts calls it
        try:
            await starting
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is not None and not waiting.cancelling():
                raise NotRunning("the platform was stopped while it started") from None
            raise
        if self._life is not Life.RUNNING:
            raise NotRunning("the platform was stopped as it had started")

    async def _close(self, grace: float) -> None:
        self._life = Life.CLOSING
        try:
            await self._parts.close(grace)
        finally:
            self._life = Life.CLOSED
            self._parts.closed.set()
            self._ended.set()
