"""Our own signed record: where this node can be reached, as its transports, services and carriers say."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.errors import ProtocolError, StorageCorrupt, StorageError
from mmplatform.identity.keys import Identity
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.storage.contract import Storage

VALID: Final = 30 * 24 * 3600  # seconds a record, and so a ticket, stays good
REFRESH: Final = 24 * 3600.0  # seconds
REFRESH_AGAIN: Final = 60.0  # seconds after a record could not be saved


class OwnRecord:
    """``record`` is our NodeInfo once there is one; ``renewed(record)`` is called for each newer one."""

    def __init__(
        self,
        identity: Identity,
        mail_keys: MailKeys,
        storage: Storage,
        now: Callable[[], float],
        renewed: Callable[[NodeInfo], None],
        spawn: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.record: NodeInfo | None = None
        self._identity, self._mail_keys, self._storage = identity, mail_keys, storage
        self._now, self._renewed, self._spawn, self._failed = now, renewed, spawn, failed
        self._addresses: dict[str, tuple[str, ...]] = {}  # by the owner: a service, a scheme
        self._renewing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Read the keys that mail for us is sealed to."""
        try:
            await self._mail_keys.open()
        except StorageCorrupt as error:
            self._failed(error)

    async def begin(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Sign the first record of this run, with these addresses by their owners."""
        self._addresses = {owner: tuple(found) for owner, found in addresses.items()} | self._addresses
        await self._renew()

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have ``addresses`` of ``owner`` in the record, in place of those it had there before. Raises
        StorageError; it is tried again later."""
        if self._addresses.get(owner, ()) != tuple(addresses):
            self._addresses[owner] = tuple(addresses)
            if self.record is None:
                return
            try:
                await self._renew()
            except StorageError:
                self._renew_later(REFRESH_AGAIN)
                raise

    def encoded(self) -> bytes:
        """The record for a handshake; raises ProtocolError("starting") before there is one."""
        if self.record is None:
            raise ProtocolError("starting", "the platform is not listening yet")
        return self.record.encode()

    def close(self) -> None:
        """Renew no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

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
        self._renewed(self.record)

    def _renew_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, lambda: self._spawn(self._renew_carefully()))

    async def _renew_carefully(self) -> None:
        try:
            await self._renew()
        except StorageError as error:
            self._failed(error)
            self._renew_later(REFRESH_AGAIN)


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
