"""Rows that an application keeps: what its handlers save in the transaction that notes their message as handled."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from mmplatform.codec import decode, encode
from mmplatform.errors import InvalidPayload
from mmplatform.message import MAX_KEPT_KEY
from mmplatform.storage.contract import Row, Storage

PREFIX: Final = b"kept/"  # the start of the keys of all these rows


class Kept:
    """Values of the application by name. Handlers write with ``message.put(key, value)``; this reads.

    What a handler has put is seen here as soon as the handler is done, and is on disk before its sender is told.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._unsaved: dict[bytes, tuple[int, bytes | None]] = {}  # how often it waits to be saved, and the latest
        self._news: asyncio.Future[None] | None = None  # resolves when fewer wait

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value under ``key``, or ``default``. Raises StorageError."""
        row = _row_key(key)
        unsaved = self._unsaved.get(row)
        value = unsaved[1] if unsaved is not None else await self._storage.get(row)
        return default if value is None else _value(value)

    async def items(self, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Any]]:
        """Return the values whose keys begin with ``prefix`` and come after ``after``, in the order of their keys, at
        most ``limit``; what was put in this very moment may be missing. Raises StorageError."""
        start = PREFIX + after.encode() + b"\0" if after else b""
        rows = await self._storage.scan(PREFIX + prefix.encode(), start, limit)
        return [(key[len(PREFIX) :].decode(), _value(value)) for key, value in rows]

    async def put(self, key: str, value: Any) -> None:
        """Save a value outside of any handler, or delete it with None; returns once it would survive a power cut.

        Raises StorageError, or InvalidPayload for a key too long or a value that cannot be encoded.
        """
        row = _row_key(key), None if value is None else encode(value)
        while row[0] in self._unsaved:  # what a handler has put before is to be written before
            if self._news is None:
                self._news = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._news)
        await self._storage.write([row])

    def stage(self, values: Sequence[tuple[str, bytes | None]]) -> list[Row]:
        """Return the rows that save what a handler has put; show the values from now on, as they are about to be
        saved."""
        rows: list[Row] = [(_row_key(key), value) for key, value in values]
        for key, value in rows:
            count, _ = self._unsaved.get(key, (0, None))
            self._unsaved[key] = count + 1, value
        return rows

    def saved(self, rows: Sequence[Row]) -> None:
        """Look in the storage from now on for those of ``rows`` that are the application's."""
        if not self._unsaved:
            return
        for key, _ in rows:
            if key not in self._unsaved:
                continue
            count, value = self._unsaved[key]
            if count > 1:
                self._unsaved[key] = count - 1, value
            else:
                del self._unsaved[key]
        self._wake()

    def close(self) -> None:
        """Wait for nothing to be saved any more."""
        self._unsaved.clear()
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None


def _row_key(key: str) -> bytes:
    """Return the key of a row. Raises InvalidPayload."""
    encoded = PREFIX + key.encode()
    if not 0 < len(encoded) - len(PREFIX) <= MAX_KEPT_KEY:
        raise InvalidPayload(f"{key[:40]!r}: a key is text of 1 to {MAX_KEPT_KEY} bytes")
    return encoded


def _value(row: bytes) -> Any:
    """Return what the application saved: of its own it may hold any number of values."""
    return decode(row, len(row))
