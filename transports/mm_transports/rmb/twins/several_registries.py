"""Several registries as one: the first that knows a twin is believed, so a file comes before a directory."""

from collections.abc import Sequence

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry


class SeveralRegistries(TwinRegistry):
    """The registries in the order in which they are believed."""

    def __init__(self, registries: Sequence[TwinRegistry]) -> None:
        self.name = ", ".join(registry.name for registry in registries) or "no registry"
        self._registries = tuple(registries)

    async def open(self) -> None:
        """Open all, or none. Raises what the first raises that cannot be."""
        opened: list[TwinRegistry] = []
        try:
            for registry in self._registries:
                await registry.open()
                opened.append(registry)
        except BaseException:
            for registry in opened:
                await registry.close()
            raise

    async def close(self) -> None:
        for registry in reversed(self._registries):
            await registry.close()

    async def find(self, key: Key) -> TwinInfo | None:
        found = await self.where(key)
        return found[0] if found is not None else None

    async def where(self, key: Key) -> tuple[TwinInfo, TwinRegistry] | None:
        """Return the twin and who knows it, None when all say that there is none.

        Raises what the first raises that cannot say: it may say otherwise than those behind it, and whoever keeps it
        from answering shall not choose who is believed.
        """
        for registry in self._registries:
            if (twin := await registry.find(key)) is not None:
                return twin, registry
        return None

    async def find_newer(self, key: Key) -> TwinInfo | None:
        for registry in self._registries:
            if (twin := await registry.find_newer(key)) is not None:
                return twin
        return None
