"""Writes who was here lately to a local store, many at a time: keys cost nothing, a page on disk is 4 KiB."""

import asyncio
from contextlib import suppress
from typing import Final

from mm_relay.stores.rows import HERE, HereMark
from mmplatform.codec import encode
from mmplatform.errors import LocalError
from mmplatform.storage.contract import Row, Storage

GATHERED: Final = 10.0  # seconds of sign-ins that are written together; a kill forgets these, until they come again


class HereRows:
    """The rows that are to be written. Of a key that was forgotten meanwhile only its end is."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._rows: dict[bytes, HereMark | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, key: bytes, mark: HereMark, gone: list[bytes]) -> None:
        """Write ``mark`` and remove the rows of ``gone``, in some seconds."""
        self._rows[key] = mark
        self._rows.update(dict.fromkeys(gone))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHERED, self.write)

    def write(self) -> None:
        """Write what is gathered; nobody waits for it, and what the disk does not take is lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, rows, self._rows = None, self._rows, {}
        written: list[Row] = [(HERE + key, encode(mark) if mark is not None else None) for key, mark in rows.items()]
        if written:
            with suppress(LocalError):
                self._storage.write(written, sync=False).add_done_callback(
                    lambda saved: saved.cancelled() or saved.exception()
                )
