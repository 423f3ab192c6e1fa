"""Looks up peers on the bus: one question however many callers wait, the first answer for all, misses remembered."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from mmplatform.identity.keys import SignId

LOOKUP_TIMEOUT: Final = 10.0  # seconds until a look-up has failed
REPEATS: Final = (0.5, 1.0, 2.0, 4.0)  # seconds between its questions: a peer that just started is not known everywhere
ASK_AGAIN: Final = 5.0  # seconds in which neither a failed look-up nor a refresh is repeated
MAX_REMEMBERED: Final = 4096  # peers whose last look-up is remembered


class Lookups:
    """The look-ups under way. ``ask(peer)`` asks every service at once, and returns False when no service runs."""

    def __init__(self, ask: Callable[[SignId], bool]) -> None:
        self._ask = ask
        self._waiting: dict[SignId, set[asyncio.Future[None]]] = {}
        self._asked = Recent()
        self._missed = Recent()

    async def find(self, peer: SignId) -> None:
        """Return once a service has answered, no service is there, or LOOKUP_TIMEOUT seconds have passed; at once when
        a look-up of ``peer`` failed less than ASK_AGAIN seconds ago."""
        if peer in self._missed:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(peer, set())
        waiting.add(answer)
        try:
            if len(waiting) == 1 and not self._ask(peer):
                return
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                await self._insist(peer, answer, REPEATS if len(waiting) == 1 else ())
        except TimeoutError:
            self._missed.add(peer)
        finally:
            waiting.discard(answer)
            if not waiting and self._waiting.get(peer) is waiting:
                del self._waiting[peer]

    def refresh(self, peer: SignId) -> None:
        """Have the services look for news of ``peer``, and wait for nothing: what is known did not help."""
        if peer not in self._asked and peer not in self._missed and peer not in self._waiting:
            self._asked.add(peer)
            self._ask(peer)

    def answered(self, peer: SignId) -> None:
        """Wake all who wait for ``peer``: there is news."""
        self._missed.discard(peer)
        for answer in self._waiting.pop(peer, ()):
            if not answer.done():
                answer.set_result(None)

    async def _insist(self, peer: SignId, answer: asyncio.Future[None], pauses: Sequence[float]) -> None:
        """Wait for the answer and repeat the question; one of the callers that wait does so for all."""
        for pause in pauses:
            done, _ = await asyncio.wait({answer}, timeout=pause)
            if done:
                return
            self._ask(peer)
        await answer


class Recent:
    """The peers that were added in the last ASK_AGAIN seconds; when there are too many, the oldest is dropped."""

    def __init__(self) -> None:
        self._until: dict[SignId, float] = {}

    def __contains__(self, peer: SignId) -> bool:
        return self._until.get(peer, 0.0) > asyncio.get_running_loop().time()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, peer: SignId) -> None:
        """Add ``peer``, or begin its time anew."""
        self._until.pop(peer, None)
        if len(self._until) >= MAX_REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[peer] = asyncio.get_running_loop().time() + ASK_AGAIN

    def discard(self, peer: SignId) -> None:
        """Remove ``peer``, if it is there."""
        self._until.pop(peer, None)
