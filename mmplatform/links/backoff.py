"""Delays that double, so that what fails again and again is tried less and less often."""

from collections.abc import Callable
from typing import Final

FIRST_DELAY: Final = 0.25  # seconds before the second attempt
LONGEST_DELAY: Final = 60.0  # seconds between attempts, unless told otherwise


class Backoff:
    """Delays that double up to ``longest`` seconds, each shortened by up to half so that peers do not come in step."""

    def __init__(self, random: Callable[[], float], longest: float = LONGEST_DELAY) -> None:
        self._random, self._longest = random, longest
        self._delay = FIRST_DELAY

    def reset(self) -> None:
        """Begin with the shortest delay again."""
        self._delay = FIRST_DELAY

    def next(self) -> float:
        """Seconds to wait now."""
        delay, self._delay = self._delay, min(self._delay * 2, self._longest)
        return delay * (1 - self._random() / 2)
