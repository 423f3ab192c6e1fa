"""What a node does for commands, by name; each runs in the node's process (see control.py for how it is asked)."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, Protocol

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import lines as line_runs
from mmplatform.cli.node import lists, sending, stored
from mmplatform.cli.node.sending_to_all import send_to_all
from mmplatform.cli.node.subscriptions import Subscriptions
from mmplatform.durable import inspection
from mmplatform.errors import LocalError, RequestTimeout
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import AT
from mmplatform.message import Priority, make_id
from mmplatform.peers.status import LinkStatus
from mmplatform.platform import Platform
from mmplatform.plugins.transport import CONNECTING

FIRST_DIALS: Final = 1.0  # seconds
CHUNK: Final = 500  # waiting messages in one frame
COUNTED: Final = 10_000  # waiting messages, at most, that are read only to be counted


class Context(Protocol):
    """The node that operations run in."""

    platform: Platform
    services: Sequence[str]  # the names of platform.services
    subscriptions: Subscriptions
    started: float  # Unix seconds
    purpose: str  # "run", "on" or "command"
    yielding: asyncio.Event  # set to have mm on make way for mm run


async def identity(context: Context, served: Served) -> dict[str, Any]:
    """Who and where this node is."""
    platform = context.platform
    assert platform.directory.own_record is not None
    return {
        "signId": platform.sign_id,
        "boxId": platform.identity.box_id,
        "ticket": platform.ticket(),
        "listening": list(platform.directory.own_record.connection_info),
        "pid": os.getpid(),
        "uptime": time.time() - context.started,
    }


async def add(
    context: Context, served: Served, ticket: str, name: str, circle: Literal["friends", "devices"] | None
) -> dict[str, Any]:
    """Know a peer; the answer comes once that is saved."""
    platform = context.platform
    peer = await platform.add(ticket, name=name, circle=circle)
    reachable = platform.directory.known(peer) is not None
    if reachable:
        platform.parts.peers.found(peer)
    return {
        "signId": peer,
        "name": platform.contacts.name(peer),
        "scope": platform.contacts.scope(peer),
        "known": reachable,
    }


async def accept(context: Context, served: Served, peer: str, name: str) -> dict[str, Any]:
    """Make a friend of somebody who asks to be one, or is one; the answer comes once that is saved."""
    platform = context.platform
    key = sending.resolve(platform, peer)
    if key not in platform.contacts.friends and not platform.parts.friend_requests.asks(key):
        raise LocalError(f"{peer} does not ask to be a friend; mm add {peer} --friend makes it one all the same")
    return await add(context, served, key, name, "friends")


async def rename(context: Context, served: Served, peer: str, name: str) -> dict[str, Any]:
    """Call a peer by another name."""
    key = sending.resolve(context.platform, peer)
    await context.platform.contacts.rename(key, name)
    return {"signId": key, "name": name}


async def move(
    context: Context, served: Served, peer: str, circle: Literal["friends", "devices", "public"]
) -> dict[str, Any]:
    """Make a peer a friend, a device or neither."""
    key = sending.resolve(context.platform, peer)
    await context.platform.contacts.move(key, circle)
    contacts = context.platform.contacts
    return {"signId": key, "name": contacts.name(key), "scope": contacts.scope(key)}


async def remove(context: Context, served: Served, peer: str, drop: bool, block: bool) -> dict[str, Any]:
    """Forget a peer, or have nothing to do with it any more; what is still here of it."""
    people = context.platform.contacts
    key = sending.resolve(context.platform, peer)
    left = await (people.block(key, drop=drop) if block else people.remove(key, drop=drop))
    return {"signId": key, "waiting": left.waiting, "kept": left.kept}


async def unblock(context: Context, served: Served, peer: str) -> bool:
    """Let a blocked peer be a stranger again."""
    return await context.platform.contacts.unblock(sending.resolve(context.platform, peer))


async def peers(context: Context, served: Served) -> list[dict[str, Any]]:
    """Everybody known."""
    return [
        {
            "signId": status.sign_id, "name": status.name, "scope": status.scope, "connected": status.connected,
            "address": status.address, "rtt": status.rtt, "waiting": status.waiting, "foundBy": status.found_by,
            "reason": status.reason, "links": [_link(link) for link in status.links],
            "troubles": dict(status.troubles), "blocked": status.blocked,
        }
        for status in context.platform.peers()
    ]  # fmt: skip


def _link(link: LinkStatus) -> dict[str, Any]:
    return {
        "address": link.address, "state": link.state, "rtt": link.rtt,
        "bytesIn": link.bytes_in, "bytesOut": link.bytes_out,
    }  # fmt: skip


async def services(context: Context, served: Served) -> dict[str, str]:
    """What runs beside the platform, and what troubles it."""
    return {name: service.trouble for name, service in zip(context.services, context.platform.services, strict=False)}


async def relays(context: Context, served: Served) -> dict[str, str]:
    """Our home relays, with what is wrong there or ""; one that has just been dialled is given a moment."""
    platform = context.platform
    until = time.monotonic() + FIRST_DIALS
    while time.monotonic() < until and CONNECTING in platform.relays.values():  # noqa: ASYNC110 - it may never be
        await asyncio.sleep(0.02)
    return platform.relays


async def send(context: Context, served: Served, **arguments: Any) -> dict[str, Any]:
    """Send a message to a peer, or to each member of a list or circle: see :func:`mmplatform.cli.node.sending.send`."""
    to = send_to_all if arguments["peer"].startswith(AT) else sending.send
    return await to(context.platform, served, **arguments)


async def lines(context: Context, served: Served, **arguments: Any) -> dict[str, Any]:
    """Send each line of the input as a message: see :func:`mmplatform.cli.node.lines.lines`."""
    return await line_runs.lines(context.platform, served, **arguments)


async def resolve(context: Context, served: Served, peer: str) -> SignId:
    """The signId of a peer by its name here, or by itself. Raises InvalidKey."""
    return sending.resolve(context.platform, peer)


async def request(context: Context, served: Served, peer: str | None, topic: str, payload: Any, timeout: float) -> Any:
    """Ask a peer, or with None whoever answers ``topic`` in this node, a service for example; the answer.

    ``timeout``: seconds. Raises NoResponders, RequestTimeout or RequestFailed."""
    platform = context.platform
    if peer is None:
        return await platform.messaging.request(topic, payload=payload, timeout=timeout)
    destination = sending.resolve(platform, peer)
    try:
        return await platform.messaging.request(topic, destination, payload, timeout=timeout)
    except RequestTimeout as error:
        link = sending.link_to(platform, destination)
        why = "its handlers have not answered" if link["connected"] else link["reason"]
        raise RequestTimeout(f"{error} ({why})") from None


async def ping(context: Context, served: Served, peer: str, timeout: float) -> float:
    """Seconds there and back."""
    return await sending.ping(context.platform, peer, timeout)


async def listen(context: Context, served: Served, pattern: str, answers: bool = False) -> None:
    """Batches of [topic, sender, name, payload, about]; the command sends back how many more it has written, and a
    reply to each that is a request: {value} or {error}, None for others."""
    await context.subscriptions.read(pattern, served, answers)


async def waiting(context: Context, served: Served, peer: str | None, limit: int | None) -> int:
    """What has not ended, in chunks as it is read, ``limit`` at most: what is here, oldest first, then what peers keep.
    Returns how many there are, with a limit about."""
    platform = context.platform
    wanted = sending.resolve(platform, peer) if peer is not None else None
    await _dialled(context)
    outbox = platform.parts.outbox
    about = outbox.count if wanted is None else outbox.count_of(outbox.peek(wanted))
    chunk: list[dict[str, Any]] = []
    count = 0
    async for message in _unended(platform, wanted):
        if limit is not None and count >= limit and about > COUNTED:
            count = about
            break
        count += 1
        if limit is not None and count > limit:
            continue
        chunk.append(message)
        if len(chunk) == CHUNK:
            await served.send(chunk)
            chunk = []
    if chunk:
        await served.send(chunk)
    return count


async def _unended(platform: Platform, peer: str | None) -> AsyncIterator[dict[str, Any]]:
    """The messages of people and programs: what the platform itself tells its peers is not theirs to look after."""
    statuses = {status.sign_id: status for status in platform.peers()}
    internal = platform.parts.dispatcher.internal
    async for message in inspection.queued(platform.parts.outbox, peer):
        if message.protocol in internal:
            continue
        status = statuses.get(SignId(message.peer))
        why = _why(message.state, status is not None and status.connected, status and status.reason)
        yield {
            "id": message.id, "peer": message.peer, "name": platform.contacts.name(message.peer),
            "topic": message.topic, "size": message.size, "priority": message.priority,
            "expiresIn": round(message.expires_in, 3), "state": message.state, "why": message.why or why,
        }  # fmt: skip
    for (key, lane, epoch), low, high, until in platform.parts.outbox.received.ids.listed(peer):
        expires_in = round(until / 1000 - platform.parts.now(), 3)
        for seq in range(low, high + 1):  # of these, the id is all that is kept here
            yield {
                "id": make_id(key, lane, epoch, seq), "peer": key, "name": platform.contacts.name(key), "topic": "",
                "size": None, "priority": Priority(lane).name.lower(), "expiresIn": expires_in, "state": "received",
                "why": sending.KEPT_THERE,
            }  # fmt: skip


async def _dialled(context: Context) -> None:
    """A node that has just started should first try to reach those for whom something waits: that tells why."""
    until = time.monotonic() + FIRST_DIALS
    while time.monotonic() < until:
        if all(s.connected or s.reason for s in context.platform.peers() if s.waiting):
            return
        await asyncio.sleep(0.02)


async def cancel(context: Context, served: Served, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the command
    """Take back a message that waits."""
    try:
        done = await inspection.cancel(context.platform.parts.outbox, id)
        return {"id": id, "cancelled": done, "state": await context.platform.delivery(id)}
    except ValueError:
        raise LocalError(f"{id!r} is not the id of a message; mm outbox lists them") from None


async def cancel_all(context: Context, served: Served, peer: str | None) -> dict[str, int]:
    """Take back all that waits, for one peer or for everybody: how many messages, and how many are on their way."""
    platform = context.platform
    outbox, internal = platform.parts.outbox, platform.parts.dispatcher.internal
    found = {"cancelled": 0, "left": 0}
    async for message in inspection.queued(outbox, sending.resolve(platform, peer) if peer is not None else None):
        if message.protocol not in internal:
            found["cancelled" if await inspection.cancel(outbox, message.id) else "left"] += 1
    await platform.storage.write([])
    return found


async def diagnose(context: Context, served: Served, peer: str | None, servers: list[str]) -> list[list[str]]:
    """What is wrong with this node, and with the way to a peer; see mmplatform/diagnosis."""
    from mmplatform.diagnosis import examine  # used by mm doctor only

    platform = context.platform
    wanted = sending.resolve(platform, peer) if peer is not None else None
    return [list(check) for check in await examine(platform, wanted, servers)]


async def cut(context: Context, served: Served, peer: str) -> bool:
    """Abort the connection to a peer, as a broken cable would (for mm demo and tests)."""
    link = context.platform.parts.peers.link(sending.resolve(context.platform, peer))
    if link is not None:
        link.connection.abort()
    return link is not None


async def give_way(context: Context, served: Served) -> str:
    """mm run wants the folder: a node that is there for mm on makes way, and mm on becomes its client.

    Returns what this node is for."""
    if context.purpose == "on":
        context.yielding.set()
    return context.purpose


def _why(state: str, connected: bool, reason: str | None) -> str:
    if state == "sent":
        return sending.NOT_TAKEN
    if state == "relayed":
        return "a relay keeps it until its peer has confirmed it"
    return "it is its turn next" if connected else (reason or "the peer was not dialled yet")


OPERATIONS: Final[dict[str, Operation]] = stored.OPERATIONS | lists.OPERATIONS | {
    operation.__name__: operation
    for operation in (
        identity, add, accept, rename, move, remove, unblock, peers, services, relays, send, lines, resolve, request,
        ping, listen, waiting, cancel, cancel_all, diagnose, cut, give_way,
    )
}  # fmt: skip
