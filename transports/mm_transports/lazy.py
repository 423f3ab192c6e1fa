"""A signalling transport whose libraries are loaded at its first use: many nodes never use it.

A thread loads them, as that may take a second and links that are up must go on. The transport listens without being
loaded; the first signal of a peer loads it, or :meth:`LazyTransport.prepare` when a signal is expected.
"""

import asyncio
from abc import abstractmethod
from typing import Final

from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.check import Check, Diagnosable
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import Accept, Connection, TransportHost

EARLY: Final = 64  # signals that are kept while the transport is being loaded


class LazyTransport(SignallingTransport, Diagnosable):
    """Stands for the transport that :meth:`load` gives, with the same ``schemes``, ``address`` and ``cost``."""

    def __init__(self) -> None:
        self._loaded: SignallingTransport | None = None
        self._loading = asyncio.Lock()
        self._host: TransportHost | None = None
        self._listening: list[tuple[str, Accept]] = []
        self._early: list[tuple[SignId, bytes]] = []
        self._waking: asyncio.Task[None] | None = None
        self._closed = False

    @abstractmethod
    def load(self) -> SignallingTransport:
        """Import and make the transport; called once, in a thread. Raises an MMError with the remedy."""

    def attach(self, host: TransportHost) -> None:
        self._host = host

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        return await (await self._transport(address)).dial(address, peer, accept)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        if self._loaded is None:
            self._listening.append((hint, accept))
            return [hint]
        return await self._loaded.listen(hint, accept)

    def near(self, address: str) -> bool:
        return self._loaded is not None and self._loaded.near(address)

    def prepare(self) -> None:
        if self._loaded is None and self._waking is None and not self._closed:
            self._waking = asyncio.get_running_loop().create_task(self._wake(), name=f"mm load {self.schemes[0]}")

    def reachable(self) -> list[str] | None:
        return self._loaded.reachable() if self._loaded is not None else None

    def troubles(self) -> dict[str, str]:
        return self._loaded.troubles() if self._loaded is not None else {}

    def signalled(self, peer: SignId, data: bytes) -> None:
        if self._loaded is not None:
            self._loaded.signalled(peer, data)
        elif self._listening and not self._closed and len(self._early) < EARLY:
            self._early.append((peer, data))
            self.prepare()

    async def checks(self) -> list[Check]:
        if self._listening and self._loaded is None:
            await self._transport(self.address)
        return await self._loaded.checks() if isinstance(self._loaded, Diagnosable) else []

    def clocks(self) -> dict[str, float]:
        return self._loaded.clocks() if isinstance(self._loaded, Diagnosable) else {}

    async def close(self) -> None:
        self._closed = True
        if self._waking is not None:
            await asyncio.wait([self._waking])
        if self._loaded is not None:
            await self._loaded.close()

    async def _transport(self, address: str) -> SignallingTransport:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await self._made(address)
                for peer, data in self._early:
                    self._loaded.signalled(peer, data)
                self._early.clear()
            return self._loaded

    async def _made(self, address: str) -> SignallingTransport:
        if self._closed:
            raise Unreachable(f"{address}: this node is stopping")
        try:
            made = await asyncio.to_thread(self.load)
        except MMError as error:
            raise Unreachable(f"{address}: {error}") from None
        if self._closed:
            raise Unreachable(f"{address}: this node is stopping")
        if self._host is not None:
            made.attach(self._host)
        for hint, accept in self._listening:
            await made.listen(hint, accept)
        return made

    async def _wake(self) -> None:
        """After a failed import, give up: do not retry on each incoming signal."""
        try:
            await self._transport(self.address)
        except MMError as error:
            self._listening.clear()
            self._early.clear()
            if self._host is not None and not self._closed:
                self._host.failed(error)
