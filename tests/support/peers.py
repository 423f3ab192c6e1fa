"""The peers of nodes under test, as the nodes see them."""

from mmplatform import Platform
from mmplatform.peers.peer import Peer


def peer_of(node: Platform, other: Platform) -> Peer:
    return node.parts.peers.peer(other.sign_id)


def linked(*nodes: Platform) -> bool:
    """Whether each has exactly one link, to the other."""
    return all([len(peer._links) for peer in node.parts.peers.by_id.values()] == [1] for node in nodes)
