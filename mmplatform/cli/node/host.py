"""A node in this process that other commands can use too."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mmplatform.cli import sockets
from mmplatform.cli.control import Channel, MemoryPipe, Operation, SocketPipe, serve
from mmplatform.cli.node.operations import OPERATIONS
from mmplatform.cli.node.subscriptions import Subscriptions
from mmplatform.cli.output import note
from mmplatform.cli.remembered import (
    LISTEN,
    PROXY,
    RELAYS,
    SERVICES,
    STUN,
    TURN,
    WITHOUT,
    choice,
    one,
    remember,
    servers,
)
from mmplatform.errors import Refused
from mmplatform.events import is_repeated
from mmplatform.peers.reception import SETUP_TIME
from mmplatform.platform import Platform
from mmplatform.plugins import loading as plugins
from mmplatform.plugins.signalling import SignallingTransport

NEVER: Final = math.inf  # when a command's own node has all its listeners: strangers wait for one that runs


def discovery(folder: Path, given: Sequence[str] = ()) -> list[str]:
    """The services that were named, else those that find peers and are installed here: who runs a node wants to be
    reached, and they tell what a ticket tells, to those on the same network or those who know our key."""
    named = choice(folder, given, SERVICES)
    return finders("nearby", "anywhere") if named is None else named


def finders(*where: str) -> list[str]:
    """The services installed here that say of themselves that they find peers there, by name."""
    installed, _ = plugins.load_all(plugins.SERVICES)
    return [name for name, kind in installed.items() if getattr(kind, "finds_peers", "") in where]


def transports(without: Sequence[str]) -> list[str] | None:
    """Those for everyday use but the ones named; None for all of them."""
    if not without:
        return None
    installed, _ = plugins.load_all(plugins.TRANSPORTS)
    return [name for name, kind in installed.items() if getattr(kind, "everyday", True) and name not in without]


def signals(names: Sequence[str]) -> bool:
    """Whether one of these transports makes direct links through NATs: STUN and TURN servers help no other ones."""
    installed, _ = plugins.load_all(plugins.TRANSPORTS)
    kinds = (installed.get(name) for name in names)
    return any(isinstance(kind, type) and issubclass(kind, SignallingTransport) for kind in kinds)


class InProcess:
    """A node of this process: what it is asked runs as a task here."""

    own = True

    def __init__(self, platform: Platform, operations: Mapping[str, Operation]) -> None:
        self.platform = platform
        self.yielding = asyncio.Event()
        self._operations = operations
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self, operation: str, **arguments: Any) -> Channel:
        ours, theirs = MemoryPipe.pair()
        await ours.write(["open", operation, arguments])
        return Channel(ours, self.serve(theirs))

    async def call(self, operation: str, **arguments: Any) -> Any:
        async with await self.open(operation, **arguments) as channel:
            return await channel.end()

    def serve(self, pipe: MemoryPipe | SocketPipe) -> "asyncio.Task[None]":
        """Run the operation that the other end of ``pipe`` opens."""
        task = asyncio.get_running_loop().create_task(serve(pipe, self._operations, self), name="mm control")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return task

    async def end_operations(self) -> None:
        """Cancel what is asked of this node."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


class Host(InProcess):
    """Runs a platform on a folder and serves its control socket.

    ``purpose``: "run" and "on" are nodes for their own sake, "command" is there for a moment. ``expected``: a pattern
    to be subscribed to before anybody can reach this node. The words may be ("none",), and ("default",) of ``listen``,
    ``proxy`` and ``services``; of a node for its own sake the folder remembers them. ``services`` None: none, whatever
    the folder remembers. ``also``: services that run besides, and that it does not remember. ``without``: names of
    transports.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listen: Sequence[str] = (),
        relays: Sequence[str] = (),
        stun: Sequence[str] = (),
        turn: Sequence[str] = (),
        proxy: Sequence[str] = (),
        services: Sequence[str] | None = None,
        also: Sequence[str] = (),
        without: Sequence[str] = (),
        purpose: str = "command",
        expected: str | None = None,
    ) -> None:
        taking = purpose != "command"
        named = [] if services is None else discovery(folder, services)
        self.services = list(dict.fromkeys([*named, *also]))
        said = {
            RELAYS: relays, STUN: stun, TURN: turn, PROXY: proxy, LISTEN: listen, SERVICES: services or (),
            WITHOUT: without,
        }  # fmt: skip
        used = {kind: choice(folder, given, kind) for kind, given in said.items()}
        self._to_remember = {kind: used[kind] for kind, given in said.items() if given and taking}
        self.relays = used[RELAYS] or []
        using = transports(used[WITHOUT] or [])
        helpers = servers(used[STUN] or [], used[TURN] or []) if using is None or signals(using) else servers([], [])
        self.stun = helpers.stun
        platform = Platform(
            folder, connection_info=used[LISTEN], relays=self.relays, stun=helpers.stun, turn=helpers.turn,
            proxy=one(used[PROXY]), transports=using, services=self.services,
            setup_time=SETUP_TIME if taking else NEVER,
        )  # fmt: skip
        super().__init__(platform, OPERATIONS)
        self.subscriptions = Subscriptions(platform, taking)
        self.started = time.time()
        self.purpose = purpose
        self._server: asyncio.Server | None = None
        if expected is not None:
            self.subscriptions.expect(expected)

    async def __aenter__(self) -> Self:
        platform = self.platform
        assert platform.parts.folder is not None
        platform.on("error", self.failed)
        try:
            await platform.start()
            for kind, names in self._to_remember.items():
                remember(platform.parts.folder.path, names, kind)
            self._server = await asyncio.start_unix_server(
                self._accept, sock=sockets.bind(platform.parts.folder.control), limit=sockets.BUFFER
            )
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        folder = self.platform.parts.folder
        assert folder is not None
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                folder.control.unlink(missing_ok=True)
        await self.end_operations()
        self.subscriptions.close()
        await self.platform.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sockets.is_ours(writer.get_extra_info("socket")):
            self.serve(SocketPipe(reader, writer))
        else:
            writer.close()

    @staticmethod
    def failed(error: Exception, topic: str) -> None:
        if not (isinstance(error, Refused) or is_repeated(error)):
            note(f"mm: {f'{topic}: ' if topic else ''}{error}", once=True)
