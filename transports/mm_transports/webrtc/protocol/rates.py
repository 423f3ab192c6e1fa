"""How often a peer may have an offer answered: a bucket of tokens each."""

from typing import Final

from mmplatform.identity.keys import SignId

BURST: Final = 10.0  # offers at once,
RATE: Final = 1.0  # and so many a second in the long run
MAX_PEERS: Final = 1024  # that are remembered; the oldest goes first


class Rates:
    """Pure: ``now`` is an argument."""

    def __init__(self) -> None:
        self._buckets: dict[SignId, tuple[float, float]] = {}  # tokens, and when that was

    def admit(self, peer: SignId, now: float) -> bool:
        """Whether one more is admitted; counts it."""
        tokens, before = self._buckets.pop(peer, (BURST, now))
        tokens = min(BURST, tokens + (now - before) * RATE)
        admitted = tokens >= 1
        if len(self._buckets) >= MAX_PEERS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[peer] = (tokens - 1 if admitted else tokens, now)
        return admitted
