"""Limits how often offers of a peer are answered: one token bucket a peer."""

from typing import Final

from mmplatform.identity.keys import SignId

BURST: Final = 10.0  # offers of one peer at once
RATE: Final = 1.0  # offers of one peer a second in the long run
TRUSTED: Final = 4.0  # times as many of a peer that may make us go anywhere: friends disconnect and connect again
MAX_PEERS: Final = 1024  # peers that are remembered; the oldest is dropped first


class Rates:
    """The token buckets of all peers. Pure: ``now``, in seconds, is an argument."""

    def __init__(self) -> None:
        self._buckets: dict[SignId, tuple[float, float]] = {}  # tokens, and when they were counted

    def admit(self, peer: SignId, now: float, trusted: bool = False) -> bool:
        """Whether one more offer of ``peer`` is admitted; counts it."""
        times = TRUSTED if trusted else 1.0
        tokens, before = self._buckets.pop(peer, (BURST * times, now))
        tokens = min(BURST * times, tokens + (now - before) * RATE * times)
        admitted = tokens >= 1
        if len(self._buckets) >= MAX_PEERS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[peer] = (tokens - 1 if admitted else tokens, now)
        return admitted
