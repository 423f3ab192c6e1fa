"""Describes peers and the links to them, for people."""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Literal, NamedTuple

from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.durable.outbox import Outbox
from mmplatform.identity.keys import SignId
from mmplatform.links.ended import ClosedKind
from mmplatform.message import Scope
from mmplatform.peers.peer import Peer

LinkState = Literal["active", "standby", "silent", "closing"]


class LinkStatus(NamedTuple):
    """One link to a peer. ``rtt`` is the shortest of the latest round trips, in seconds; ``state`` is active, standby,
    silent (no answer comes) or closing."""

    address: str
    state: LinkState
    rtt: float
    bytes_in: int
    bytes_out: int


class PeerStatus(NamedTuple):
    """One peer as it is now. ``rtt`` in seconds (0 when not measured); ``waiting``: whether messages wait for the peer.

    ``reason`` says why there is no link; ``closed`` says it in one word, when one was up and ended.
    ``links`` begins with the one in use; ``troubles`` says why addresses are not used that would be better, or could
    not be dialled."""

    sign_id: SignId
    name: str
    scope: Scope
    connected: bool
    address: str
    rtt: float
    waiting: bool
    found_by: str
    reason: str
    links: tuple[LinkStatus, ...] = ()
    troubles: Mapping[str, str] = MappingProxyType({})
    blocked: bool = False
    closed: ClosedKind | Literal[""] = ""


def status_of(
    sign_id: SignId,
    peer: Peer | None,
    reason: str,
    troubles: Mapping[str, str],
    contacts: Contacts,
    directory: Directory,
    outbox: Outbox,
) -> PeerStatus:
    """The status of ``sign_id``, who is known, connected or dialled; ``peer`` is None when there is no object."""
    link = peer.link if peer is not None else None
    return PeerStatus(
        sign_id,
        contacts.name(sign_id),
        contacts.scope(sign_id),
        link is not None,
        link.connection.address if link is not None else "",
        link.rtt if link is not None else 0.0,
        outbox.waits(sign_id),
        directory.found_by(sign_id),
        reason,
        _links_of(peer) if peer is not None else (),
        dict(troubles),
        sign_id in contacts.blocked,
        peer.ended.kind if peer is not None and peer.ended is not None else "",
    )


def _links_of(peer: Peer) -> tuple[LinkStatus, ...]:
    """All links to ``peer``, the one in use first."""
    found = []
    for link in peer.ranked:
        state: LinkState = "active" if link is peer.link else "silent" if link.suspect_until == inf else "standby"
        if not link.ready:
            state = "closing"
        found.append(LinkStatus(link.connection.address, state, link.min_rtt, link.bytes_in, link.bytes_out))
    return tuple(found)
