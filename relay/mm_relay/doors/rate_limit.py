"""Limits the rate of one connection: token buckets that may fall into debt. Sans-I/O."""

from typing import Final

BURST: Final = 4.0  # seconds' worth of tokens that may be spent at once


class TokenBucket:
    """A bucket with ``rate`` tokens a second, 0 for no limit. Data that was read is paid for afterwards, by waiting."""

    __slots__ = ("_at", "_level", "_rate")

    def __init__(self, rate: int, now: float) -> None:
        self._rate, self._at = rate, now
        self._level = rate * BURST

    def spend(self, amount: int, now: float) -> float:
        """Spend tokens; return the seconds until the debt is paid, 0 when there is none."""
        if not self._rate:
            return 0.0
        self._level = min(self._rate * BURST, self._level + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._level / self._rate)
