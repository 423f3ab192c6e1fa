"""Listens for connections, keeps its ports over restarts, and notices new interfaces.

The addresses of a transport that listens on every interface are read again every LOOK_AGAIN seconds, as interfaces
come and go; reading them takes 0.2 ms.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, LocalError, StorageError
from mmplatform.plugins.check import Check, ok, warning
from mmplatform.plugins.transport import Accept, Transport
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

LOOK_AGAIN: Final = 5.0  # seconds between two readings of our addresses
PORTS: Final = b"node/listening"  # the key of the row with the ports of the last run, one a hint
ADDRESSES: Final = b"node/addresses"  # the key of the row with its addresses

log = logging.getLogger("mmplatform.links")
_strings: Decoder[list[str]] = Decoder(list[str], 1024 * 1024)


class Listener:
    """Listens with the transports of a node. ``addresses``: where, by the first scheme of the transport.

    When the addresses of a transport have changed, ``advertise(scheme, addresses)`` is called, and then ``changed()``.
    """

    def __init__(
        self,
        storage: Storage,
        transports: Mapping[str, Transport],
        hints: Sequence[str],
        accept: Accept,
        advertise: Callable[[str, Sequence[str]], Awaitable[None]],
        changed: Callable[[], None],
        spawn: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.moved = False  # whether the addresses are others than in the last run
        self._storage, self._transports, self._hints = storage, transports, tuple(hints)
        self._accept, self._advertise, self._changed = accept, advertise, changed
        self._spawn, self._failed = spawn, failed
        self._displaced: list[str] = []  # ports of the last run that other programs have now
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Listen at every hint; port 0 becomes the port of the last run when that is still free."""
        ports = dict(zip(self._hints, await _saved(self._storage, PORTS), strict=False))
        used: list[str] = []
        for hint in self._hints:
            found = await self._listen(hint, ports.get(hint, ""))
            log.info("listening on %s", escaped(", ".join(found)))
            owner = self._transports[hint.partition(":")[0]].schemes[0]
            self.addresses[owner] = (*self.addresses.get(owner, ()), *found)
            used.append(found[0].rpartition(":")[2] if found and hint.endswith(":0") else "")
        addresses = encode([address for found in self.addresses.values() for address in found])
        self.moved = await self._storage.get(ADDRESSES) not in (None, addresses)
        await self._storage.write([(PORTS, encode(used)), (ADDRESSES, addresses)])
        self._look_later()

    async def look_again(self) -> None:
        """Advertise the addresses that transports can be reached at now, where they have changed."""
        for transport in dict.fromkeys(self._transports.values()):
            found, owner = transport.reachable(), transport.schemes[0]
            if found is not None and self.addresses.get(owner, ()) != tuple(found):
                self.addresses[owner] = tuple(found)
                log.info("listening on %s from now on", escaped(", ".join(found) or "nothing"))
                await self._advertise(owner, found)
                self._changed()

    def checks(self) -> list[Check]:
        """Whether we listen where we were last found."""
        if not self._displaced:
            return [ok("listening", ", ".join(a for found in self.addresses.values() for a in found) or "nowhere")]
        return [
            warning(
                "listening", "port-in-use",
                f"another program has port {', '.join(self._displaced)}, where this node listened last",
                "stop that program (ss -ltnp names it) and start this node again, or give out new tickets",
            )
        ]  # fmt: skip

    def close(self) -> None:
        """Stop looking. Whoever made the transports closes them."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()

    async def _listen(self, hint: str, port: str) -> list[str]:
        scheme = hint.partition(":")[0]
        if scheme not in self._transports:
            raise LocalError(f"cannot listen on {hint}: the transport {scheme!r} is not among {list(self._transports)}")
        transport = self._transports[scheme]
        if hint.endswith(":0") and port.isdigit():
            try:
                return await transport.listen(hint[:-1] + port, self._accept)
            except (LocalError, ValueError):
                log.info("port %s of the last run is taken; another one will do", port)
                self._displaced.append(port)
        try:
            return await transport.listen(hint, self._accept)
        except ValueError as error:
            raise LocalError(f"cannot listen on {hint}: {error}") from None

    def _look_later(self) -> None:
        if not self._closed and any(transport.reachable() is not None for transport in self._transports.values()):
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(LOOK_AGAIN, lambda: self._spawn(self._look_now()))

    async def _look_now(self) -> None:
        self._look_later()
        try:
            await self.look_again()
        except StorageError as error:
            self._failed(error)


async def listened_at(storage: Storage) -> list[str]:
    """Return where the last node with these rows listened; [] when there was none. Raises StorageError."""
    return await _saved(storage, ADDRESSES)


async def _saved(storage: Storage, key: bytes) -> list[str]:
    saved = await storage.get(key)
    try:
        return _strings.decode(saved) if saved is not None else []
    except CodecError:
        return []  # the row is damaged, and the next node writes it anew; ports are no more than a wish
