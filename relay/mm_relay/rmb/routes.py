"""Says where envelopes for a twin go: to a box of this relay, or to another relay. Asks the registry, within bounds.

An answer holds for some seconds, and while the registry is away for as long as it remembers (``CachedRegistry``). Who
makes us ask for twins that we do not know is charged for it by network address: of each only some are asked for at a
time, and all of them leave room for others.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import TwinRegistry
from mmplatform.errors import InvalidRecord, Unreachable

FRESH: Final = 5.0  # seconds after which the registry is asked again, beside what goes on
KNOWN: Final = 60.0  # seconds for which an answer is used
MAX_ROUTES: Final = 16_384
ASKED_A_PLACE: Final = 16  # twins that those at one network address have us ask for, at a time
ASKED: Final = 256  # twins that we ask for at a time


class TwinRoute(NamedTuple):
    """Where a twin is found. ``relays``: names of other relays, none when it is here; ``twin``: None for nobody."""

    twin: TwinInfo | None
    relays: tuple[str, ...] = ()


class _Known(NamedTuple):
    route: TwinRoute
    at: float


class Routes:
    """The routes of one relay; ``now`` does not go back.

    Attributes:
        names: Those by which clients call the relay.

    """

    def __init__(self, registry: TwinRegistry, now: Callable[[], float]) -> None:
        self._registry, self._now = registry, now
        self.names: frozenset[str] = frozenset()
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._asking: dict[int, asyncio.Task[TwinRoute]] = {}
        self._asked_by: Counter[bytes] = Counter()

    async def close(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def known(self, twin: int) -> TwinRoute | None:
        """Return the route to a twin, None when the registry has to be asked."""
        known = self._known.get(twin)
        if known is None:
            return None
        age = self._now() - known.at
        if age >= KNOWN or (age >= FRESH and known.route.twin is None):
            return None
        if age >= FRESH and twin not in self._asking and len(self._asking) < ASKED:
            self._ask(twin)  # the old answer is used meanwhile
        return known.route

    async def find(self, twin: int, place: bytes, *, newer: bool = False) -> TwinRoute:
        """Return the route to a twin, of the registry when need be.

        Args:
            twin: Its number.
            place: Stands for the network address of who asks.
            newer: Whether what is remembered does not fit.

        Raises:
            Unreachable: The registry is away, or too much is asked for.
            InvalidRecord: What the registry says cannot be believed.

        """
        if not newer and (route := self.known(twin)) is not None:
            return route
        with self._asked(place):
            task = self._asking.get(twin)
            if task is None or newer:
                task = self._ask(twin, newer=newer)
            return await asyncio.shield(task)

    async def find_account(self, account: bytes, place: bytes) -> TwinInfo | None:
        """Return the twin with an account; ``place``, and what is raised, as in :meth:`find`."""
        with self._asked(place):
            return await self._registry.find(account)

    @contextmanager
    def _asked(self, place: bytes) -> Iterator[None]:
        """Count one more that is asked for. Raises Unreachable when it is too much."""
        if self._asked_by[place] >= ASKED_A_PLACE or self._asked_by.total() >= ASKED:
            raise Unreachable("too many twins are looked up; try again")
        self._asked_by[place] += 1
        try:
            yield
        finally:
            self._asked_by[place] -= 1
            if not self._asked_by[place]:
                del self._asked_by[place]

    def _ask(self, twin: int, *, newer: bool = False) -> asyncio.Task[TwinRoute]:
        task = asyncio.get_running_loop().create_task(self._answer(twin, newer), name="mm relay twin")
        self._asking[twin] = task
        task.add_done_callback(partial(self._answered, twin))
        return task

    async def _answer(self, number: int, newer: bool) -> TwinRoute:
        twin = await (self._registry.find_newer(number) if newer else self._registry.find(number))
        here = twin is None or not twin.relays or not self.names.isdisjoint(twin.relays)
        route = TwinRoute(twin, () if here or twin is None else twin.relays)
        self._known[number] = _Known(route, self._now())
        self._known.move_to_end(number)
        if len(self._known) > MAX_ROUTES:
            self._known.popitem(last=False)
        return route

    def _answered(self, twin: int, task: asyncio.Task[TwinRoute]) -> None:
        if self._asking.get(twin) is task:
            del self._asking[twin]
        if not task.cancelled() and not isinstance(task.exception(), Unreachable | InvalidRecord | None):
            asyncio.get_running_loop().call_exception_handler(
                {"message": "looking a twin up failed", "exception": task.exception()}
            )


def names_of(url: str) -> frozenset[str]:
    """Return how clients call the relay at ``url``: its host and port, and what the npm client makes of the URL."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    usual = ":443" if scheme == "wss" else ":80"
    plain = {host, host.removesuffix(usual)}
    return frozenset(plain | {url.rstrip("/").replace("wss://", "").replace("/", "", 1)})
