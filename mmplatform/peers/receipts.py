"""Takes in receipts: how messages ended that their recipients had kept for a handler to come."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.outcomes import outcome_of
from mmplatform.delivery.receipts import PROTOCOL, Entry, decode_receipt
from mmplatform.errors import CodecError, Refused
from mmplatform.message import Outcome
from mmplatform.messaging.internal import InternalHandler
from mmplatform.messaging.results import DONE, Finished, Result

AT_ONCE: Final = 64  # entries that are taken in one turn of the loop: a receipt may have thousands


class Receipts(InternalHandler):
    """Handles the protocol of receipts; ``ended(peer, lane, epoch, low, high, outcome)`` is told each."""

    protocol: Final = PROTOCOL

    def __init__(self, ended: Callable[[str, int, int, int, int, Outcome], None]) -> None:
        self._ended = ended

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Take a receipt, which can only speak of messages to its sender."""
        try:
            entries = decode_receipt(payload)
        except CodecError:
            return Result(None, Refused("bad-payload"))
        self._take(sender, entries[:AT_ONCE])
        if len(entries) <= AT_ONCE:
            return DONE
        asyncio.get_running_loop().call_soon(self._go_on, sender, entries, AT_ONCE, finished)
        return None

    def _go_on(self, sender: str, entries: list[Entry], place: int, finished: Finished) -> None:
        self._take(sender, entries[place : place + AT_ONCE])
        place += AT_ONCE
        if place < len(entries):
            asyncio.get_running_loop().call_soon(self._go_on, sender, entries, place, finished)
        else:
            finished(DONE)

    def _take(self, sender: str, entries: list[Entry]) -> None:
        for lane, epoch, low, high, end, text in entries:
            self._ended(sender, lane, epoch, low, high, outcome_of(end, text))
