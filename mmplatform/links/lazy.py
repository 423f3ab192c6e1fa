"""A transport that is loaded when the first of its addresses is used: many nodes never meet one.

Loading happens in a thread: it may take a second, and links that are up go on. One that answers signals (``over_link``)
listens without being loaded, and is by the first signal that comes from a peer, or when one is to be expected.
"""

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.check import Check
from mmplatform.plugins.transport import Accept, Connection, Node, Transport

EARLY: Final = 64  # signals that are kept while it is being loaded


class Deferred(Transport):
    """Stands for what ``load`` gives; ``cost`` and ``over_link`` are what that one will say."""

    schemes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, schemes: tuple[str, ...], load: Callable[[], Transport], cost: int, over_link: bool = False
    ) -> None:
        self.schemes = schemes  # type: ignore[misc]  # the class stands for any transport
        self.cost, self.over_link = cost, over_link  # type: ignore[misc]
        self._load = load
        self._loaded: Transport | None = None
        self._loading = asyncio.Lock()
        self._node: Node | None = None
        self._listening: list[tuple[str, Accept]] = []
        self._early: list[tuple[SignId, bytes]] = []
        self._waking: asyncio.Task[None] | None = None
        self._closed = False

    def attach(self, node: Node) -> None:
        self._node = node

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        return await (await self._transport(address)).dial(address, peer, accept)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        if self.over_link and self._loaded is None:
            self._listening.append((hint, accept))
            return [hint]
        return await (await self._transport(hint)).listen(hint, accept)

    def near(self, address: str) -> bool:
        return self._loaded is not None and self._loaded.near(address)

    def prepare(self) -> None:
        if self._loaded is None and self._waking is None and not self._closed:
            self._waking = asyncio.get_running_loop().create_task(self._wake(), name=f"mm load {self.schemes[0]}")

    def reachable(self) -> list[str] | None:
        return self._loaded.reachable() if self._loaded is not None else None

    def troubles(self) -> dict[str, str]:
        return self._loaded.troubles() if self._loaded is not None else {}

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        return await (await self._transport(address)).deposit(address, peer, mail_id, expires, envelope)

    def signalled(self, peer: SignId, data: bytes) -> None:
        if self._loaded is not None:
            self._loaded.signalled(peer, data)
        elif self._listening and not self._closed and len(self._early) < EARLY:
            self._early.append((peer, data))
            self.prepare()

    async def checks(self) -> list[Check]:
        if self._listening and self._loaded is None:
            await self._transport(f"{self.schemes[0]}:")
        return await self._loaded.checks() if self._loaded is not None else []

    def clocks(self) -> dict[str, float]:
        return self._loaded.clocks() if self._loaded is not None else {}

    async def close(self) -> None:
        self._closed = True
        if self._waking is not None:
            await asyncio.wait([self._waking])
        if self._loaded is not None:
            await self._loaded.close()

    async def _transport(self, address: str) -> Transport:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await self._made(address)
                for peer, data in self._early:
                    self._loaded.signalled(peer, data)
                self._early.clear()
            return self._loaded

    async def _made(self, address: str) -> Transport:
        if self._closed:
            raise Unreachable(f"{address}: this node is stopping")
        try:
            made = await asyncio.to_thread(self._load)
        except MMError as error:
            raise Unreachable(f"{address}: {error}") from None
        if self._closed:
            raise Unreachable(f"{address}: this node is stopping")
        if self._node is not None:
            made.attach(self._node)
        for hint, accept in self._listening:
            await made.listen(hint, accept)
        return made

    async def _wake(self) -> None:
        """What cannot be loaded is not tried again for every signal."""
        try:
            await self._transport(f"{self.schemes[0]}:")
        except MMError as error:
            self._listening.clear()
            self._early.clear()
            if self._node is not None and not self._closed:
                self._node.failed(error)
