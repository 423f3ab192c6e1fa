"""Examines how one peer can be reached: its record, each address, the messages that wait, the links that are up."""

import asyncio
from collections.abc import Sequence
from typing import Final

from mmplatform.diagnosis import sources
from mmplatform.durable import inspection
from mmplatform.identity.keys import SignId
from mmplatform.links.probe import Answer, Probe
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, fault, ok, unchecked, warning

MOST: Final = 8  # addresses of one peer that are tried
ASK: Final = "ask for its ticket of today (mm id --ticket there) and add it: mm add TICKET"


async def examine(platform: Platform, peer: SignId) -> list[Check]:
    """Tell whether a message sent now to ``peer`` would arrive now, later, or not at all."""
    name = platform.contacts.name(peer) or peer
    record = await _record(platform, peer, name)
    probes = await asyncio.gather(
        *(sources.probe(platform, peer, a) for a in platform.directory.addresses(peer)[:MOST])
    )
    carried = any(platform.parts.mailer.carries(probe.address) for probe in probes)
    checks = [record, *_addresses(name, probes, platform.parts.peers.linked(peer), carried)]
    checks += _links(platform, peer, name)
    return checks + await _mail(platform, peer, name)


async def _record(platform: Platform, peer: SignId, name: str) -> Check:
    directory, subject = platform.directory, f"record of {name}"
    info = directory.known(peer) or await directory.find(peer)
    if info is not None:
        days = (info.expires - platform.parts.now()) / 86400
        return ok(subject, f"found by {directory.found_by(peer) or 'its handshake'}, good for {days:.0f} more days")
    if directory.addresses(peer):
        return ok(subject, "none is at hand; its addresses were only named")
    if directory.expired(peer):
        return fault(subject, "record-expired", "the record at hand has expired: it was away for long", ASK)
    looked = ", ".join(type(service).__name__ for service in platform.services) or "no service that could find it runs"
    return fault(subject, "record-missing", f"nothing tells where it is (asked: {looked})", ASK)


def _addresses(name: str, probes: Sequence[Probe], linked: bool, carried: bool) -> list[Check]:
    reached = linked or any(probe.answer is Answer.PROVEN for probe in probes)
    away = any(probe.answer is Answer.ABSENT for probe in probes)
    checks = [_address(name, probe, reached) for probe in probes]
    if reached or not probes or any(check.word == "wrong-key" for check in checks):
        return checks
    where = f"{len(probes)} address{'es' * (len(probes) > 1)} tried, none leads to it"
    if away:
        return [
            *checks,
            warning(name, "peer-absent", f"it is not there now: {where}", "nothing: mail waits for it at its relay"),
        ]
    if carried:
        remedy = "see that its node and its relay run"
    else:
        remedy = "see that its node runs, that its port is let through, or that both sides use a relay"
    return [*checks, fault(name, "peer-unreachable", where, remedy)]


def _address(name: str, probe: Probe, reached: bool) -> Check:
    subject = f"{name} at {probe.address}"
    if probe.answer is Answer.PROVEN:
        return ok(subject, probe.text)
    if probe.answer is Answer.OTHER:
        made = warning if reached else fault
        return made(subject, "wrong-key", f"somebody else is there: {probe.text}", ASK)
    return unchecked(subject, probe.text)


def _links(platform: Platform, peer: SignId, name: str) -> list[Check]:
    subject = f"links to {name}"
    status = next((status for status in platform.peers() if status.sign_id == peer), None)
    if status is None or not status.connected:
        return [unchecked(subject, "none is up")]
    shown = [f"{link.state} {link.address}" + f" ({link.rtt * 1000:.1f} ms)" * (link.rtt > 0) for link in status.links]
    unused = [f"not {address}: {why}" for address, why in status.troubles.items()]
    return [ok(subject, "; ".join(shown + unused))]


async def _mail(platform: Platform, peer: SignId, name: str) -> list[Check]:
    waiting = relayed = 0
    why = ""
    async for message in inspection.queued(platform.parts.outbox, peer):
        waiting += 1
        relayed += message.state == "relayed"
        why = why or message.why
    subject = f"messages for {name}"
    if not waiting:
        return [ok(subject, "none waits")]
    count = f"{waiting} wait" if waiting > 1 else "1 waits"
    if why:
        return [
            warning(
                subject, "mail-declined", f"{count}, and no relay keeps them: {why}",
                "they are kept here and go when it is reached; keep this node running",
            )
        ]  # fmt: skip
    return [ok(subject, f"{count}, {relayed} of them at a relay; each is kept until it is confirmed or expires")]
