"""Delays that double, so that what fails again and again is tried less and less often."""

from collections.abc import Callable
from typing import Final

FIRST_DELAY: Final = 0.25  # seconds before the second attempt
LONGEST_DELAY: Final = 60.0  # seconds between attempts, unless told otherwise


class Backoff:
    """Delays that double up to ``longest`` seconds, each shortened by up to half so that peers do not come in step."""

    def __init__(self, random: Callable[[], float], longest: float = LONGEST_DELAY) -> None:
        self._random, self._longest = random, longest
        self._failures = 0

    def reset(self) -> None:
        """Begin with the shortest delay again."""
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait now."""
        self._failures += 1
        return delay_after(self._failures - 1, self._random(), self._longest)


def delay_after(failures: int, chance: float, longest: float = LONGEST_DELAY) -> float:
    """Seconds to wait after ``failures`` and one more; ``chance``, 0 to 1, says by how much it is shortened."""
    return min(FIRST_DELAY * 2.0 ** min(failures, 30), longest) * (1 - chance / 2)
