"""Takes in receipts: how messages ended that their recipients had kept for a handler to come."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from operator import length_hint
from typing import Final

from mmplatform.delivery.outcomes import outcome_of
from mmplatform.delivery.receipts import PROTOCOL, Entry, decode_receipt
from mmplatform.errors import CodecError, Refused
from mmplatform.message import Outcome, Scope
from mmplatform.messaging.internal import InternalHandler
from mmplatform.messaging.results import DONE, Finished, Result

AT_ONCE: Final = 64  # entries that are taken in one turn of the loop: a receipt may have thousands
REFUSED: Final = Result(None, Refused("bad-payload"))


class Receipts(InternalHandler):
    """Handles the protocol of receipts; ``ended(peer, lane, epoch, low, high, outcome)`` is told each."""

    protocol: Final = PROTOCOL

    def __init__(self, ended: Callable[[str, int, int, int, int, Outcome], None]) -> None:
        self._ended = ended
        self._waiting: deque[tuple[str, bytes, Finished]] = deque()  # behind a long one; entries would take more
        self._entries: Iterator[Entry] = iter(())  # what is left of the first of them

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Take a receipt, which can only speak of messages to its sender."""
        if self._waiting:
            self._waiting.append((sender, payload, finished))
            return None
        if not self._begin(payload):
            return REFUSED
        if self._take(sender):
            return DONE
        self._waiting.append((sender, payload, finished))
        asyncio.get_running_loop().call_soon(self._go_on)
        return None

    def _go_on(self) -> None:
        """Take some more in: one receipt after the other, however many there are."""
        sender, _, finished = self._waiting[0]
        if not self._take(sender):
            asyncio.get_running_loop().call_soon(self._go_on)
            return
        self._waiting.popleft()
        finished(DONE)
        while self._waiting:
            _, payload, finished = self._waiting[0]
            if self._begin(payload):
                asyncio.get_running_loop().call_soon(self._go_on)
                return
            self._waiting.popleft()
            finished(REFUSED)

    def _begin(self, payload: bytes) -> bool:
        """Return whether ``payload`` is a receipt, whose entries are to be taken then."""
        try:
            self._entries = iter(decode_receipt(payload))
        except CodecError:
            return False
        return True

    def _take(self, sender: str) -> bool:
        """Take AT_ONCE entries of a receipt in; return whether that was all."""
        for lane, epoch, low, high, end, text in islice(self._entries, AT_ONCE):
            self._ended(sender, lane, epoch, low, high, outcome_of(end, text))
        return not length_hint(self._entries)
