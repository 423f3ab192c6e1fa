"""Remembers over restarts where each other relay proved its key: nobody's false address can take the place of that."""

import asyncio
import json
import logging
from collections import OrderedDict
from pathlib import Path
from typing import Final

from mm_transports.relay.protocol.address import relay_key
from mmplatform.storage.replacing import replaced

MOST: Final = 4096  # relays; the one that was reached longest ago is forgotten
FILE: Final = "relays.json"  # in the folder of the relay

log = logging.getLogger("mm_relay.federation")


class ProvenAddresses:
    """The addresses, by the keys of their relays, kept in ``path``; without one for this run only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._saving: asyncio.Task[None] | None = None
        self._dirty = False

    def open(self) -> None:
        """Read the file; one that is damaged or not there is as good as an empty one."""
        try:
            listed = json.loads(self._path.read_text("utf-8")) if self._path is not None else []
        except (OSError, ValueError):
            return
        for address in listed[:MOST] if isinstance(listed, list) else ():
            key = relay_key(address) if isinstance(address, str) else b""
            if key:
                self._known[key] = address

    def find(self, key: bytes) -> str:
        """Return where the relay ``key`` was reached last, or ""."""
        return self._known.get(key, "")

    def reached(self, key: bytes, address: str) -> None:
        """Remember that the relay ``key`` proved its key at ``address``; what is news is saved at once."""
        news = self._known.get(key) != address
        self._known[key] = address
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        if news and self._path is not None:
            self._dirty = True
            if self._saving is None:
                self._saving = asyncio.get_running_loop().create_task(self._save())

    async def close(self) -> None:
        """Finish saving."""
        if self._saving is not None:
            await self._saving

    async def _save(self) -> None:
        try:
            while self._dirty:
                self._dirty = False
                await asyncio.to_thread(self._write, json.dumps(list(self._known.values()), indent=0))
        finally:
            self._saving = None

    def _write(self, text: str) -> None:
        assert self._path is not None
        try:
            with replaced(self._path) as file:
                file.write(text.encode())
        except OSError as error:
            log.warning("where other relays were reached is not saved: %s; it is learned anew after a restart", error)
