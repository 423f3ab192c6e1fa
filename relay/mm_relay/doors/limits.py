"""Limits the connections of a relay: in all, of one address, and without a sign-in. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Generic, TypeVar

from mmplatform.accounts import network_of_host

T = TypeVar("T")


class Unproven(Generic[T]):
    """Connections that have proven nothing yet. When they are too many, the oldest of the largest network gives way.

    So whoever opens a thousand connections and says nothing pushes out its own, and nobody else. The networks are
    those of :func:`~mmplatform.accounts.network_of_host`: who holds one address of a network often holds more of them.
    """

    def __init__(self) -> None:
        self._networks: dict[str, dict[T, str]] = {}  # by network; the oldest first, each with its own address
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, one: T, ip: str) -> None:
        self._networks.setdefault(network_of_host(ip), {})[one] = network(ip)
        self._count += 1

    def remove(self, one: T, ip: str) -> None:
        """Forget a connection that has proven itself, or is gone; does nothing when it is forgotten already."""
        members = self._networks.get(network_of_host(ip), {})
        if one not in members:
            return
        del members[one]
        self._count -= 1
        if not members:
            del self._networks[network_of_host(ip)]

    def oldest_of_largest(self) -> T | None:
        """Return who has to give way, or None when nobody is here."""
        members = max(self._networks.values(), key=len, default=None)
        return next(iter(members)) if members else None

    def oldest_of(self, ip: str) -> T | None:
        """Return the oldest of the address of ``ip``, or None."""
        members = self._networks.get(network_of_host(ip), {})
        return next((one for one, address in members.items() if address == network(ip)), None)


@dataclass
class ConnectionLimits(Generic[T]):
    """Counts connections against caps; 0 is no cap. An IPv6 network of 64 bits counts as one address."""

    most: int = 0
    most_an_address: int = 0
    most_unproven: int = 0
    total: int = 0
    waiting: Unproven[T] = field(default_factory=Unproven, compare=False)
    _addresses: Counter[str] = field(default_factory=Counter)
    _proven: Counter[str] = field(default_factory=Counter)

    @property
    def unproven(self) -> int:
        return len(self.waiting)

    def refuses(self, ip: str) -> str:
        """Return why one more connection from ``ip`` is too many, or "". Those without a sign-in would give way."""
        if self.most and self.total - self.unproven >= self.most:
            return "this relay is full"
        if self.most_an_address and self._proven[network(ip)] >= self.most_an_address:
            return "too many connections from this address"
        return ""

    def opened(self, one: T, ip: str) -> T | None:
        """Count a connection from ``ip`` that has not signed in; return the one that has to give way for it."""
        self.total += 1
        self.waiting.add(one, ip)
        self._addresses[network(ip)] += 1
        if self.most_an_address and self._addresses[network(ip)] > self.most_an_address:
            return self.waiting.oldest_of(ip)
        if (self.most and self.total > self.most) or (self.most_unproven and self.unproven > self.most_unproven):
            return self.waiting.oldest_of_largest()
        return None

    def signed_in(self, one: T, ip: str) -> None:
        """Count a connection as signed in."""
        self.waiting.remove(one, ip)
        self._proven[network(ip)] += 1

    def closed(self, one: T, ip: str, signed_in: bool) -> None:
        """Count the end of a connection from ``ip``; ``signed_in``: whether it had signed in."""
        self.total -= 1
        self.waiting.remove(one, ip)
        self._addresses.subtract((network(ip),))
        if signed_in:
            self._proven.subtract((network(ip),))
        for counter in (self._addresses, self._proven):
            if not counter[network(ip)]:
                del counter[network(ip)]


@lru_cache(maxsize=4096)
def network(ip: str) -> str:
    """Return what counts as one address: an IPv4 host, as many people may share a network, or an IPv6 network of 64."""
    if ":" not in ip:
        return ip
    address = ip_address(ip.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))
