"""What commands ask that is in the rows of a node, and needs no network: the inbox, who asks, how messages ended."""

import asyncio
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from mmplatform.cli.backup_file import COPY
from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import sending
from mmplatform.codec import decode
from mmplatform.durable import inspection
from mmplatform.durable.inbox_contents import InboxEntry
from mmplatform.errors import CodecError, LocalError
from mmplatform.message import parse_id
from mmplatform.peers.status import LinkStatus
from mmplatform.platform import Platform
from mmplatform.storage.sqlite import SQLiteStorage

VALUES: Final = "ms"  # the protocol whose payloads are values
CHUNK: Final = 256  # messages in one frame of a list


class RowsContext(Protocol):
    """The node that these operations run in."""

    platform: Platform


async def peers(context: RowsContext, served: Served) -> list[dict[str, Any]]:
    """Everybody known."""
    return [
        {
            "signId": status.sign_id, "name": status.name, "scope": status.scope, "connected": status.connected,
            "address": status.address, "rtt": status.rtt, "waiting": status.waiting, "foundBy": status.found_by,
            "reason": status.reason, "closed": status.closed, "links": [_link(link) for link in status.links],
            "troubles": dict(status.troubles), "blocked": status.blocked,
        }
        for status in context.platform.peers()
    ]  # fmt: skip


async def people(context: RowsContext, served: Served) -> list[tuple[str, str]]:
    """The signId and the name of everybody known; for completion in a shell."""
    return [(status.sign_id, status.name) for status in context.platform.peers()]


async def copy(context: RowsContext, served: Served) -> str:
    """A copy of the database as it is now, in a file beside it: its path. Whoever asked removes it."""
    folder, storage = context.platform.parts.folder, context.platform.storage
    assert folder is not None
    assert isinstance(storage, SQLiteStorage)
    descriptor, path = tempfile.mkstemp(prefix=COPY, dir=folder.path)  # 0600
    os.close(descriptor)
    with ExitStack() as stack:
        stack.callback(os.unlink, path)
        await storage.copy(Path(path))
        stack.pop_all()
    return path


def _link(link: LinkStatus) -> dict[str, Any]:
    return {
        "address": link.address, "state": link.state, "rtt": link.rtt,
        "bytesIn": link.bytes_in, "bytesOut": link.bytes_out,
    }  # fmt: skip


async def inbox(context: RowsContext, served: Served, sender: str | None, failed: bool, limit: int | None) -> list[int]:
    """What is kept, in chunks and without payloads, at most ``limit``; how many wait and how many have failed."""
    platform = context.platform
    wanted = sending.resolve(platform, sender) if sender is not None else ""
    chunk: list[dict[str, Any]] = []
    left = limit
    async for entry in platform.inbox.entries(wanted, failed=failed):
        if left is not None:
            if not left:
                break
            left -= 1
        chunk.append(_described(platform, entry))
        if len(chunk) == CHUNK:
            await served.send(chunk)
            chunk = []
    if chunk:
        await served.send(chunk)
    return list(platform.parts.inbox.counts(wanted))


async def kept(context: RowsContext, served: Served, id: str) -> dict[str, Any]:  # noqa: A002 - the word of the command
    """One message with its payload."""
    entry = await _found(context.platform, id)
    return {**_described(context.platform, entry), "payload": _payload(entry)}


async def take(context: RowsContext, served: Served, ids: list[str]) -> list[str]:
    """Each message with its payload; the command sends back something once it has written that, and only then the
    message is taken out. Those of ``ids`` that were not, each with the reason."""
    missing: list[str] = []
    for name in _all_checked(ids):
        try:
            entry = await _found(context.platform, name)
        except LocalError as error:
            missing.append(str(error))
            continue
        await served.send({**_described(context.platform, entry), "payload": _payload(entry)})
        await served.receive()
        if await context.platform.inbox.take(name) is None:
            missing.append(await _missing(context.platform, name))
    await _on_disk(context.platform)
    return missing


async def drop(context: RowsContext, served: Served, ids: list[str]) -> list[str]:
    """Throw messages away. Those of ``ids`` that were not, each with the reason."""
    platform = context.platform
    missing = [await _missing(platform, name) for name in _all_checked(ids) if not await platform.inbox.drop(name)]
    await _on_disk(platform)
    return missing


async def retry(context: RowsContext, served: Served, ids: list[str]) -> list[str]:
    """Have handlers try failed messages again. Those of ``ids`` that are none, each with the reason."""
    platform = context.platform
    missing = [
        f"{name}: it is not among the failed ones; mm inbox --failed lists them"
        for name in _all_checked(ids)
        if not await platform.inbox.retry(name)
    ]
    await _on_disk(platform)
    return missing


async def delivery(context: RowsContext, served: Served, id: str) -> dict[str, str]:  # noqa: A002 - as in kept
    """How far a message is that was sent from here, or how it ended."""
    state, reason = await inspection.state_and_reason(context.platform.parts.outbox, _checked(id, "mm outbox"))
    return {"id": id, "state": state, "reason": reason}


async def asking(context: RowsContext, served: Served) -> list[dict[str, Any]]:
    """Who asks to be a friend, and since when."""
    platform = context.platform
    return [
        {"signId": peer, "name": platform.contacts.name(peer), "since": since}
        for peer, since in platform.parts.friend_requests.listed()
    ]


async def decline(context: RowsContext, served: Served, peer: str) -> bool:
    """Take somebody from the list of those who ask."""
    platform = context.platform
    declined = platform.parts.friend_requests.decline(sending.resolve(platform, peer))
    await platform.storage.write([])
    return declined


async def _found(platform: Platform, name: str) -> InboxEntry:
    entry = await platform.inbox.entry(_checked(name))
    if entry is None:
        raise LocalError(await _missing(platform, name))
    return entry


async def _missing(platform: Platform, name: str) -> str:
    """Why a message cannot be had."""
    there = await platform.inbox.entry(name) is not None
    return f"{name}: " + ("a handler has it at hand" if there else "there is no such message")


def _checked(name: str, lists: str = "mm inbox") -> str:
    try:
        parse_id(name)
    except ValueError:
        raise LocalError(f"{name!r} is not the id of a message; {lists} lists them") from None
    return name


def _all_checked(names: list[str]) -> list[str]:
    """Find what is wrong with the last one before anything is done about the first."""
    return [_checked(name) for name in names]


def _described(platform: Platform, entry: InboxEntry) -> dict[str, Any]:
    now = platform.parts.now()
    return {
        "id": entry.id, "sender": entry.sender, "name": platform.contacts.name(entry.sender),
        "topic": f"{platform.contacts.scope(entry.sender)}.{entry.topic}", "protocol": entry.protocol,
        "size": len(entry.payload), "age": round(max(0.0, now - entry.time), 3),
        "expiresIn": round(entry.expires - now, 3), "state": entry.state, "error": entry.error,
    }  # fmt: skip


def _payload(entry: InboxEntry) -> Any:
    """The value of a message, or its bytes where it has none."""
    if entry.protocol != VALUES:
        return entry.payload
    try:
        return decode(entry.payload)
    except CodecError:
        return entry.payload


async def _on_disk(platform: Platform) -> None:
    """Wait until what was just changed is saved: a write that is under way is waited for, and the one behind it."""
    for _ in range(2):
        await asyncio.sleep(0)
        await platform.storage.write([])


OPERATIONS: Final[dict[str, Operation]] = {
    operation.__name__: operation
    for operation in (peers, people, copy, inbox, kept, take, drop, retry, delivery, asking, decline)
}
