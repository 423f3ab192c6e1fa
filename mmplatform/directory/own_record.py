"""Signs our own record: where this node can be reached, as its transports, services and carriers say."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.errors import ProtocolError, StorageCorrupt, StorageError
from mmplatform.identity.keys import Identity
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

VALID: Final = 30 * 24 * 3600  # seconds that a record, and so a ticket, stays good
REFRESH: Final = 24 * 3600.0  # seconds between two renewals
REFRESH_AGAIN: Final = 60.0  # seconds until a record that could not be saved is tried again

log = logging.getLogger("mmplatform.directory")


class OwnRecord:
    """Keeps our record up to date. ``record`` is None before :meth:`begin`; ``renewed(record)`` is called for each.

    ``left_out``: addresses for which it has no room.
    """

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
        self.left_out: tuple[str, ...] = ()
        self._identity, self._mail_keys, self._storage = identity, mail_keys, storage
        self._now, self._renewed, self._spawn, self._failed = now, renewed, spawn, failed
        self._addresses: dict[str, tuple[str, ...]] = {}  # by owner: the name of a service, or a scheme
        self._renewing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def open(self) -> None:
        """Load the keys that mail for us is sealed to; a damaged row is reported and new keys are made."""
        try:
            await self._mail_keys.open()
        except StorageCorrupt as error:
            self._failed(error)

    async def begin(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Sign the first record of this run, with these addresses by owner. Raises StorageError."""
        self._addresses = {owner: tuple(found) for owner, found in addresses.items()} | self._addresses
        await self._renew()

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Replace the addresses (URIs) of ``owner`` in the record. Raises StorageError; the record is renewed later."""
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
        """Return the record in bytes, for a handshake. Raises ProtocolError("starting") before there is one."""
        if self.record is None:
            raise ProtocolError("starting", "the platform is not listening yet")
        return self.record.encode()

    def close(self) -> None:
        """Stop renewing."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    async def _renew(self) -> None:
        async with self._renewing:
            saved = await self._storage.get(b"node/seq")
            seq = max(int.from_bytes(saved or b"\0") + 1, int(self._now() * 1000))
            await self._storage.put(b"node/seq", seq.to_bytes(8))
            addresses = self._chosen()
            await self._mail_keys.rotate_if_due()
            self.record = NodeInfo.create(
                self._identity, addresses, seq, int(self._now()) + VALID, self._mail_keys.current
            )
        self._renew_later(min(REFRESH, max(self._mail_keys.due - self._now(), 1.0)))
        self._renewed(self.record)

    def _chosen(self) -> tuple[str, ...]:
        """The addresses that the record names; says so once when others are left out."""
        chosen = _fair_share(list(self._addresses.values()))
        before, self.left_out = (
            self.left_out,
            tuple(address for found in self._addresses.values() for address in found if address not in chosen),
        )
        if self.left_out and self.left_out != before:
            text = "a record holds %d addresses; ours has no room for %s"
            log.info(text, MAX_ADDRESSES, escaped(", ".join(self.left_out)))
        return chosen

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
    """Choose as many addresses as a record holds, in the order they were given: the first of every owner, then the
    second, so that a host with many interfaces does not push out the one address of a service."""
    ranked = sorted((rank, owner) for owner, found in enumerate(addresses) for rank in range(len(found)))
    chosen = set(ranked[:MAX_ADDRESSES])
    return tuple(
        address
        for owner, found in enumerate(addresses)
        for rank, address in enumerate(found)
        if (rank, owner) in chosen
    )
