"""Makes platforms that reach each other within one process, over a memory network of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.identity.keys import Identity

DEADLINE: Final = 60.0  # seconds for the whole body of ``nodes()``


class MemoryNodes:
    """Platforms on one ``network``: cut it, delay it, drop its frames (:class:`mm_transports.memory.Network`)."""

    def __init__(self) -> None:
        self.network = Network()

    def node(self, number: int, **options: Any) -> Platform:
        """Make a platform that is not started yet, with the same key for ``number`` in every run.

        Args:
            number: which of the nodes it is, 1 to 255.
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
        """Start platforms with the numbers 1 to ``count``, all friends who know each other's addresses.

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
    """Return the key of a number, which is the same in every run."""
    return Identity.from_seed(bytes([number]) * 32)
