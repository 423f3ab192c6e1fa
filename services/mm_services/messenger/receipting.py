"""Ends bundles that were for us: their sender is told by a receipt, and only then they count as handled here.

The receipt is on disk before the note, so a kill in between loses no receipt, and makes at most MOST bundles of one
sender come to their handlers again: while so many are being written, the next ones wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.store import BundleStore
from mmplatform.errors import MMError
from mmplatform.identity.keys import SignId

MOST: Final = 16  # bundles that one receipt names, and of one sender that a kill may have handled again
WITHIN: Final = 0.05  # seconds until a receipt is written
AGAIN: Final = 5.0  # seconds until one that could not be written is tried again

Post = Callable[[SignId, Sequence[Named], float], Awaitable[None]]
"""Posts a receipt to the sender of bundles, which is good until a Unix time. Raises MMError."""


class Receipting:
    """What is handled and not noted yet.

    Args:
        store: where the notes go.
        post: posts a receipt.
        failed: is told of what cannot be written.

    """

    def __init__(self, store: BundleStore, post: Post, failed: Callable[[Exception], None]) -> None:
        self._store, self._post, self._failed = store, post, failed
        self._ended: dict[SignId, list[tuple[BundleEntry, ReceiptState]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._pause = WITHIN  # seconds until the next try
        self._open = True

    def end(self, entry: BundleEntry, state: ReceiptState) -> None:
        """Have a bundle for us end with ``state``."""
        if not self._open:
            return
        if not entry.recipients:
            if state != ReceiptState.FAILED:
                self._store.note_handled(entry.id)  # nobody waits for a receipt
            return
        ended = self._ended.setdefault(entry.sender, [])
        ended.append((entry, state))
        if len(ended) >= MOST and self._pause == WITHIN:
            self._flush()
        elif self._timer is None and self._work is None:
            self._timer = asyncio.get_running_loop().call_later(WITHIN, self._flush)

    async def room(self) -> None:
        """Return once another bundle may be handled: at once, unless many are handled whose receipt is being written.

        What cannot be written holds nobody up.
        """
        if self._work is not None:
            await asyncio.wait([self._work])

    async def close(self) -> None:
        """Write what is left. What cannot be written counts as not handled, and what ends later is not noted."""
        self._open = False
        self._flush()
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._work is None and self._ended:
            self._work = asyncio.get_running_loop().create_task(self._write(), name="mm messenger receipts")

    async def _write(self) -> None:
        self._pause = WITHIN
        try:
            while self._ended:
                sender = next(iter(self._ended))
                ended = self._ended.pop(sender)
                named, self_left = ended[:MOST], ended[MOST:]
                if self_left:
                    self._ended[sender] = self_left
                until = max(entry.expires for entry, _ in named)
                try:
                    await self._post(sender, [Named(entry.id, state) for entry, state in named], until)
                except MMError as error:
                    self._failed(error)
                    self._ended[sender] = [*named, *self._ended.get(sender, ())]
                    self._pause = AGAIN
                    return
                for entry, state in named:
                    if state != ReceiptState.FAILED:
                        self._settle(entry)
        finally:
            self._work = None
            if self._ended and self._open:
                self._timer = asyncio.get_running_loop().call_later(self._pause, self._flush)

    def _settle(self, entry: BundleEntry) -> None:
        """Note that a bundle is handled; one that was for us alone need not be kept."""
        if len(entry.recipients) == 1:
            self._store.forget(entry.id)
        else:
            self._store.note_handled(entry.id)
