"""Decides who may sign in at a relay: keys of peers and of other relays. Sans-I/O."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import PEER, RELAY

FEDERATE: Final = ("any", "listed", "none")

Network = IPv4Network | IPv6Network  # the network of a proxy that is believed


@dataclass(frozen=True)
class Access:
    """The lists of an operator; keys are 32 raw bytes.

    Peers: those in ``allow``, or all when it is empty, except those in ``deny``. Relays: all, those in
    ``federate_allow`` when ``federate`` is "listed", none when it is "none".
    """

    allow: Collection[bytes] = frozenset()
    deny: Collection[bytes] = frozenset()
    federate: str = "any"
    federate_allow: Collection[bytes] = frozenset()
    federate_deny: Collection[bytes] = frozenset()
    reaches: Callable[[str], bool] = lambda address: True  # whether we may dial the address a relay names

    def refuses(self, key: bytes, role: int, address: str) -> str:
        """Return why the holder of ``key`` may not sign in, or ""; ``address`` is where a relay says it is reached."""
        if role == PEER:
            return self.refuses_peer(key)
        if role == RELAY:
            return self._refuses_relay(key, address)
        return "unknown-role"

    def refuses_peer(self, key: bytes) -> str:
        """Return why the peer with ``key`` may not sign in, or ""."""
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
