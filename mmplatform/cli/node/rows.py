"""A data folder on which no node runs, looked at without a network: no port is opened, and nobody is dialled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from mmplatform.cli.node import lists, stored
from mmplatform.cli.node.host import Host, InProcess, NodeHandle, either
from mmplatform.platform import Platform


class StoppedNode(InProcess):
    """The rows of a node while the block runs. What is told its peers goes with the next node on this folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Platform(folder, connection_info=(), transports=()), stored.OPERATIONS | lists.OPERATIONS)
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
        await self.platform.parts.close_rows()


@asynccontextmanager
async def rows(folder: Path) -> AsyncIterator[NodeHandle]:
    """The node that runs on ``folder``, else its rows alone, while the block runs."""
    async with either(folder, partial(StoppedNode, folder)) as there:
        yield there
