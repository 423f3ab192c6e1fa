"""A registry that is open already: who uses it neither opens nor closes it."""

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry


class LentRegistry(TwinRegistry):
    """The registry ``inner``, which its owner closes."""

    def __init__(self, inner: TwinRegistry) -> None:
        self.name, self._inner = inner.name, inner

    async def find(self, key: Key) -> TwinInfo | None:
        return await self._inner.find(key)

    async def find_newer(self, key: Key) -> TwinInfo | None:
        return await self._inner.find_newer(key)
