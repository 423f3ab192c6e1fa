"""Remembers what a registry said: for a while as it is, and for longer while the registry is away.

Whoever asks for twins that there are not pushes none out that there are: misses have room of their own.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry, told
from mmplatform.errors import InvalidRecord, Unreachable

FRESH: Final = 300.0  # seconds in which an answer is not asked for again
STALE: Final = 24 * 3600.0  # seconds for which it is given while the registry is away
MISSED: Final = 30.0  # seconds in which a twin that there is not is not asked for again
RETRY: Final = 5.0  # seconds in which a registry that was away is not asked again, nor a twin again that looks outdated
PATIENCE: Final = 10.0  # seconds for an answer
HURRY: Final = 1.0  # seconds for an answer where an old one is at hand
MAX_CACHED: Final = 4096  # twins, and as many misses
AT_ONCE: Final = 64  # twins that are asked for side by side


class _Answer(NamedTuple):
    """``at``: when it came, of a clock that does not go back."""

    twin: TwinInfo | None
    at: float


class CachedRegistry(TwinRegistry):
    """What ``inner`` said. ``now`` is a clock that does not go back."""

    def __init__(
        self, inner: TwinRegistry, now: Callable[[], float], cached: int = MAX_CACHED, patience: float = PATIENCE
    ) -> None:
        self.name = inner.name
        self._inner, self._now, self._cached, self._patience = inner, now, cached, patience
        self._found: OrderedDict[Key, _Answer] = OrderedDict()
        self._missed: OrderedDict[Key, _Answer] = OrderedDict()
        self._asking: dict[Key, asyncio.Task[TwinInfo | None]] = {}
        self._away_until = 0.0
        self._why = ""

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._inner.close()

    async def find(self, key: Key) -> TwinInfo | None:
        answer = self._known(key)
        age = self._now() - answer.at if answer is not None else 0.0
        if answer is not None and age < (FRESH if answer.twin is not None else MISSED):
            return answer.twin
        stale = answer.twin if answer is not None and age < STALE else None
        return await self._ask_or(stale, key, self._patience if stale is None else HURRY)

    def remembered(self, key: Key) -> TwinInfo | None:
        """Return what need not be asked for again, None when it is not known whether there is such a twin."""
        answer = self._known(key)
        return answer.twin if answer is not None and self._now() - answer.at < FRESH else None

    async def find_newer(self, key: Key) -> TwinInfo | None:
        """Return the twin as the registry has it now; it is asked again once in RETRY seconds."""
        answer = self._known(key)
        age = self._now() - answer.at if answer is not None else 0.0
        if answer is not None and age < RETRY:
            return answer.twin
        return await self._ask_or(answer.twin if answer is not None and age < STALE else None, key, self._patience)

    async def _ask_or(self, stale: TwinInfo | None, key: Key, patience: float) -> TwinInfo | None:
        """Return what the registry says, ``stale`` when it says nothing in time. The answer is kept when it comes."""
        try:
            async with asyncio.timeout(patience):
                return await self._ask(key)
        except (InvalidRecord, Unreachable):
            if stale is None:
                raise
        except TimeoutError:
            if stale is None:
                raise Unreachable(f"{self.name} does not answer within {patience:g} s") from None
        return stale

    def _known(self, key: Key) -> _Answer | None:
        answer = self._found.get(key)
        if answer is not None:
            self._found.move_to_end(key)
            return answer
        return self._missed.get(key)

    async def _ask(self, key: Key) -> TwinInfo | None:
        """Ask the registry; however many wait for one twin, it is asked once."""
        if self._now() < self._away_until:
            raise Unreachable(f"{self.name} could not be asked for {told(key)}: {self._why}")
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= AT_ONCE:
                raise Unreachable(f"{self.name} is asked for {AT_ONCE} twins already; try again")
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._answer(key))
            task.add_done_callback(lambda done: self._ended(key, done))
        await asyncio.wait([task])
        if task.cancelled():
            raise Unreachable(f"{self.name} was closed")
        return task.result()

    async def _answer(self, key: Key) -> TwinInfo | None:
        try:
            async with asyncio.timeout(self._patience):
                twin = await self._inner.find(key)
        except TimeoutError:
            raise Unreachable(f"{self.name} does not answer within {self._patience:g} s") from None
        self._keep(key, twin)
        return twin

    def _ended(self, key: Key, done: "asyncio.Task[TwinInfo | None]") -> None:
        del self._asking[key]
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Unreachable):
            self._away_until, self._why = self._now() + RETRY, str(error)

    def _keep(self, key: Key, twin: TwinInfo | None) -> None:
        now = self._now()
        if twin is None:
            self._found.pop(key, None)
            _put(self._missed, key, _Answer(None, now), self._cached)
            return
        for name in (twin.number, twin.account):
            self._missed.pop(name, None)
            _put(self._found, name, _Answer(twin, now), 2 * self._cached)


def _put(answers: OrderedDict[Key, _Answer], key: Key, answer: _Answer, most: int) -> None:
    answers[key] = answer
    answers.move_to_end(key)
    while len(answers) > most:
        answers.popitem(last=False)
