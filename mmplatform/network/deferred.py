"""A transport that is loaded when the first of its addresses is used: many nodes never meet one."""

from collections.abc import Callable
from typing import ClassVar

from mmplatform.check import Check
from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.network.transport import Accept, Connection, Node, Transport


class Deferred(Transport):
    """Stands for what ``load`` gives."""

    schemes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, schemes: tuple[str, ...], load: Callable[[], Transport]) -> None:
        self.schemes = schemes  # type: ignore[misc]  # the class stands for any transport
        self._load = load
        self._loaded: Transport | None = None
        self._node: Node | None = None
        self._closed = False

    def attach(self, node: Node) -> None:
        self._node = node

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        return await self._transport(address).dial(address, peer, accept)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return await self._transport(hint).listen(hint, accept)

    def reachable(self) -> list[str] | None:
        return self._loaded.reachable() if self._loaded is not None else None

    def troubles(self) -> dict[str, str]:
        return self._loaded.troubles() if self._loaded is not None else {}

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        return await self._transport(address).deposit(address, peer, mail_id, expires, envelope)

    def signalled(self, peer: SignId, data: bytes) -> None:
        if self._loaded is not None:  # a peer cannot have it loaded
            self._loaded.signalled(peer, data)

    async def checks(self) -> list[Check]:
        return await self._loaded.checks() if self._loaded is not None else []

    def clocks(self) -> dict[str, float]:
        return self._loaded.clocks() if self._loaded is not None else {}

    async def close(self) -> None:
        self._closed = True
        if self._loaded is not None:
            await self._loaded.close()

    def _transport(self, address: str) -> Transport:
        if self._loaded is None:
            if self._closed:
                raise Unreachable(f"{address}: this node is stopping")
            try:
                self._loaded = self._load()
            except MMError as error:
                raise Unreachable(f"{address}: {error}") from None
            if self._node is not None:
                self._loaded.attach(self._node)
        return self._loaded
