"""Signs our own record: where this node can be reached, as its transports, services and carriers say.

Timers do not run while a laptop sleeps, and know nothing of a clock that is set. So a record is looked at whenever it
is shown, too, and one that is not of these days by our clock is signed anew at once.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mmplatform.errors import ProtocolError, StorageCorrupt, StorageError
from mmplatform.home import running_loop
from mmplatform.identity.keys import Identity
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

VALID: Final = 30 * 24 * 3600  # seconds that a record, and so a ticket, stays good
REFRESH: Final = 24 * 3600.0  # seconds between two renewals
LOOK: Final = 60.0  # seconds between two looks at the clock: whoever asks a service for our record does not ask us
AHEAD: Final = 60.0  # seconds that a record may be from the future, when the clock is set back a little
REFRESH_AGAIN: Final = 60.0  # seconds until a record that could not be saved is tried again

log = logging.getLogger("mmplatform.directory")


class OwnRecord:
    """Keeps our record up to date, as :meth:`current` shows it. ``record`` is the last one, None before :meth:`begin`;
    ``renewed(record)`` is called for each. ``left_out``: addresses for which it has no room."""

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
        self._due = 0.0  # when to renew the record, if the clock goes on as it does, by the clock of the loop
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

    def current(self) -> NodeInfo | None:
        """Return the record to show now, None before there is one. When the last one is not of these days, it is signed
        anew, and saved and told to services in a moment."""
        if self.record is not None and not self._closed and not self._is_of_now(self.record):
            self.record = self._signed(max(self.record.seq + 1, int(self._now() * 1000)))
            self._renewed(self.record)
            if running_loop() is not None:
                self._spawn(self._renew_carefully())
        return self.record

    def encoded(self) -> bytes:
        """Return the record in bytes, for a handshake. Raises ProtocolError("starting") before there is one."""
        record = self.current()
        if record is None:
            raise ProtocolError("starting", "the platform is not listening yet")
        return record.encode()

    def close(self) -> None:
        """Stop renewing."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    async def _renew(self) -> None:
        async with self._renewing:
            saved = await self._storage.get(b"node/seq")
            shown = self.record.seq if self.record is not None else 0
            seq = max(int.from_bytes(saved or b"\0") + 1, shown + 1, int(self._now() * 1000))
            await self._storage.put(b"node/seq", seq.to_bytes(8))
            await self._mail_keys.rotate_if_due()
            self.record = self._signed(seq)
        self._renew_later(min(REFRESH, max(self._mail_keys.due - self._now(), 1.0)))
        self._renewed(self.record)

    def _signed(self, seq: int) -> NodeInfo:
        addresses = self._chosen()
        return NodeInfo.create(self._identity, addresses, seq, int(self._now()) + VALID, self._mail_keys.current)

    def _is_of_now(self, record: NodeInfo) -> bool:
        """Whether the record was signed in the time in which one is good to be shown, by the clock of now."""
        return -AHEAD <= self._now() - (record.expires - VALID) <= REFRESH + AHEAD

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
        self._due = asyncio.get_running_loop().time() + seconds
        self._look_later()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(min(self._due, loop.time() + LOOK), self._look)

    def _look(self) -> None:
        """Renew the record when it is time, or the clock was set."""
        if asyncio.get_running_loop().time() >= self._due or (
            self.record is not None and not self._is_of_now(self.record)
        ):
            self._spawn(self._renew_carefully())
        else:
            self._look_later()

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
