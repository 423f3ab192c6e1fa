"""What a node does for commands, by name; each runs in the node's process (see control.py for how it is asked)."""

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Final

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import sending as outgoing
from mmplatform.errors import InvalidKey, LocalError, RequestTimeout
from mmplatform.identity.keys import SignId
from mmplatform.peers.status import LinkStatus
from mmplatform.plugins.transport import CONNECTING

if TYPE_CHECKING:
    from mmplatform.cli.node.host import Host
    from mmplatform.platform import Platform

FIRST_DIALS: Final = 1.0  # seconds
CHUNK: Final = 500  # waiting messages in one frame


async def identity(host: "Host", served: Served) -> dict[str, Any]:
    """Who and where this node is."""
    platform = host.platform
    assert platform.directory.mine is not None
    return {
        "signId": platform.sign_id,
        "boxId": platform.box_id,
        "ticket": platform.ticket(),
        "listening": list(platform.directory.mine.connection_info),
        "pid": os.getpid(),
        "uptime": time.time() - host.started,
    }


async def add(host: "Host", served: Served, ticket: str, name: str, circle: str | None) -> dict[str, Any]:
    """Know a peer; the answer comes once that is saved."""
    platform = host.platform
    peer = await platform.add(ticket, circle=circle) if ticket != platform.ticket() else platform.sign_id
    if peer == platform.sign_id:
        platform.friends.discard(peer)
        platform.devices.discard(peer)
        raise LocalError("this is the ticket of this node itself; add it on the other one")
    if name:
        await platform.directory.set_name(peer, name)
    await platform.storage.get(b"")  # a read comes after the writes before it
    reachable = platform.directory.known(peer) is not None
    if reachable:
        platform.peer(peer).nudge()
    return {"signId": peer, "name": platform.directory.name(peer), "scope": platform.scope(peer), "known": reachable}


async def peers(host: "Host", served: Served) -> list[dict[str, Any]]:
    """Everybody known."""
    return [
        {
            "signId": status.sign_id, "name": status.name, "scope": status.scope, "connected": status.connected,
            "address": status.address, "rtt": status.rtt, "waiting": status.waiting, "foundBy": status.found_by,
            "reason": status.reason, "links": [_link(link) for link in status.links],
            "troubles": dict(status.troubles),
        }
        for status in host.platform.peers()
    ]  # fmt: skip


def _link(link: LinkStatus) -> dict[str, Any]:
    return {
        "address": link.address, "state": link.state, "rtt": link.rtt,
        "bytesIn": link.bytes_in, "bytesOut": link.bytes_out,
    }  # fmt: skip


async def services(host: "Host", served: Served) -> dict[str, str]:
    """What runs beside the platform, and what troubles it."""
    return {name: service.trouble for name, service in zip(host.services, host.platform.services, strict=False)}


async def relays(host: "Host", served: Served) -> dict[str, str]:
    """Our home relays, with what is wrong there or ""; one that has just been dialled is given a moment."""
    platform = host.platform
    until = time.monotonic() + FIRST_DIALS
    while time.monotonic() < until and CONNECTING in platform.relays.values():  # noqa: ASYNC110 - it may never be
        await asyncio.sleep(0.02)
    return platform.relays


async def send(host: "Host", served: Served, **arguments: Any) -> dict[str, Any]:
    return await outgoing.send(host.platform, served, **arguments)


async def lines(host: "Host", served: Served, **arguments: Any) -> dict[str, Any]:
    return await outgoing.lines(host.platform, served, **arguments)


async def request(host: "Host", served: Served, peer: str, topic: str, payload: Any, timeout: float) -> Any:
    """Ask a peer; its answer."""
    platform = host.platform
    destination = outgoing.resolve(platform, peer)
    try:
        return await platform.messaging.request(topic, destination, payload, timeout=timeout)
    except RequestTimeout as error:
        link = outgoing.link_to(platform, destination)
        why = "its handlers have not answered" if link["connected"] else link["reason"]
        raise RequestTimeout(f"{error} ({why})") from None


async def ping(host: "Host", served: Served, peer: str, timeout: float) -> float:
    """Seconds there and back."""
    return await outgoing.ping(host.platform, peer, timeout)


