"""Where this node can be reached: listens, remembers its ports, and keeps its signed record up to date.

Services and transports may have addresses of their own in the record (``advertise``). The addresses of a transport
that listens on every interface are read again every LOOK_AGAIN seconds (0.2 ms), as interfaces come and go.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, LocalError, ProtocolError, StorageCorrupt, StorageError
from mmplatform.identity.keys import Identity
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.plugins.check import Check, ok, warning
from mmplatform.plugins.transport import Accept, Transport
from mmplatform.storage.contract import Storage

VALID: Final = 30 * 24 * 3600  # seconds a record, and so a ticket, stays good
REFRESH: Final = 24 * 3600.0
REFRESH_AGAIN: Final = 60.0  # seconds after a record could not be saved
LOOK_AGAIN: Final = 5.0  # seconds

log = logging.getLogger("mmplatform")
_strings: Decoder[list[str]] = Decoder(list[str], 1024 * 1024)


class Listener:
    """``record`` is our NodeInfo once we listen; ``renewed()`` is called whenever there is a newer one."""

    def __init__(
        self,
        identity: Identity,
        mail_keys: MailKeys,
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
        self.moved = False  # since the last run
        self.changed: Callable[[], None] = _nothing  # called when our addresses are others than a moment ago
        self._identity, self._mail_keys, self._storage = identity, mail_keys, storage
        self._transports, self._hints = transports, tuple(hints)
        self._accept, self._now, self._renewed, self._spawn, self._failed = accept, now, renewed, spawn, failed
        self._addresses: dict[str, tuple[str, ...]] = {}  # by who listens there: a service, a transport's first scheme
        self._displaced: list[str] = []  # ports of the last run that others have now
        self._renewing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Listen where asked; a port left open (0) is the one of the last run when it is still free."""
        try:
            await self._mail_keys.open()
        except StorageCorrupt as error:
            self._failed(error)
        before = await self._storage.get(b"node/listening")
        try:
            ports = dict(zip(self._hints, _strings.decode(before) if before else [], strict=False))
        except CodecError:
            ports = {}  # damaged; it is no more than a wish
        used: list[str] = []
        for hint in self._hints:
            found = await self._listen(hint, ports.get(hint, ""))
            owner = self._transports[hint.partition(":")[0]].schemes[0]
            self._addresses[owner] = (*self._addresses.get(owner, ()), *found)
            used.append(found[0].rpartition(":")[2] if found and hint.endswith(":0") else "")
        addresses = encode([address for found in self._addresses.values() for address in found])
        self.moved = await self._storage.get(b"node/addresses") not in (None, addresses)
        await self._storage.write([(b"node/listening", encode(used)), (b"node/addresses", addresses)])
        await self._renew()
        self._look_later()

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have ``addresses`` of ``owner`` in our record, in place of those it had there before."""
        if self._addresses.get(owner, ()) != tuple(addresses):
            self._addresses[owner] = tuple(addresses)
            await self._renew()

    async def look_again(self) -> None:
        """Have the addresses in our record that transports can be reached at now."""
        for transport in dict.fromkeys(self._transports.values()):
            found = transport.reachable()
            if found is None:
                continue
            changed = self._addresses.get(transport.schemes[0], ()) != tuple(found)
            await self.advertise(transport.schemes[0], found)
            if changed:
                self.changed()

    def checks(self) -> list[Check]:
        """Whether we listen where we were last found."""
        if not self._displaced:
            return [ok("listening", ", ".join(a for found in self._addresses.values() for a in found) or "nowhere")]
        return [
            warning(
                "listening", "port-in-use",
                f"another program has port {', '.join(self._displaced)}, where this node listened last",
                "stop that program (ss -ltnp names it) and start this node again, or give out new tickets",
            )
        ]  # fmt: skip

    def close(self) -> None:
        """Renew no more. Transports are closed by whoever made them."""
        self._closed = True
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()

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
                self._displaced.append(port)
        try:
            return await transport.listen(hint, self._accept)
        except ValueError as error:
            raise LocalError(f"cannot listen on {hint}: {error}") from None

    async def _renew(self) -> None:
        async with self._renewing:
            saved = await self._storage.get(b"node/seq")
            seq = max(int.from_bytes(saved or b"\0") + 1, int(self._now() * 1000))
            await self._storage.put(b"node/seq", seq.to_bytes(8))
            addresses = _fair_share(list(self._addresses.values()))
            await self._mail_keys.rotate_if_due()
            self.record = NodeInfo.create(
                self._identity, addresses, seq, int(self._now()) + VALID, self._mail_keys.current
            )
        self._renew_later(min(REFRESH, max(self._mail_keys.due - self._now(), 1.0)))
        self._renewed()

    def _renew_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, lambda: self._spawn(self._carefully(self._renew)))

    def _look_later(self) -> None:
        if not self._closed and any(transport.reachable() is not None for transport in self._transports.values()):
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(LOOK_AGAIN, lambda: self._spawn(self._carefully(self._look_now)))

    async def _look_now(self) -> None:
        self._look_later()
        await self.look_again()

    async def _carefully(self, renew: Callable[[], Awaitable[None]]) -> None:
        try:
            await renew()
        except StorageError as error:
            self._failed(error)
            self._renew_later(REFRESH_AGAIN)


def _nothing() -> None:
    """Nobody wants to know."""


def _fair_share(addresses: list[tuple[str, ...]]) -> tuple[str, ...]:
    """As many as a record holds: the first of everybody, then the second, so that a host with many interfaces does
    not push out the one address of a service. In the order they were given."""
    ranked = sorted((rank, owner) for owner, found in enumerate(addresses) for rank in range(len(found)))
    chosen = set(ranked[:MAX_ADDRESSES])
    return tuple(
        address
        for owner, found in enumerate(addresses)
        for rank, address in enumerate(found)
        if (rank, owner) in chosen
    )
