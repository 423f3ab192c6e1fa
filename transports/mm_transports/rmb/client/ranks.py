"""Ranks relays by how often they failed lately, as rmb-rs does: who fails comes last, and heals with time. Pure."""

from collections import deque
from collections.abc import Iterable
from typing import Final, TypeVar

PERIOD: Final = 3600.0  # seconds after which a failure is forgotten
MOST: Final = 64  # failures of one relay that are remembered

T = TypeVar("T")


class Ranks:
    """The failures of relays, by name."""

    def __init__(self, period: float = PERIOD) -> None:
        self._period = period
        self._failures: dict[str, deque[float]] = {}

    def failed(self, name: str, now: float) -> None:
        """Take note of a failure; ``now`` does not go back."""
        self._failures.setdefault(name, deque(maxlen=MOST)).append(now)

    def sorted(self, names: Iterable[str], now: float) -> list[str]:
        """Return ``names``, the best first; those that are equal stay in their order."""
        return sorted(names, key=lambda name: self._count(name, now))

    def _count(self, name: str, now: float) -> int:
        failures = self._failures.get(name)
        while failures and failures[0] <= now - self._period:
            failures.popleft()
        if failures is not None and not failures:
            del self._failures[name]
        return len(failures) if failures else 0
