"""What a node does for commands, by name; each runs in the node's process (see control.py for how it is asked)."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final, Literal, Protocol

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import lines as line_runs
from mmplatform.cli.node import lists, outgoing, sending, stored
from mmplatform.cli.node.sending_to_all import send_to_all
from mmplatform.cli.node.subscriptions import Subscriptions
from mmplatform.cli.node.summary import summary
from mmplatform.errors import LocalError, RequestTimeout
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import AT
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


async def identity(context: Context, served: Served, ticket: bool = True) -> dict[str, Any]:
    """Who and where this node is; its ticket costs nothing, so it comes in any case."""
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


async def status(context: Context, served: Served) -> dict[str, Any]:
    """One screen about this node."""
    platform = context.platform
    record = platform.directory.own_record
    return {
        **await summary(platform), "running": True, "purpose": context.purpose, "pid": os.getpid(),
        "since": context.started, "listening": list(record.connection_info) if record is not None else [],
        "relays": platform.relays, "services": await services(context, served),
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
    if platform.upstream.bridges.find(peer) is not None:
        return await platform.messaging.request(topic, peer, payload, timeout=timeout)
    destination = sending.resolve(platform, peer, topic)
    try:
        return await platform.messaging.request(topic, destination, payload, timeout=timeout)
    except RequestTimeout as error:
        link = sending.link_to(platform, destination)
        why = "its handlers have not answered" if link["connected"] else link["reason"]
        raise RequestTimeout(f"{error} ({why})") from None


async def request_many(context: Context, served: Served, peer: str, topic: str, payload: Any, timeout: float) -> None:
    """Ask a peer; each of its replies is an item, sent once it is there. Raises what ``request`` raises."""
    platform = context.platform
    destination = sending.resolve(platform, peer, topic)
    asked = platform.messaging.request_many(topic, destination, payload, timeout=timeout)
    async with aclosing(asked) as replies:
        async for reply in replies:
            await served.send(reply)


async def ping(context: Context, served: Served, peer: str, timeout: float) -> float:
    """Seconds there and back."""
    return await sending.ping(context.platform, peer, timeout)


async def listen(context: Context, served: Served, pattern: str, answers: bool = False) -> None:
    """Batches of [topic, sender, name, payload, about]; the command sends back how many more it has written, and a
    reply to each that is a request: {value} or {error}, None for others."""
    await context.subscriptions.read(pattern, served, answers)


async def waiting(context: Context, served: Served, peer: str | None, limit: int | None) -> int:
    """As of a node that does not run; one that has just started first tries to reach those for whom something waits:
    that tells why."""
    if peer is not None:
        sending.resolve(context.platform, peer)
    await _dialled(context)
    return await outgoing.waiting(context, served, peer, limit)


async def _dialled(context: Context) -> None:
    until = time.monotonic() + FIRST_DIALS
    while time.monotonic() < until:
        if all(s.connected or s.reason for s in context.platform.peers() if s.waiting):
            return
        await asyncio.sleep(0.02)


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


OPERATIONS: Final[dict[str, Operation]] = stored.OPERATIONS | lists.OPERATIONS | outgoing.OPERATIONS | {
    operation.__name__: operation
    for operation in (
        identity, add, accept, rename, move, remove, unblock, status, services, relays, send, lines, resolve, request,
        request_many, ping, listen, waiting, diagnose, cut, give_way,
    )
}  # fmt: skip
