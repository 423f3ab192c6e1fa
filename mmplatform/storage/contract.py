"""The storage contract: ordered bytes to bytes, atomic writes, group commit.

- A write is atomic: all of its rows are kept, or none. ``None`` as a value deletes the key.
- Writes become visible in the order of the calls; a read sees every write called before it.
- What is written in one loop turn, or while a commit runs, shares one transaction and therefore one fate.
- The future of a write resolves once its rows are kept: with ``sync`` they survive a power cut, without it they
  survive the end of the process only. Cancelling the future does not take the write back.
- A write that failed was not kept; once the cause is gone, later writes work again without another ``open``.
- After ``close``, which first commits what is queued, everything but ``open`` raises :class:`StorageError`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Self

from mmplatform.errors import InvalidPayload

Row = tuple[bytes, bytes | None]

MAX_KEY = 1024  # bytes
MAX_VALUE = 256 * 1024 * 1024  # bytes


class Storage(ABC):
    """An ordered key-value store of one event loop; ``async with`` opens and closes it."""

    @abstractmethod
    async def open(self) -> None:
        """Make the rows available; does nothing when already open. Raises StorageError."""

    @abstractmethod
    async def close(self) -> None:
        """Commit what is queued and let go of the files; does nothing when already closed."""

    @abstractmethod
    async def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, or None. Raises StorageError."""

    @abstractmethod
    async def scan(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, bytes]]:
        """Return rows whose key begins with ``prefix`` and is not below ``start``, in key order.

        At most ``limit`` rows are returned; 0 means all. Raises StorageError.
        """

    async def keys(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[bytes]:
        """Return the keys of the rows that :meth:`scan` would return; stores that can do so leave the values unread.

        At most ``limit`` keys are returned; 0 means all. Raises StorageError.
        """
        return [key for key, _ in await self.scan(prefix, start, limit)]

    async def sizes(self, prefix: bytes, start: bytes = b"", limit: int = 0) -> list[tuple[bytes, int]]:
        """Return the keys that :meth:`keys` would return, each with the number of bytes of its value.

        At most ``limit`` pairs are returned; 0 means all. Raises StorageError.
        """
        return [(key, len(value)) for key, value in await self.scan(prefix, start, limit)]

    async def page(self, prefix: bytes, start: bytes, limit: int, size: int) -> list[tuple[bytes, bytes]]:
        """Return the first rows that :meth:`scan` would return: at most ``limit`` of them, and as many as have ``size``
        bytes of values together, but one at least. Raises StorageError."""
        count = fitting([size_ for _, size_ in await self.sizes(prefix, start, limit)], size)
        return await self.scan(prefix, start, count) if count else []

    @abstractmethod
    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        """Put and delete ``rows`` as one; the future resolves when they are kept, or raises StorageError.

        Raises at once: InvalidPayload for a key or value too long, TypeError for what is not bytes, StorageError when
        the storage is not open.
        """

    async def put(self, key: bytes, value: bytes) -> None:
        """Keep one row; returns once it would survive a power cut. Raises StorageError."""
        await self.write([(key, value)])

    async def delete(self, key: bytes) -> None:
        """Delete one row; returns once the deletion would survive a power cut. Raises StorageError."""
        await self.write([(key, None)])

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def fitting(sizes: Sequence[int], limit: int) -> int:
    """Return how many of the first values have ``limit`` bytes together: one at least, if there is one."""
    fits = sum(1 for total in accumulate(sizes) if total <= limit)
    return max(fits, min(1, len(sizes)))


def check_rows(rows: Sequence[Row]) -> None:
    """Raise at the call for rows that would make the whole shared transaction fail later."""
    for key, value in rows:
        if type(key) is not bytes or (value is not None and type(value) is not bytes):
            raise TypeError(f"keys and values are bytes, not {type(key).__name__} and {type(value).__name__}")
        if len(key) > MAX_KEY or (value is not None and len(value) > MAX_VALUE):
            raise InvalidPayload(f"a key has at most {MAX_KEY} bytes and a value at most {MAX_VALUE}")


def report_failure(failed: Callable[[Exception], None], write: asyncio.Future[None]) -> None:
    """Tell ``failed`` of a ``write`` that is done, if it was in vain."""
    error = None if write.cancelled() else write.exception()
    if isinstance(error, Exception):
        failed(error)
