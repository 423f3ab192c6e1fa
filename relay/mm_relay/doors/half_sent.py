"""Bounds the bytes of messages that have not come to their end. Of what is too much, who holds most is cut. Pure."""

from collections import Counter
from typing import Final, Generic, Protocol, TypeVar

from mm_relay.doors.limits import network

SMALL: Final = 64 * 1024  # bytes for which a connection is never cut


class _Connection(Protocol):
    def abort(self, why: str = "") -> None: ...


C = TypeVar("C", bound=_Connection)


class HalfSent(Generic[C]):
    """What all connections hold, by address; ``most`` bytes in all, ``most_an_address`` of one address."""

    def __init__(self, most: int, most_an_address: int) -> None:
        self._most, self._most_an_address = most, most_an_address
        self.total = 0
        self._held: dict[C, int] = {}
        self._addresses: Counter[str] = Counter()
        self._by_address: dict[str, dict[C, None]] = {}  # the oldest first

    def count(self, one: C, ip: str, held: int) -> None:
        """Take note of what a connection holds now; cut whoever holds most when that is too much."""
        before = self._held.get(one, 0)
        if held == before:
            return
        if not held:
            self.forget(one, ip)
            return
        address = network(ip)
        self._held[one] = held
        self._by_address.setdefault(address, {})[one] = None
        self.total += held - before
        self._addresses[address] += held - before
        if held > before:
            self._bound(address)

    def forget(self, one: C, ip: str) -> None:
        """Forget a connection that holds nothing any more, or is gone."""
        self._forget(one, network(ip))

    def _forget(self, one: C, address: str) -> None:
        held = self._held.pop(one, 0)
        if not held:
            return
        self.total -= held
        self._addresses[address] -= held
        del self._by_address[address][one]
        if not self._by_address[address]:
            del self._by_address[address], self._addresses[address]

    def _bound(self, address: str) -> None:
        if self._addresses[address] > self._most_an_address:
            self._cut(address)
        elif self.total > self._most:
            self._cut(max(self._addresses, key=lambda each: self._addresses[each]))

    def _cut(self, address: str) -> None:
        """End the largest of an address; of equals the oldest."""
        largest = max(self._by_address[address], key=lambda one: self._held[one])
        if self._held[largest] > SMALL:
            self._forget(largest, address)
            largest.abort("too much is half sent")
