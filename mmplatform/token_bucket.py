"""A token bucket: so many a second, more at once after a quiet while, and a debt that is paid by waiting. Pure."""

from collections import OrderedDict
from collections.abc import Hashable
from math import inf
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BURST: Final = 4.0  # seconds' worth of tokens that may be spent at once, where nothing else is said


class TokenBucket:
    """A bucket with ``rate`` tokens a second, 0 for no limit. What was spent already, as data that was read, is paid
    for afterwards, by waiting. ``now`` is of a clock that does not go back."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, now: float, burst: float = BURST) -> None:
        self._rate, self._at, self._burst = rate, now, burst
        self._level = rate * burst

    def level(self, now: float) -> float:
        """Return the tokens that are there; below zero they are a debt."""
        if not self._rate:
            return inf
        self._level = min(self._rate * self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level

    def spend(self, amount: int, now: float) -> float:
        """Spend tokens; return the seconds until the debt is paid, 0 when there is none."""
        if not self._rate:
            return 0.0
        self._level = self.level(now) - amount
        return max(0.0, -self._level / self._rate)

    def forgive(self) -> None:
        """Forget a debt of more than a second."""
        self._level = max(self._level, -self._rate)

    def change(self, rate: float) -> None:
        """Have another rate from now on."""
        self._rate, self._level = rate, min(self._level, rate * self._burst)


class TokenBuckets(Generic[K]):
    """Buckets by key, all alike. Of more than ``most`` the one that was asked for longest ago is forgotten."""

    def __init__(self, rate: float, most: int, burst: float = BURST) -> None:
        self._rate, self._most, self._burst = rate, most, burst
        self._buckets: OrderedDict[K, TokenBucket] = OrderedDict()

    def of(self, key: K, now: float) -> TokenBucket:
        """Return the bucket of ``key``, a full one when it is not remembered."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate, now, self._burst)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket
