"""What a bad day happens to: relays and redis as real processes, nodes with folders, and what each of them is told."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.relay_process import RelayProcess
from mmplatform import Platform
from tests.bad_days.inbox import Heard
from tests.support.redis_server import RedisServer
from tests.support.waiting import until


class Broke(Exception):
    """Something told was untrue, or something accepted did not arrive."""


class LeftOut(Exception):
    """What the day needs is not on this machine; where CI is set that does not hold, as nothing may be left out."""


class Scene:
    """One day in a folder of its own. ``told`` is what the table says beside the name of the day."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.errors: list[str] = []  # what nodes reported
        self.stack = AsyncExitStack()
        self._begun = time.monotonic()
        self._names = itertools.count(1)

    async def __aenter__(self) -> "Scene":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stack.aclose()

    async def relay(self, *options: str, folder: Path | None = None, **settings: Any) -> RelayProcess:
        """Start ``mm relay`` with a log and, unless it is given one, a folder of its own."""
        name = f"relay{next(self._names)}"
        relay = RelayProcess(
            folder or self.folder / name, "--metrics", "same", *options, log=self.folder / f"{name}.log", **settings
        )
        await relay.start()
        self.stack.push_async_callback(relay.kill)
        return relay

    async def redis(self, **options: str) -> RedisServer:
        """Start a redis-server with a folder of its own."""
        server = RedisServer(**options).start()
        self.stack.callback(server.remove)
        await server.started()
        return server

    async def node(self, name: str, *relays: str | RelayProcess, **options: Any) -> Platform:
        """Start a node that keeps its folder over restarts, reachable over its relays alone."""
        addresses = [relay if isinstance(relay, str) else relay.address for relay in relays]
        defaults: dict[str, Any] = {"connection_info": [], "transports": ["tcp"], "relays": addresses}
        platform = Platform(self.folder / name, **(defaults | options))
        platform.on("error", lambda error, topic: self.errors.append(f"{name}: {error}"))
        await platform.start()
        self.stack.push_async_callback(platform.stop)
        return platform

    async def friends(self, one: Platform, other: Platform) -> None:
        """Make two nodes friends; each knows the other's relays."""
        await one.add(other.ticket(), circle="friends")
        await other.add(one.ticket(), circle="friends")

    def heard(self, platform: Platform, topic: str = "chat") -> Heard:
        """Take the numbers that friends send from now on."""
        return Heard(platform, topic)

    def tell(self, text: str) -> None:
        """Add to what the table says of the day."""
        self.told.append(text)

    def holds(self, true: bool, what: str) -> None:
        """Raise Broke, with ``what`` it is that does not hold."""
        if not true:
            raise Broke(what)

    async def within(
        self,
        seconds: float,
        true: Callable[[], bool | Awaitable[bool]],
        what: str | Callable[[], str],
        *,
        named: str = "",
    ) -> float:
        """Wait until something is true; return how long that took. Raises Broke when it is not in time.

        Args:
            seconds: how long it may take.
            true: is asked again and again.
            what: what it is that does not hold otherwise; a function when that is known at the end only.
            named: what the table calls the time, where it says it.

        """
        begun = time.monotonic()
        try:
            await until(true, seconds)
        except (TimeoutError, AssertionError):
            raise Broke(f"{what if isinstance(what, str) else what()}, after {seconds:.0f} s") from None
        took = time.monotonic() - begun
        if named:
            self.tell(f"{named} {took:.1f} s")
        return took

    async def rest(self, seconds: float) -> None:
        """Let a time pass that the day itself is made of, as an outage is."""
        await asyncio.sleep(seconds)
