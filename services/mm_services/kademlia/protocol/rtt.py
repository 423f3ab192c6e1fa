"""Estimates how long to wait for an answer, as Jacobson does: for each contact that answered, and for all others."""

from typing import Final

from mm_services.kademlia.protocol.address import Address

FIRST: Final = 0.3  # seconds, while nothing is known
SHORTEST: Final = 0.05
LONGEST: Final = 1.5
REMEMBERED: Final = 1024


class Estimate:
    """The estimate of RFC 6298, in seconds, without the one-second floor, which is for bulk data."""

    __slots__ = ("mean", "variation")

    def __init__(self) -> None:
        self.mean = 0.0
        self.variation = 0.0

    def sample(self, rtt: float) -> None:
        if not self.mean:
            self.mean, self.variation = rtt, rtt / 2
            return
        self.variation += (abs(self.mean - rtt) - self.variation) / 4
        self.mean += (rtt - self.mean) / 8

    @property
    def timeout(self) -> float:
        if not self.mean:
            return FIRST
        return min(LONGEST, max(SHORTEST, self.mean + max(0.01, 4 * self.variation)))


class RoundTrips:
    """Time-outs by address; an address that never answered gets the estimate over all."""

    def __init__(self) -> None:
        self._everybody = Estimate()
        self._by_address: dict[Address, Estimate] = {}

    def sample(self, address: Address, rtt: float) -> None:
        self._everybody.sample(rtt)
        estimate = self._by_address.pop(address, None) or Estimate()
        estimate.sample(rtt)
        self._by_address[address] = estimate
        if len(self._by_address) > REMEMBERED:
            del self._by_address[next(iter(self._by_address))]

    def timeout(self, address: Address) -> float:
        return self._by_address.get(address, self._everybody).timeout

    @property
    def mean(self) -> float:
        """The mean round trip in seconds, 0.0 before the first answer."""
        return self._everybody.mean
