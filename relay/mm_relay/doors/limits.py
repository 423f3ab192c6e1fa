"""Limits the connections of a relay: in all, of one address, and without a sign-in. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network


@dataclass
class ConnectionLimits:
    """Counts connections against caps; 0 is no cap. An IPv6 network of 64 bits counts as one address."""

    most: int = 0
    most_an_address: int = 0
    most_unproven: int = 0
    total: int = 0
    unproven: int = 0
    _addresses: Counter[str] = field(default_factory=Counter)

    def refuses(self, ip: str) -> str:
        """Return why one more connection from ``ip`` is too many, or ""."""
        if self.most and self.total >= self.most:
            return "this relay is full"
        if self.most_an_address and self._addresses[_network(ip)] >= self.most_an_address:
            return "too many connections from this address"
        if self.most_unproven and self.unproven >= self.most_unproven:
            return "too many connections that have not signed in"
        return ""

    def opened(self, ip: str) -> None:
        """Count a connection from ``ip`` that has not signed in."""
        self.total += 1
        self.unproven += 1
        self._addresses[_network(ip)] += 1

    def signed_in(self) -> None:
        """Count a connection as signed in."""
        self.unproven -= 1

    def closed(self, ip: str, signed_in: bool) -> None:
        """Count the end of a connection from ``ip``; ``signed_in``: whether it had signed in."""
        self.total -= 1
        self.unproven -= not signed_in
        network = _network(ip)
        self._addresses[network] -= 1
        if not self._addresses[network]:
            del self._addresses[network]


def _network(ip: str) -> str:
    if ":" not in ip:
        return ip
    address = ip_address(ip.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped else str(ip_network((int(address), 64), strict=False))
