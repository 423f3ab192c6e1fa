"""What people may know of a peer and of the links to it."""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from mmplatform.identity.keys import SignId
from mmplatform.peers.peer import Peer


class LinkStatus(NamedTuple):
    """One link to a peer; ``rtt`` in seconds, the shortest of the last ones; ``state`` is active, standby, silent (it
    does not answer) or closing."""

    address: str
    state: str
    rtt: float
    bytes_in: int
    bytes_out: int


class PeerStatus(NamedTuple):
    """One peer as it is now; ``rtt`` in seconds (0 when not measured), ``waiting`` True when messages wait for it.

    ``links`` has the one in use first; ``troubles`` says of addresses that would be better, or could not be dialled,
    why they are not used."""

    sign_id: SignId
    name: str
    scope: str
    connected: bool
    address: str
    rtt: float
    waiting: bool
    found_by: str
    reason: str
    links: tuple[LinkStatus, ...] = ()
    troubles: Mapping[str, str] = MappingProxyType({})


def links_of(peer: Peer) -> tuple[LinkStatus, ...]:
    """The one in use first."""
    found = []
    for link in peer.ranked:
        state = "active" if link is peer.link else "silent" if link.doubted == inf else "standby"
        if not link.ready:
            state = "closing"
        found.append(LinkStatus(link.connection.address, state, link.trip, link.bytes_in, link.bytes_out))
    return tuple(found)
