"""A data folder on which no node runs, looked at without a network: no port is opened, and nobody is dialled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mmplatform.cli.control import Operation, Served
from mmplatform.cli.node import lists, outgoing, stored
from mmplatform.cli.node.host import Host, InProcess, NodeHandle, either
from mmplatform.cli.node.summary import summary
from mmplatform.cli.remembered import addresses
from mmplatform.links.listener import listened_at
from mmplatform.platform import Platform

STOPPED: Final = "no node runs on this folder"


class StoppedNode(InProcess):
    """The rows of a node while the block runs. What is told its peers goes with the next node on this folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Platform(folder, connection_info=(), transports=()), OPERATIONS)
        self.platform.on("error", Host.failed)

    async def __aenter__(self) -> Self:
        try:
            await self.platform.parts.open_rows()
        except BaseException:
            await self.platform.parts.close_rows()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end_operations()
        self.platform.parts.own_record.close()
        await self.platform.parts.close_rows()


async def identity(context: StoppedNode, served: Served, ticket: bool) -> dict[str, Any]:
    """Who this node is. A ``ticket`` says where it listened last; "" when it has not listened yet."""
    platform = context.platform
    found = await listened_at(platform.storage) if ticket else []
    if found:
        await platform.parts.own_record.open()
        await platform.parts.own_record.begin({"": found})
    return {
        "signId": platform.sign_id, "boxId": platform.identity.box_id, "ticket": platform.ticket() if found else "",
        "listening": [], "pid": None, "uptime": None,
    }  # fmt: skip


async def status(context: StoppedNode, served: Served) -> dict[str, Any]:
    """One screen about this node."""
    return {
        **await summary(context.platform), "running": False, "purpose": "", "pid": None, "since": None, "listening": [],
        "relays": await relays(context, served), "services": {},
    }  # fmt: skip


async def relays(context: StoppedNode, served: Served) -> dict[str, str]:
    """Those that the folder remembers."""
    assert context.platform.parts.folder is not None
    return dict.fromkeys(addresses(context.platform.parts.folder.path), STOPPED)


OPERATIONS: Final[dict[str, Operation]] = (
    stored.OPERATIONS
    | lists.OPERATIONS
    | outgoing.OPERATIONS
    | {operation.__name__: operation for operation in (identity, relays, status)}
)


@asynccontextmanager
async def rows(folder: Path) -> AsyncIterator[NodeHandle]:
    """The node that runs on ``folder``, else its rows alone, while the block runs."""
    async with either(folder, partial(StoppedNode, folder)) as there:
        yield there
