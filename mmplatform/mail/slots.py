"""Shares out the letters that may be under way at a time: a relay that keeps none lately has few of them.

A relay that is dead, or slow, holds a letter for as long as a deposit may take. With as many letters for it as there is
room for, mail for everybody else would wait that long, too.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

MOST: Final = 256  # envelopes that wait for the answer of a relay, to all peers
OF_RELAY: Final = 64  # of these at one relay
OF_UNPROVEN: Final = 4  # at one that has not kept the last one it was given, or none so far


class Slots:
    """Room for letters under way; ``proven(relay)`` says whether a relay has kept what it was given last."""

    def __init__(self, proven: Callable[[str], bool]) -> None:
        self._proven = proven
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, relay: str) -> None:
        """Wait until one more letter may be under way to ``relay``, an address."""
        while not self._room(relay):
            waiting = self._waiting.setdefault(relay, deque())
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the turn may have been ours
                raise
            finally:
                if turn in waiting:
                    waiting.remove(turn)
                if not waiting and self._waiting.get(relay) is waiting:
                    del self._waiting[relay]
        self._taken[relay] += 1

    def give_back(self, relay: str) -> None:
        """Take note that a letter to ``relay`` has landed, or goes nowhere."""
        self._taken[relay] -= 1
        if not self._taken[relay]:
            del self._taken[relay]
        self._wake()

    def _room(self, relay: str) -> int:
        share = OF_RELAY if self._proven(relay) else OF_UNPROVEN
        return max(min(share - self._taken[relay], MOST - self._taken.total()), 0)

    def _wake(self) -> None:
        for relay, waiting in list(self._waiting.items()):
            for _ in range(min(self._room(relay), len(waiting))):
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
