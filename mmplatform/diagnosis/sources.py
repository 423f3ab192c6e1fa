"""Asks the transports and services of a node about themselves, and its links about their peers."""

import asyncio

from mmplatform.diagnosis import clock
from mmplatform.directory.own_record import VALID
from mmplatform.identity.keys import SignId
from mmplatform.links.probe import Probe
from mmplatform.links.probe import probe as probe_address
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, Diagnosable, unchecked


async def checks(platform: Platform) -> list[Check]:
    """Collect the checks of the listener, of transports, carriers and services."""
    found = await asyncio.gather(*(_checked(part) for part in _parts(platform)))
    return [*platform.parts.listener.checks(), *(check for checks in found for check in checks)]


def clocks(platform: Platform) -> dict[str, float]:
    """Return how many seconds the clocks of relays and peers are ahead of ours, by the name of their owner.

    A record from the future tells of a clock, too, when there is no link: it is ahead by so much, or more. That of a
    stranger says what its maker likes.
    """
    directory, now = platform.directory, platform.parts.now()
    dated = {peer: directory.known(peer) for peer in directory.peers() if directory.reach(peer).anywhere}
    found = {
        platform.contacts.name(peer) or peer: ahead
        for peer, info in dated.items()
        if info is not None and (ahead := info.expires - VALID - now) > clock.TOLERATED
    }
    found |= {who: skew for part in _parts(platform) for who, skew in part.clocks().items()}
    links = platform.parts.peers.links()
    return found | {platform.contacts.name(peer) or peer: link.skew for peer, link in links}


async def probe(platform: Platform, peer: SignId, address: str) -> Probe:
    """Ask whether ``peer`` answers at ``address``, without touching the links to it."""
    return await probe_address(platform.parts.dialer.transports, platform.identity, peer, address, platform.parts.now)


def _parts(platform: Platform) -> list[Diagnosable]:
    parts = (*platform.parts.plugins.transports, *platform.parts.plugins.carriers, *platform.services)
    return list(dict.fromkeys(part for part in parts if isinstance(part, Diagnosable)))


async def _checked(part: Diagnosable) -> list[Check]:
    """Run the checks of one plugin; one that fails must not keep others from being examined."""
    try:
        return await part.checks()
    except Exception as error:
        return [unchecked(type(part).__name__, f"its checks failed: {type(error).__name__}: {error}")]
