"""Gives one owner its own rows in a storage that several share."""

import asyncio
from collections.abc import Sequence

from mmplatform.storage.contract import Row, Storage


class PrefixedStorage(Storage):
    """The rows of ``storage`` whose keys begin with ``prefix``, which is left out; open while ``storage`` is."""

    def __init__(self, storage: Storage, prefix: bytes) -> None:
        self._storage, self._prefix = storage, prefix

    async def open(self) -> None:
        """Do nothing: the owner of ``storage`` opens it."""

    async def close(self) -> None:
        """Do nothing: the owner of ``storage`` closes it."""

    async def get(self, key: bytes) -> bytes | None:
        return await self._storage.get(self._prefix + key)

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await self._storage.scan(self._prefix + prefix, self._prefix + start, limit)
        return [(key[len(self._prefix) :], value) for key, value in found]

    async def keys(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[bytes]:
        found = await self._storage.keys(self._prefix + prefix, self._prefix + start, limit)
        return [key[len(self._prefix) :] for key in found]

    async def sizes(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, int]]:
        found = await self._storage.sizes(self._prefix + prefix, self._prefix + start, limit)
        return [(key[len(self._prefix) :], size) for key, size in found]

    async def page(self, prefix: bytes, start: bytes, limit: int, size: int) -> list[tuple[bytes, bytes]]:
        found = await self._storage.page(self._prefix + prefix, self._prefix + start, limit, size)
        return [(key[len(self._prefix) :], value) for key, value in found]

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        return self._storage.write([(self._prefix + key, value) for key, value in rows], sync=sync)