async def listen(host: "Host", served: Served, pattern: str) -> None:
    """Batches of [topic, sender, name, payload]; the command sends back how many more it has written."""
    await host.subscriptions.read(pattern, served)


async def waiting(host: "Host", served: Served, peer: str | None) -> int:
    """What is not settled, in chunks, oldest first; how many."""
    platform = host.platform
    wanted = outgoing.resolve(platform, peer) if peer is not None else None
    await _dialled(host)
    reasons = {status.sign_id: status for status in platform.peers()}
    found = await platform.outbox.waiting(wanted)
    for start in range(0, len(found), CHUNK):
        chunk = []
        for message in found[start : start + CHUNK]:
            status = reasons.get(SignId(message.peer))
            chunk.append(
                {
                    "id": message.id, "peer": message.peer, "name": platform.directory.name(SignId(message.peer)),
                    "topic": message.topic, "size": message.size, "priority": message.priority,
                    "expiresIn": round(message.expires_in, 3), "state": message.state,
                    "why": message.why
                    or _why(message.state, status is not None and status.connected, status and status.reason),
                }
            )  # fmt: skip
        await served.send(chunk)
    return len(found)


async def _dialled(host: "Host") -> None:
    """A node that has just started should first try to reach those for whom something waits: that tells why."""
    until = time.monotonic() + FIRST_DIALS
    while time.monotonic() < until:
        if all(s.connected or s.reason for s in host.platform.peers() if s.waiting):
            return
        await asyncio.sleep(0.02)


async def cancel(host: "Host", served: Served, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the command
    """Take back a message that waits."""
    try:
        done = await host.platform.outbox.cancel(id)
        return {"id": id, "cancelled": done, "state": await host.platform.delivery(id)}
    except ValueError:
        raise LocalError(f"{id!r} is not the id of a message; mm outbox lists them") from None


async def directory(host: "Host", served: Served, topic: str, payload: Any, timeout: float) -> Any:
    """Ask the services that answer directory.* here; a name of a peer in front of a key becomes its signId."""
    platform = host.platform
    if topic not in ("directory.get", "directory.put", "directory.bootstrap", "directory.state"):
        raise LocalError(f"{topic} is no topic of the directory")
    if topic == "directory.get":
        payload = _named(platform, payload)
    return await platform.messaging.request(topic, payload=payload, timeout=timeout)


def _named(platform: "Platform", key: str) -> str:
    name, slash, rest = key.partition("/")
    try:
        return f"{platform.directory.resolve(name)}{slash}{rest}"
    except InvalidKey:
        return key  # a signId with a slash in it, or a name of our own record


async def diagnose(host: "Host", served: Served, peer: str | None, servers: list[str]) -> list[list[str]]:
    """What is wrong with this node, and with the way to a peer; see mmplatform/diagnosis."""
    from mmplatform.diagnosis import examine  # used by mm doctor only

    platform = host.platform
    wanted = outgoing.resolve(platform, peer) if peer is not None else None
    return [list(check) for check in await examine(platform, wanted, servers)]


async def cut(host: "Host", served: Served, peer: str) -> bool:
    """Abort the connection to a peer, as a broken cable would (for mm demo and tests)."""
    link = host.platform.peer(outgoing.resolve(host.platform, peer)).link
    if link is not None:
        link.connection.abort()
    return link is not None


async def give_way(host: "Host", served: Served) -> str:
    """mm run wants the folder: a node that is there for mm on makes way, and mm on becomes its client.

    Returns what this node is for."""
    if host.purpose == "on":
        host.yielding.set()
    return host.purpose


def _why(state: str, connected: bool, reason: str | None) -> str:
    if state == "sent":
        return "its handlers there are at work"
    if state == "relayed":
        return "a relay keeps it until its peer has confirmed it"
    return "it is its turn next" if connected else (reason or "the peer was not dialled yet")


OPERATIONS: Final[dict[str, Operation]] = {
    operation.__name__: operation
    for operation in (
        identity, add, peers, services, relays, send, lines, request, ping, listen, waiting, cancel, directory,
        diagnose, cut, give_way,
    )
}  # fmt: skip
