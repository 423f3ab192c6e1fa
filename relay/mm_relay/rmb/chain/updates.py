"""Changes of twins that their accounts sign, made in the relay's file of twins.

A change counts once. Its nonce is a time: the one that clients are told to use is now. It is good for as long as it is
not too old, younger than the start of the relay, and higher than the last one of its account; so nothing has to be
kept over a restart.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mm_relay.rmb.chain.extrinsic import TwinUpdate, parse_update, verify_update
from mm_relay.rmb.chain.refused import AWAY, BANNED, INVALID_TRANSACTION, CallRefused
from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.toml_edit import put_twin
from mmplatform.errors import BadSignature, InvalidRecord, LocalError, ProtocolError
from mmplatform.storage.watched_file import reason

AGE: Final = 120  # seconds for which a nonce is good
PAUSE: Final = 6  # seconds between two changes of one account: as long as a block of the chain takes
WAITING: Final = 8  # changes that wait for the file
REST: Final = (
    4.0  # times as long as the last change took, before the next one: a thread that computes holds up the loop
)
MAX_EDITED: Final = 256 * 1024  # bytes of a file that is changed: that takes 0.5 s in a thread, some 1,400 twins


class TwinUpdates:
    """The changes at one relay.

    Args:
        path: The file of twins.
        twins: What is in it.
        now: Gives Unix seconds.
        changed: Called with the number of a twin that has changed.

    """

    def __init__(
        self, path: Path, twins: FileRegistry, now: Callable[[], float], changed: Callable[[int], Awaitable[object]]
    ) -> None:
        self._path, self._twins, self._now, self._changed = path, twins, now, changed
        self._began = int(now())
        self._nonces: OrderedDict[bytes, int] = OrderedDict()  # the last of each account, the latest at the end
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._rests_until = 0.0  # of the loop's clock

    def next_nonce(self) -> int:
        """Return what clients are to count their next change with."""
        return max(int(self._now()), self._began + 1)

    async def update(self, extrinsic: bytes, first: bytes) -> TwinInfo:
        """Make a change; return the twin as it is now.

        Args:
            extrinsic: The change, signed.
            first: The hash of the first block of the chain that it has to be for.

        Raises:
            CallRefused: Why it is not made.

        """
        try:
            update = parse_update(extrinsic)
        except ProtocolError as error:
            raise CallRefused(INVALID_TRANSACTION, f"Invalid Transaction: {error}") from None
        twin = await self._twins.find(update.account)
        if twin is None:
            raise CallRefused(
                INVALID_TRANSACTION, "Invalid Transaction: TwinNotExists, the relay's file has none of you"
            )
        self._check_nonce(update)
        try:
            verify_update(update, first)
            made = check_twin(TwinInfo(twin.number, twin.account, update.pk, update.relays))
        except BadSignature:
            raise CallRefused(
                INVALID_TRANSACTION, "Invalid Transaction: BadProof, the signature is not good here"
            ) from None
        except InvalidRecord as error:
            raise CallRefused(INVALID_TRANSACTION, f"Invalid Transaction: {error}") from None
        self._count(update)
        if made != twin:
            await self._write(made)
        return made

    def _check_nonce(self, update: TwinUpdate) -> None:
        """Raise CallRefused unless the nonce is new."""
        now, last = self._now(), self._nonces.get(update.account, 0)
        if now < last + PAUSE and update.nonce > last:
            raise CallRefused(BANNED, f"Transaction is temporarily banned: one change in {PAUSE} s")
        if update.nonce <= max(last, self._began) or update.nonce < now - AGE:
            raise CallRefused(INVALID_TRANSACTION, "Invalid Transaction: Stale, ask for the nonce again")
        if update.nonce > self.next_nonce():
            raise CallRefused(INVALID_TRANSACTION, "Invalid Transaction: Future, ask for the nonce again")

    def _count(self, update: TwinUpdate) -> None:
        self._nonces[update.account] = update.nonce
        self._nonces.move_to_end(update.account)
        while next(iter(self._nonces.values())) < self._now() - AGE:
            self._nonces.popitem(last=False)

    async def _write(self, twin: TwinInfo) -> None:
        if self._waiting >= WAITING:
            raise CallRefused(AWAY, "too many twins are changed; try again")
        self._waiting += 1
        try:
            async with self._writing:
                loop = asyncio.get_running_loop()
                await asyncio.sleep(max(0.0, self._rests_until - loop.time()))
                began = loop.time()
                await asyncio.to_thread(self._put, twin)
                await self._twins.look()
                self._rests_until = loop.time() + REST * (loop.time() - began)
        except LocalError as error:
            raise CallRefused(AWAY, str(error)) from None
        finally:
            self._waiting -= 1
        await self._changed(twin.number)

    def _put(self, twin: TwinInfo) -> None:
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise LocalError(f"the file of twins: {reason(error)}") from None
        if size > MAX_EDITED:
            raise LocalError(f"the file of twins is too long to be changed by clients (at most {MAX_EDITED} bytes)")
        put_twin(self._path, twin, replace=True)
