"""Nodes for the network's tests: fixed identities, over loopback TCP or a memory network of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mm_transports.memory import Memory, Network
from mm_transports.tcp import TCP
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from mmplatform.plugins.transport import Transport

DEADLINE = 20.0


def identity(number: int) -> Identity:
    return Identity.from_seed(bytes([number]) * 32)


class World:
    """Where nodes meet; ``kind`` is tcp or memory."""

    def __init__(self, kind: str = "memory") -> None:
        self.kind = kind
        self.network = Network()

    def node(self, number: int, **options: Any) -> Platform:
        """A node that is not started yet."""
        transport: Transport = TCP() if self.kind == "tcp" else Memory(self.network)
        defaults: dict[str, Any] = {
            "identity": identity(number),
            "transports": [transport],
            "connection_info": ["tcp://127.0.0.1:0" if self.kind == "tcp" else "memory://0"],
        }
        return Platform(**(defaults | options))

    @asynccontextmanager
    async def nodes(self, count: int = 2, **options: Any) -> AsyncIterator[list[Platform]]:
        """Started nodes that are all friends and know each other's addresses."""
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            found = [await stack.enter_async_context(self.node(n + 1, **options)) for n in range(count)]
            for one in found:
                for other in found:
                    if one is not other:
                        await one.add(other.ticket(), circle="friends")
            yield found

    def cut(self, *nodes: Platform) -> None:
        """End every connection without a word."""
        self.network.cut()
        for node in nodes:
            for peer in node._peers.values():
                for link in peer._links:
                    link.connection.abort()


async def until(condition: Callable[[], object], timeout: float = DEADLINE) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - a deadline on what has no event
            await asyncio.sleep(0.001)


def collect(node: Platform, pattern: str = "friends.>") -> list[Any]:
    """The payloads that come in, as they come."""
    found: list[Any] = []
    node.messaging.on(pattern, lambda topic, sender, payload: found.append(payload))
    return found


def listen_to(node: Platform) -> list[tuple[str, ...]]:
    """The platform's events but ``message``, as they come."""
    found: list[tuple[str, ...]] = []
    node.on("ready", lambda: found.append(("ready",)))
    node.on("connection", lambda peer: found.append(("connection", peer)))
    node.on("disconnected", lambda peer, reason: found.append(("disconnected", peer, reason)))
    node.on("error", lambda error, topic: found.append(("error", type(error).__name__, str(error), topic)))
    return found
