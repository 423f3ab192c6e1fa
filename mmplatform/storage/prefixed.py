"""The rows of one owner in a storage that several share."""

import asyncio
from collections.abc import Sequence

from mmplatform.storage.contract import Row, Storage


class PrefixedStorage(Storage):
    """The rows of ``storage`` whose keys begin with ``prefix``, seen without it. Opened and closed with ``storage``."""

    def __init__(self, storage: Storage, prefix: bytes) -> None:
        self._storage, self._prefix = storage, prefix

    async def open(self) -> None:
        """The owner of ``storage`` opens it."""

    async def close(self) -> None:
        """The owner of ``storage`` closes it."""

    async def get(self, key: bytes) -> bytes | None:
        return await self._storage.get(self._prefix + key)

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        found = await self._storage.scan(self._prefix + prefix, self._prefix + start, limit)
        return [(key[len(self._prefix) :], value) for key, value in found]

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        return self._storage.write([(self._prefix + key, value) for key, value in rows], sync=sync)
