"""The latest round trips of one link, and what they say of it. Pure."""

from collections import deque
from typing import Final

RECENT: Final = 32  # round trips that count
SHORTEST_OF: Final = 4  # of them, the latest: the shortest of these is the way without any queue
ENOUGH: Final = 10  # round trips from which on nine of ten are told apart from the slowest one
QUEUED: Final = 64 * 1024  # bytes that went both ways while an answer was awaited: more measure the queue, not the way


class LinkTrips:
    """Seconds from a question to its answer, those of the handshake first."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=RECENT)
        self._short: deque[float] = deque(maxlen=SHORTEST_OF)
        self._p90 = 0.0

    def add(self, seconds: float, moved: int = 0) -> None:
        """Note one; ``moved``: bytes that went over the link meanwhile."""
        self._short.append(seconds)
        if moved <= QUEUED:
            self._latest.append(seconds)
            self._p90 = sorted(self._latest)[(len(self._latest) * 9 + 9) // 10 - 1]

    @property
    def shortest(self) -> float:
        """The shortest of the latest, without the time of queues; 0 when none was measured."""
        return min(self._short, default=0.0)

    @property
    def p90(self) -> float:
        """What nine of ten take at most, losses on the way included; the shortest until enough are known: the first may
        have waited for a busy processor. 0 when none was measured."""
        return self._p90 if self.enough else self.shortest

    @property
    def enough(self) -> bool:
        """Whether so many are known that one slow one of them says nothing yet."""
        return len(self._latest) >= ENOUGH
