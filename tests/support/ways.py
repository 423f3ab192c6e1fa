"""Several ways between the same nodes, each a memory network with a cost, delays, cuts and holes of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links.link import Link
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import DIRECT, PUNCHED, RELAYED, Accept, Connection, FrameReceiver, Transport
from tests.support.world import identity


class Way:
    """``hole``: frames vanish and nobody is told. ``near``, ``signalled``, ``relayed``: those of the transport."""

    def __init__(
        self, scheme: str, cost: int, near: bool = False, signalled: bool = False, relayed: bool = False
    ) -> None:
        self.scheme, self.cost, self.near, self.signalled, self.relayed = scheme, cost, near, signalled, relayed
        self.network = Network()
        self.hole = self.mute = False  # mute: who dials hears nothing at all
        self.dials: list[str] = []

    def transport(self) -> "WayTransport":
        """One for a node."""
        return SignallingWay(self) if self.signalled else WayTransport(self)

    def cut(self) -> None:
        self.network.cut()

    def allow(self, up: bool) -> None:
        self.network.up = up


class WayTransport(Transport):
    def __init__(self, way: Way) -> None:
        self.way, self.memory = way, Memory(way.network)
        self.schemes = (way.scheme,)  # type: ignore[misc]  # one class for all ways
        self.cost, self.relayed = way.cost, way.relayed  # type: ignore[misc]

    def near(self, address: str) -> bool:
        return self.way.near and self.way.network.up

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        self.way.dials.append(address)
        if self.way.mute:
            await asyncio.Event().wait()
        if self.way.hole:
            raise Unreachable(f"{address}: no route")
        memory = address.replace(self.way.scheme, "memory", 1)
        return await self.memory.dial(memory, peer, self._dressed(accept))

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        found = await self.memory.listen(hint.replace(self.way.scheme, "memory", 1), self._dressed(accept))
        return [address.replace("memory", self.way.scheme, 1) for address in found]

    async def close(self) -> None:
        await self.memory.close()

    def _dressed(self, accept: Accept) -> Accept:
        def dressed(connection: Connection) -> FrameReceiver:
            connection.cost, connection.relayed = self.way.cost, self.way.relayed
            connection.address = f"{self.way.scheme}://"
            write = connection.write
            connection.write = lambda frame: None if self.way.hole else write(frame)  # type: ignore[method-assign]
            return accept(connection)

        return dressed


class SignallingWay(WayTransport, SignallingTransport):
    """One that is dialled over another link only."""

    address = "none"

    def signalled(self, peer: SignId, data: bytes) -> None: ...


def fast() -> Way:
    return Way("fast", DIRECT)


def middle() -> Way:
    return Way("middle", PUNCHED, signalled=True)


def slow() -> Way:
    """Like a relay where both are signed in."""
    return Way("slow", RELAYED, near=True, relayed=True)


@asynccontextmanager
async def friends(*ways: Way, numbers: Sequence[int] = (1, 2), **options: Any) -> AsyncIterator[list[Platform]]:
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        found = [
            await stack.enter_async_context(
                Platform(
                    identity=identity(number), transports=[way.transport() for way in ways],
                    connection_info=[f"{way.scheme}://0" for way in ways], **options,
                )
            )
            for number in numbers
        ]  # fmt: skip
        for one in found:
            for other in found:
                if one is not other:
                    await one.add(other.ticket(), circle="friends")
        yield found


def links(node: Platform, other: Platform) -> list[Link]:
    return node.parts.peers.peer(other.sign_id).links


def states(node: Platform, other: Platform) -> dict[str, str]:
    """scheme -> state, as ``mm peers`` shows them."""
    [status] = [status for status in node.peers() if status.sign_id == other.sign_id]
    return {link.address.partition(":")[0]: link.state for link in status.links}


def active(node: Platform, other: Platform) -> str:
    link = node.parts.peers.peer(other.sign_id).link
    return link.connection.address.partition(":")[0] if link is not None else ""


def paths_of(node: Platform) -> list[tuple[str, str]]:
    """(scheme, why) of the events ``path``, as they come."""
    found: list[tuple[str, str]] = []
    node.on("path", lambda peer, address, rtt, why: found.append((address.partition(":")[0], why)))
    return found
