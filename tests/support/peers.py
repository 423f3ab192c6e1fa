"""The peers of nodes under test, as the nodes see them."""

import asyncio
from itertools import combinations

from mmplatform import Platform
from mmplatform.peers.peer import Peer
from tests.support.waiting import until


def peer_of(node: Platform, other: Platform) -> Peer:
    return node.parts.peers.peer(other.sign_id)


def linked(*nodes: Platform) -> bool:
    """Whether each has exactly one link, to the other."""
    return all([len(peer._links) for peer in node.parts.peers.by_id.values()] == [1] for node in nodes)


async def acquainted(*nodes: Platform) -> None:
    """Link every two of ``nodes``, and wait until they have told each other what friends do once."""
    for node, other in combinations(nodes, 2):
        await node.connect(other.sign_id)
        await until(lambda a=node, b=other: a.parts.peers.linked(b.sign_id) and b.parts.peers.linked(a.sign_id))
    await asyncio.gather(*(node.flush() for node in nodes))


async def befriend(*nodes: Platform) -> None:
    """Make every two of ``nodes`` friends, each with the address of the other."""
    for node in nodes:
        for other in nodes:
            if other is not node:
                await node.add(other.ticket(), circle="friends")
