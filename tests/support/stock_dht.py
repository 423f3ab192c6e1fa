"""A network of the kademlia package on loopback: its own servers, as they are."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kademlia.network import Server  # type: ignore[import-untyped]

Address = tuple[str, int]


class StockNodes:
    """``servers`` all know the first."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    async def add(self, protocol_class: type[Any] | None = None) -> Server:
        server = Server()
        if protocol_class is not None:
            server.protocol_class = protocol_class
        await server.listen(0, "127.0.0.1")
        if self.servers:
            await server.bootstrap([address_of(self.servers[0])])
        self.servers.append(server)
        return server

    @property
    def bootstrap(self) -> list[str]:
        return [f"{host}:{port}" for host, port in map(address_of, self.servers)]

    def store(self, key: bytes, value: object) -> None:
        """At all of them, as anybody may."""
        for server in self.servers:
            server.storage[key] = value

    def holders(self, key: bytes) -> list[Any]:
        return [server for server in self.servers if server.storage.get(key) is not None]

    async def close(self) -> None:
        for server in self.servers:
            server.stop()
            for future, timer in server.protocol._outstanding.values():
                timer.cancel()
                future.cancel()
        await asyncio.sleep(0)


def address_of(server: Server) -> Address:
    host, port = server.transport.get_extra_info("sockname")
    return host, port


@asynccontextmanager
async def stock_nodes(count: int = 3) -> AsyncIterator[StockNodes]:
    # The package logs an error for each node that does not answer.
    for name in ("kademlia", "rpcudp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    async with asyncio.timeout(60):
        nodes = StockNodes()
        for _ in range(count):
            await nodes.add()
        try:
            yield nodes
        finally:
            await nodes.close()
