"""The latest round trips of one link, and what they say of it. Pure."""

from collections import deque
from typing import Final

RECENT: Final = 64  # round trips that count: of fewer, a loss of 15 % is often not seen
SHORTEST_OF: Final = 4  # of them, the latest: the shortest of these is the way without any queue
ENOUGH: Final = 10  # round trips from which on more than their shortest is told
SLOW: Final = 20  # of so many round trips one may be slow for reasons of its own; of fewer, too
QUEUED: Final = 64 * 1024  # bytes that went both ways while an answer was awaited: more measure the queue, not the way


class LinkTrips:
    """Seconds from a question to its answer, those of the handshake first."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=RECENT)
        self._short: deque[float] = deque(maxlen=SHORTEST_OF)
        self._p95 = self._longest = 0.0

    def add(self, seconds: float, moved: int = 0) -> None:
        """Note one; ``moved``: bytes that went over the link meanwhile."""
        self._short.append(seconds)
        if moved <= QUEUED:
            self._latest.append(seconds)
            ranked, few = sorted(self._latest), len(self._latest) // SLOW
            self._p95, self._longest = ranked[-1 - max(1, few)] if ranked[1:] else seconds, ranked[-2:][0]

    @property
    def shortest(self) -> float:
        """The shortest of the latest, without the time of queues; 0 when none was measured."""
        return min(self._short, default=0.0)

    @property
    def count(self) -> int:
        """How many count."""
        return len(self._latest)

    @property
    def p95(self) -> float:
        """What all but one of twenty take at most, losses on the way included; the shortest until enough are known: the
        first may have waited for a busy processor. 0 when none was measured."""
        return self._p95 if self.enough else self.shortest

    @property
    def longest(self) -> float:
        """The longest but one, as any path may have a bad moment; 0 when none was measured."""
        return self._longest

    @property
    def enough(self) -> bool:
        """Whether so many are known that one slow one of them says nothing yet."""
        return self.count >= ENOUGH
