"""Rows in memory: for tests, simulations and nodes that need not outlive their process."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

from mmplatform.errors import StorageError
from mmplatform.home import Home
from mmplatform.storage.contract import Row, Storage, check_rows


class MemoryStorage(Storage):
    """The storage contract without a disk. Rows live as long as the object: closing and opening it plays a restart."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._order: list[bytes] | None = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home = Home()

    async def open(self) -> None:
        self._loop, self._home = asyncio.get_running_loop(), Home()
        self._home.enter()

    async def close(self) -> None:
        self._loop = None

    async def get(self, key: bytes) -> bytes | None:
        self._running_loop()
        return self._rows.get(key)

    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        return [(key, self._rows[key]) for key in self._range(prefix, start, limit)]

    async def keys(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[bytes]:
        return self._range(prefix, start, limit)

    async def sizes(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, int]]:
        return [(key, len(self._rows[key])) for key in self._range(prefix, start, limit)]

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        future = self._running_loop().create_future()
        check_rows(rows)
        for key, value in rows:
            self._apply(key, value)
        future.set_result(None)
        return future

    def _range(self, prefix: bytes, start: bytes, limit: int) -> list[bytes]:
        self._running_loop()
        keys = self._sorted_keys()
        found: list[bytes] = []
        for index in range(bisect_left(keys, max(prefix, start)), len(keys)):
            key = keys[index]
            if not key.startswith(prefix) or 0 < limit <= len(found):
                break
            found.append(key)
        return found

    def _apply(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self._rows:
                self._order = None
            self._rows[key] = value
        elif self._rows.pop(key, None) is not None:
            self._order = None

    def _sorted_keys(self) -> list[bytes]:
        if self._order is None:
            self._order = sorted(self._rows)
        return self._order

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise StorageError("the storage is not open; open() it first, and write nothing after close()")
        self._home.check()
        return self._loop
