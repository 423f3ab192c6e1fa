"""What commands ask about messages that are sent from here and have not ended; no network is needed for it."""

from collections.abc import AsyncIterator
from typing import Any, Final

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import sending
from mmplatform.cli.node.stored import RowsContext
from mmplatform.durable import inspection
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId
from mmplatform.message import Priority, make_id
from mmplatform.platform import Platform

CHUNK: Final = 500  # waiting messages in one frame
COUNTED: Final = 10_000  # waiting messages, at most, that are read only to be counted
STOPPED: Final = "no node runs on this folder; mm run sends it"


async def waiting(context: RowsContext, served: Served, peer: str | None, limit: int | None) -> int:
    """What has not ended, in chunks as it is read, ``limit`` at most: what is here, oldest first, then what peers keep.
    Returns how many there are, with a limit about."""
    platform = context.platform
    wanted = sending.resolve(platform, peer) if peer is not None else None
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


async def count(platform: Platform) -> int:
    """How many have not ended; when they are very many, about how many."""
    if platform.parts.outbox.count > COUNTED:
        return platform.parts.outbox.count
    return sum([1 async for _ in _unended(platform, None)])


async def _unended(platform: Platform, peer: str | None) -> AsyncIterator[dict[str, Any]]:
    """The messages of people and programs: what the platform itself tells its peers is not theirs to look after."""
    statuses = {status.sign_id: status for status in platform.peers()}
    internal = platform.parts.dispatcher.internal
    async for message in inspection.queued(platform.parts.outbox, peer):
        if message.protocol in internal:
            continue
        status = statuses.get(SignId(message.peer))
        why = _why(message.state, status is not None and status.connected, status and status.reason)
        if not platform.upstream.running and message.state == "waiting":
            why = STOPPED
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


async def cancel(context: RowsContext, served: Served, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the command
    """Take back a message that waits."""
    try:
        done = await inspection.cancel(context.platform.parts.outbox, id)
        return {"id": id, "cancelled": done, "state": await context.platform.delivery(id)}
    except ValueError:
        raise LocalError(f"{id!r} is not the id of a message; mm outbox lists them") from None


async def cancel_all(context: RowsContext, served: Served, peer: str | None) -> dict[str, int]:
    """Take back all that waits, for one peer or for everybody: how many messages, and how many are on their way."""
    platform = context.platform
    outbox, internal = platform.parts.outbox, platform.parts.dispatcher.internal
    found = {"cancelled": 0, "left": 0}
    async for message in inspection.queued(outbox, sending.resolve(platform, peer) if peer is not None else None):
        if message.protocol not in internal:
            found["cancelled" if await inspection.cancel(outbox, message.id) else "left"] += 1
    await platform.storage.write([])
    return found


def _why(state: str, connected: bool, reason: str | None) -> str:
    if state == "sent":
        return sending.NOT_TAKEN
    if state == "relayed":
        return "a relay keeps it until its peer has confirmed it"
    return "it is its turn next" if connected else (reason or "the peer was not dialled yet")


OPERATIONS: Final[dict[str, Operation]] = {operation.__name__: operation for operation in (waiting, cancel, cancel_all)}
