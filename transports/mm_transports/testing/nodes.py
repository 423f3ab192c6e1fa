"""Platforms that reach each other within one process, over a memory network of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.identity.keys import Identity

DEADLINE: Final = 60.0  # seconds for all that is done with the nodes


class MemoryNodes:
    """``network`` is where they meet: cut it, delay it, drop its frames (:class:`mm_transports.memory.Network`)."""

    def __init__(self) -> None:
        self.network = Network()

    def node(self, number: int, **options: Any) -> Platform:
        """A platform that is not started yet; its key is that of ``number`` (1 to 255) in every run.

        Args:
            number: which of the nodes it is.
            options: of Platform, in place of the memory transport, its address and the key.
        """
        defaults: dict[str, Any] = {
            "identity": identity(number),
            "transports": [Memory(self.network)],
            "connection_info": ["memory://0"],
        }
        return Platform(**(defaults | options))

    @asynccontextmanager
    async def nodes(self, count: int = 2, **options: Any) -> AsyncIterator[list[Platform]]:
        """Started platforms, numbers 1 to ``count``, that are all friends and know each other's addresses.

        Raises TimeoutError after a minute, so that a test that waits for ever fails.
        """
        async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
            found = [await stack.enter_async_context(self.node(n + 1, **options)) for n in range(count)]
            for one in found:
                for other in found:
                    if one is not other:
                        await one.add(other.ticket(), circle="friends")
            yield found


def identity(number: int) -> Identity:
    """The same key for a number in every run."""
    return Identity.from_seed(bytes([number]) * 32)
