"""Who may use a relay: keys of peers, other relays, and how many connections. Sans-I/O."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from mm_transports.relay.items import PEER, RELAY, SignIn
from mm_transports.relay.policy import relay_key

FEDERATE: Final = ("any", "listed", "none")


@dataclass(frozen=True)
class Access:
    """Keys are 32 raw bytes. Of peers: an empty ``allow`` lets everybody in whom ``deny`` does not name. Of relays:
    those of ``federate_allow`` only when ``federate`` is "listed", nobody when it is "none"."""

    allow: Collection[bytes] = frozenset()
    deny: Collection[bytes] = frozenset()
    federate: str = "any"
    federate_allow: Collection[bytes] = frozenset()
    federate_deny: Collection[bytes] = frozenset()
    reaches: Callable[[str], bool] = lambda address: True  # what comes back goes to the address a relay names

    def refuses(self, given: SignIn) -> str:
        """Why whoever signs in may not, or ""."""
        if given.role == PEER:
            return self.refuses_peer(given.key)
        if given.role == RELAY:
            return self._refuses_relay(given.key, given.address)
        return "unknown-role"

    def refuses_peer(self, key: bytes) -> str:
        return "denied" if key in self.deny or (self.allow and key not in self.allow) else ""

    def _refuses_relay(self, key: bytes, address: str) -> str:
        if relay_key(address) != key:
            return "wrong-address"
        if not self.reaches(address):
            return "unreachable"
        return self._refuses_federation(key)

    def _refuses_federation(self, key: bytes) -> str:
        if self.federate == "none" or key in self.federate_deny:
            return "denied"
        return "denied" if self.federate == "listed" and key not in self.federate_allow else ""


@dataclass
class Crowd:
    """Counts connections against caps; 0 is no cap. An IPv6 network of 64 bits counts as one address."""

    most: int = 0
    most_an_address: int = 0
    most_unproven: int = 0
    total: int = 0
    unproven: int = 0
    _addresses: Counter[str] = field(default_factory=Counter)

    def refuses(self, ip: str) -> str:
        """Why one more connection from ``ip`` is too many, or ""."""
        if self.most and self.total >= self.most:
            return "this relay is full"
        if self.most_an_address and self._addresses[_network(ip)] >= self.most_an_address:
            return "too many connections from this address"
        if self.most_unproven and self.unproven >= self.most_unproven:
            return "too many connections that have not signed in"
        return ""

    def enter(self, ip: str) -> None:
        self.total += 1
        self.unproven += 1
        self._addresses[_network(ip)] += 1

    def prove(self) -> None:
        self.unproven -= 1

    def leave(self, ip: str, proven: bool) -> None:
        self.total -= 1
        self.unproven -= not proven
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
