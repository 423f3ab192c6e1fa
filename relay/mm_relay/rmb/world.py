"""What all connections of RMB at one relay share: the registry of twins, who is here, and other relays."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from mm_relay.metrics import Metrics
from mm_relay.rmb.names import box_of
from mm_relay.rmb.routes import Routes, TwinRoute
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.stamps import MAX_TTL
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform.errors import InvalidRecord, Unreachable


class LaneFinder(Protocol):
    """The ways to other relays of RMB."""

    def lane(self, relays: tuple[str, ...], place: bytes) -> str:
        """Return the name of the way to these relays, which begins to carry what is in its box."""
        ...


class TwinSession(Protocol):
    """A connection that is signed in."""

    key: bytes
    route: TwinRoute


class RmbWorld:
    """RMB at one relay; ``async with`` opens and closes its registry.

    Args:
        registry: Says which twins there are.
        metrics: The numbers of the relay.
        now: Gives Unix seconds.
        monotonic: Gives seconds that do not go back.
        longest: Seconds for which an envelope is kept at most.
        place: Stands for a network address.

    """

    lanes: LaneFinder

    def __init__(
        self,
        registry: TwinRegistry,
        *,
        metrics: Metrics,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        longest: int = MAX_TTL,
        place: Callable[[str], bytes],
    ) -> None:
        self.metrics, self.now, self.longest, self.place = metrics, now, longest, place
        self._registry = registry
        self._routes = Routes(registry, monotonic)
        self._here: dict[bytes, TwinSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def registry_name(self) -> str:
        return self._registry.name

    @property
    def names(self) -> frozenset[str]:
        """Those by which clients call this relay."""
        return self._routes.names

    async def open(self, names: Collection[str]) -> None:
        """Begin; waits for no network. Raises LocalError for what is wrong with the registry here."""
        self._routes.names = frozenset(names)
        await self._registry.open()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._routes.close()
        await self._registry.close()

    def work(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run ``coroutine`` until it ends, or the relay does."""
        task = asyncio.get_running_loop().create_task(coroutine, name="mm relay rmb")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def route(self, destination: TwinAddress) -> TwinRoute | None:
        """Return where an address is: here when it is signed in here, else as the registry says; None to ask it."""
        here = self._here.get(box_of(destination))
        return here.route if here is not None else self._routes.known(destination.twin)

    async def find(self, twin: int, place: bytes, *, newer: bool = False) -> TwinRoute:
        """Return the route to a twin; see :meth:`Routes.find`."""
        return await self._routes.find(twin, place, newer=newer)

    async def twin(self, key: Key, place: bytes) -> TwinInfo | None:
        """Return the twin with a number or an account; ``place``, and what is raised, as in :meth:`Routes.find`."""
        if isinstance(key, int):
            return (await self._routes.find(key, place)).twin
        return await self._routes.find_account(key, place)

    async def changed(self, twin: int) -> None:
        """Take note that the registry has something else of a twin; unanswered, that is seen some seconds later."""
        with suppress(Unreachable, InvalidRecord):
            await self.find(twin, b"", newer=True)

    def lane(self, relays: tuple[str, ...], place: bytes) -> str:
        """Return the name of the way to these relays, for who is at ``place``."""
        return self.lanes.lane(relays, place)

    def is_here(self, box: bytes) -> bool:
        """Whether the session with this box is signed in here."""
        return box in self._here

    def signed_in(self, session: TwinSession) -> None:
        """Take note of a session; the newest of a box counts."""
        self._here[session.key] = session
        self.metrics.rmb_sessions = len(self._here)

    def signed_out(self, session: TwinSession) -> None:
        if self._here.get(session.key) is session:
            del self._here[session.key]
            self.metrics.rmb_sessions = len(self._here)
