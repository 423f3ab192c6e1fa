"""How fast one connection may go: token buckets that may fall into debt. Sans-I/O."""

from typing import Final

BURST: Final = 4.0  # seconds' worth that may be spent at once


class TokenBucket:
    """``rate`` tokens a second, 0 for no limit. What was read already is spent anyway, and waited for afterwards."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: int, now: float) -> None:
        self._rate, self._at = rate, now
        self._level = rate * BURST

    def spend(self, amount: int, now: float) -> float:
        """Seconds until the debt is paid; 0 when there is none."""
        if not self._rate:
            return 0.0
        self._level = min(self._rate * BURST, self._level + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._level / self._rate)
