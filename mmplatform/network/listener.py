"""Where this node can be reached: listens, remembers its ports, and keeps its signed record up to date."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, LocalError, ProtocolError, StorageError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.network.transport import Accept, Transport
from mmplatform.storage.contract import Storage

VALID: Final = 30 * 24 * 3600  # seconds a record, and so a ticket, stays good
REFRESH: Final = 24 * 3600.0
REFRESH_AGAIN: Final = 60.0  # seconds after a record could not be saved

log = logging.getLogger("mmplatform")
_strings: Decoder[list[str]] = Decoder(list[str], 1024 * 1024)


class Listener:
    """``record`` is our NodeInfo once we listen; ``renewed()`` is called whenever there is a newer one."""

    def __init__(
        self,
        identity: Identity,
        storage: Storage,
        transports: Mapping[str, Transport],
        hints: Sequence[str],
        accept: Accept,
        now: Callable[[], float],
        renewed: Callable[[], None],
        spawn: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.record: NodeInfo | None = None
        self._identity, self._storage, self._transports, self._hints = identity, storage, transports, tuple(hints)
        self._accept, self._now, self._renewed, self._spawn, self._failed = accept, now, renewed, spawn, failed
        self._addresses: dict[str, tuple[str, ...]] = {}  # by who listens there: "" for the transports
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Listen where asked; a port left open (0) is the one of the last run when it is still free."""
        before = await self._storage.get(b"node/listening")
        try:
            ports = dict(zip(self._hints, _strings.decode(before) if before else [], strict=False))
        except CodecError:
            ports = {}  # damaged; it is no more than a wish
        addresses: list[str] = []
        used: list[str] = []
        for hint in self._hints:
            found = await self._listen(hint, ports.get(hint, ""))
            addresses += found
            used.append(found[0].rpartition(":")[2] if found else "")
        await self._storage.put(b"node/listening", encode(used))
        await self.advertise("", addresses)

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have ``addresses`` of ``owner`` in our record, in place of those it had there before."""
        self._addresses[owner] = tuple(addresses)
        await self._renew()

    def close(self) -> None:
        """Renew no more. Transports are closed by whoever made them."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def encoded(self) -> bytes:
        """The record for a handshake; raises ProtocolError("starting") before there is one."""
        if self.record is None:
            raise ProtocolError("starting", "the platform is not listening yet")
        return self.record.encode()

    async def _listen(self, hint: str, port: str) -> list[str]:
        scheme = hint.partition(":")[0]
        if scheme not in self._transports:
            raise LocalError(f"cannot listen on {hint}: the transport {scheme!r} is not among {list(self._transports)}")
        transport = self._transports[scheme]
        if hint.endswith(":0") and port.isdigit():
            try:
                return await transport.listen(hint[:-1] + port, self._accept)
            except (LocalError, ValueError):
                log.debug("port %s of the last run is taken; another one will do", port)
        try:
            return await transport.listen(hint, self._accept)
        except ValueError as error:
            raise LocalError(f"cannot listen on {hint}: {error}") from None

    async def _renew(self) -> None:
        saved = await self._storage.get(b"node/seq")
        seq = max(int.from_bytes(saved or b"\0") + 1, int(self._now() * 1000))
        await self._storage.put(b"node/seq", seq.to_bytes(8))
        addresses = [address for found in self._addresses.values() for address in found][:MAX_ADDRESSES]
        self.record = NodeInfo.create(self._identity, tuple(addresses), seq, int(self._now()) + VALID)
        self._renew_later(REFRESH)
        self._renewed()

    def _renew_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._closed:
            return
        self._timer = asyncio.get_running_loop().call_later(seconds, lambda: self._spawn(self._renew_again()))

    async def _renew_again(self) -> None:
        try:
            await self._renew()
        except StorageError as error:
            self._failed(error)
            self._renew_later(REFRESH_AGAIN)
