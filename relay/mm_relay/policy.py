"""Decides whom a relay serves, with which relays it federates, and how much it keeps."""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mm_transports.relay.protocol.address import may_name, parse_relay, relay_key
from mmplatform.addresses import ANYWHERE, LOOPBACK, PRIVATE, Reach, is_global, is_public_name, parsed
from mmplatform.interfaces import here

MIB: Final = 1024 * 1024


class Policy(NamedTuple):
    """The decisions of an operator; 0 means no limit."""

    denied: frozenset[bytes] = frozenset()  # peers and relays that are not served
    relays: frozenset[bytes] | None = None  # only these may federate; None: all that are not denied
    relay_bytes: int = 256 * MIB  # bytes of mail kept that came through one relay; also of mail kept for one
    relay_count: int = 100_000
    total_bytes: int = 0  # bytes of mail in the store
    total_notes: int = 1_000_000  # notes above which no more are taken from other relays
    reach: Reach = ANYWHERE  # where those who name relays may make us go
    trusted: frozenset[str] = frozenset()  # the addresses of relays that may be anywhere: the operator has listed them

    def serves(self, key: bytes) -> bool:
        """Whether the peer with ``key`` is served."""
        return key not in self.denied

    def federates(self, key: bytes) -> bool:
        """Whether to work with the relay with ``key``."""
        return key not in self.denied and (self.relays is None or key in self.relays)

    def reaches(self, address: str) -> bool:
        """Whether to dial ``address``, which some user named: it must not lead into the operator's network."""
        key = relay_key(address)
        return bool(key) and self.federates(key) and may_name(parse_relay(address), self.reach_of(address))

    def reach_of(self, address: str) -> Reach:
        """Return where whoever names ``address`` may make us go."""
        return ANYWHERE if address in self.trusted else self.reach


def reach_from(address: str) -> Reach:
    """Return where strangers may make a relay go that is itself at ``address``.

    One of the public internet goes to others there, and never into its own network because somebody asks. One at home
    or in a laboratory, as its address shows, goes to hosts of the networks that it is attached to as well, as its peers
    are there; one on loopback to loopback. One without TLS goes to others without.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    ip = parsed(host)
    if is_global(ip) if ip is not None else is_public_name(host):
        return Reach(home=parts.scheme != "relay+wss", here=here)
    alone = host == "localhost" or (ip is not None and ip.is_loopback)
    return Reach(heard_on=LOOPBACK if alone else PRIVATE, home=True, here=here)
