"""The checks behind ``mm doctor``: what is wrong with a node, and what to do (docs/when-it-does-not-work.rst).

``folder.py`` examines a data folder on which no node runs. :func:`examine` asks a running node: first its transports
and services, which know best what may be wrong with them, then the rest of the files here.
"""

import asyncio
from collections.abc import Sequence

from mmplatform.diagnosis import causes, clock, folder, inbox, peers, reach, sources
from mmplatform.identity.keys import SignId
from mmplatform.links import stun
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, unchecked

FIRST_LINK = 5.0  # seconds for a link to the peer that is asked about
LOOK = 0.05  # seconds between two looks at the attempt

__all__ = ["examine"]


async def examine(platform: Platform, peer: SignId | None = None, servers: Sequence[str] = ()) -> list[Check]:
    """Run all checks on a running node.

    Args:
        platform: the node.
        peer: a peer whose reachability is examined, too.
        servers: URLs of STUN servers to try UDP with.

    """
    linked = asyncio.ensure_future(_linked(platform, peer))
    contributed, asked = await asyncio.gather(
        sources.checks(platform), stun.examine(servers) if servers else _nothing()
    )
    await linked
    found = [
        *(await folder.of_node(platform)),
        *inbox.examine(platform),
        *reach.examine(platform),
        *contributed,
        *asked,
        *clock.examine(sources.clocks(platform), platform.parts.links.outdated),
    ]
    if not any(check.subject == stun.SUBJECT for check in found):
        found.append(unchecked(stun.SUBJECT, "no STUN server is named to try it with; --stun stun:HOST names one"))
    if peer is not None:
        found += await peers.examine(platform, peer)
    return causes.sorted_out(found)


async def _linked(platform: Platform, peer: SignId | None) -> None:
    """Try to have a link to ``peer`` up: a link tells most about a peer, such as its clock."""
    if peer is None:
        return
    connecting = asyncio.ensure_future(platform.connect(peer, FIRST_LINK))
    while not connecting.done() and not platform.parts.peers.reason(peer):
        await asyncio.wait([connecting], timeout=LOOK)
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)  # peers.py says why


async def _nothing() -> list[Check]:
    return []
