"""Decides whom a relay serves, with which relays it federates, and how much it keeps."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mm_transports.relay.protocol.address import relay_key

MIB: Final = 1024 * 1024


class Policy(NamedTuple):
    """The decisions of an operator; 0 means no limit."""

    denied: frozenset[bytes] = frozenset()  # peers and relays that are not served
    relays: frozenset[bytes] | None = None  # only these may federate; None: all that are not denied
    relay_bytes: int = 256 * MIB  # bytes of mail kept that came through one relay; also of mail kept for one
    relay_count: int = 100_000
    address_bytes: int = 256 * MIB  # bytes of mail kept of all senders at one address
    address_count: int = 80_000
    total_bytes: int = 0  # bytes of mail in the store; above half of it, recipients who were here lately come first
    total_notes: int = 1_000_000  # notes above which no more are taken from other relays
    anywhere: bool = True  # whether to dial relays in private networks and without TLS, too, not only trusted ones
    trusted: frozenset[bytes] = frozenset()

    def serves(self, key: bytes) -> bool:
        """Whether the peer with ``key`` is served."""
        return key not in self.denied

    def federates(self, key: bytes) -> bool:
        """Whether to work with the relay with ``key``."""
        return key not in self.denied and (self.relays is None or key in self.relays)

    def reaches(self, address: str) -> bool:
        """Whether to dial ``address``, which some user named: it must not lead into the operator's network."""
        key = relay_key(address)
        return bool(key) and self.federates(key) and (self.anywhere or key in self.trusted or is_public(address))


@lru_cache(maxsize=4096)
def is_public(address: str) -> bool:
    """Whether the address of a relay has TLS and a host of the public internet, as far as its name shows."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme != "relay+wss":
        return False
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal"))
