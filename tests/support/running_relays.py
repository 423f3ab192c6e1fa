"""Whole relays in this process, and platforms that meet at them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from mm_relay.config.settings import Config
from mm_relay.server import RelayServer
from mm_transports.relay.transport import Relay
from mmplatform import Platform
from tests.support.world import identity


class Running:
    """A relay on a folder, at one port over its restarts."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.port, self.settings = folder, 0, settings
        self.address = ""
        self.server: RelayServer

    async def start(self) -> "Running":
        config = Config(data=self.folder, listen=f"127.0.0.1:{self.port}", drain=0, **self.settings)
        self.server = RelayServer(config)
        ready = await self.server.start()
        self.address, self.port = ready["address"], int(ready["listening"].rpartition(":")[2])
        return self

    async def stop(self) -> None:
        await self.server.stop()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """Run a relay while the block runs; its address."""
    running = await Running(folder).start()
    try:
        yield running.address
    finally:
        await running.stop()


async def relay(stack: AsyncExitStack, folder: Path, **settings: Any) -> Running:
    running = await Running(folder, **settings).start()
    stack.push_async_callback(running.stop)
    return running


async def node(stack: AsyncExitStack, number: int, *relays: Running, **options: Any) -> Platform:
    defaults: dict[str, Any] = {
        "identity": identity(number), "connection_info": [], "transports": [Relay()],
        "relays": [relay.address for relay in relays],
    }  # fmt: skip
    return await stack.enter_async_context(Platform(**(defaults | options)))


async def friends(*nodes: Platform) -> None:
    for one in nodes:
        for other in nodes:
            if one is not other:
                await one.add(other.ticket(), circle="friends")


async def echo(topic: str, sender: str, payload: Any) -> Any:
    return payload
