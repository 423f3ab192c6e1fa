"""The way to the node of a data folder: the one that runs there, else one of this process, imported only then."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from mmplatform.cli import sockets
from mmplatform.cli.control import Channel, NodeStopped, SocketPipe
from mmplatform.cli.output import note
from mmplatform.errors import FolderInUse, LocalError
from mmplatform.storage.folder import OURS, DataFolder

HANDOVER: Final = 5.0  # seconds for a node that starts or stops to answer, or to let go of the folder
LOOK_AGAIN: Final = 0.05

T = TypeVar("T")


class NodeHandle(Protocol):
    """What commands are written against: the node of this process or another one's."""

    own: bool  # it ends with this command
    yielding: asyncio.Event  # set when it should make way for mm run

    async def open(self, operation: str, **arguments: Any) -> Channel:
        """Begin an operation of operations.py."""
        ...

    async def call(self, operation: str, **arguments: Any) -> Any:
        """The result of one that has no items."""


class Remote:
    """The node of another process."""

    own = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.yielding = asyncio.Event()

    def answers(self) -> bool:
        """Whether there is one."""
        return sockets.answers(self._path)

    async def open(self, operation: str, **arguments: Any) -> Channel:
        streams = await sockets.connect(self._path)
        if streams is None:
            raise NodeStopped("the node that this command was using has stopped; run the command again")
        pipe = SocketPipe(*streams)
        await pipe.write(["open", operation, arguments])
        return Channel(pipe)

    async def call(self, operation: str, **arguments: Any) -> Any:
        async with await self.open(operation, **arguments) as channel:
            return await channel.end()


@asynccontextmanager
async def node(folder: Path, *, expected: str | None = None, relays: Sequence[str] = ()) -> AsyncIterator[NodeHandle]:
    """The node that runs on ``folder``, else one of our own while the block runs. ``expected``: the pattern that
    a node of our own shall listen to from its first moment; such a one takes in messages, as ``mm run`` does.
    ``relays`` are for a node of our own, too."""

    def own() -> AbstractAsyncContextManager[NodeHandle]:
        from mmplatform.cli.node.host import Host

        if expected is None:
            return Host(folder, relays=relays)
        return Host(folder, relays=relays, purpose="on", expected=expected, services=())

    async with either(folder, own) as there:
        if relays and not there.own:
            note("a node runs on this folder already, with relays of its own: --relay is for the one that starts")
        yield there


@asynccontextmanager
async def either(folder: Path, own: Callable[[], AbstractAsyncContextManager[NodeHandle]]) -> AsyncIterator[NodeHandle]:
    """The node that runs on ``folder``, else what ``own`` makes, while the block runs. Raises FolderInUse."""
    there = Remote(DataFolder(folder).control)
    until = time.monotonic() + HANDOVER
    while True:
        if there.answers():
            yield there
            return
        try:
            async with own() as made:
                yield made
                return
        except FolderInUse as error:
            if time.monotonic() > until:
                raise FolderInUse(
                    f"{error} (it serves no control.sock: not an mm command, or one that hangs)"
                ) from None
        await asyncio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def taken(folder: Path, own: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
    """A node of this process, while the block runs, for its own sake: short commands on the same folder are waited for,
    and mm on makes way. Raises FolderInUse."""
    until = time.monotonic() + HANDOVER
    async with AsyncExitStack() as stack:
        while True:
            try:
                made = await stack.enter_async_context(own())
                break
            except FolderInUse:
                if time.monotonic() > until or not await _makes_way(folder):
                    raise
            await asyncio.sleep(LOOK_AGAIN)
        yield made


async def _makes_way(folder: Path) -> bool:
    try:
        return bool(await Remote(DataFolder(folder).control).call("give_way") != "run")
    except NodeStopped:
        return True  # it is starting or stopping


@asynccontextmanager
async def rows(folder: Path, *, makes: bool = False) -> AsyncIterator[NodeHandle]:
    """The node that runs on ``folder``, else its rows alone, while the block runs. Raises LocalError where there is
    no node, unless ``makes``: who asks about one, perhaps with a slip in --data, leaves none behind."""

    def own() -> AbstractAsyncContextManager[NodeHandle]:
        from mmplatform.cli.node.rows import StoppedNode

        if not makes and not any((folder / name).exists() for name in OURS):
            raise LocalError(f"there is no node in {folder} yet; mm id makes one, mm run runs it")
        return StoppedNode(folder)

    async with either(folder, own) as there:
        yield there
