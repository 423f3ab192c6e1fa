"""Takes in receipts: how messages ended that their recipients had kept for a handler to come."""

from collections.abc import Callable
from typing import Final

from mmplatform.delivery.outcomes import outcome_of
from mmplatform.delivery.receipts import PROTOCOL, decode_receipt
from mmplatform.errors import CodecError, Refused
from mmplatform.message import Outcome
from mmplatform.messaging.internal import InternalHandler
from mmplatform.messaging.results import DONE, Finished, Result


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
        for lane, epoch, low, high, end, text in entries:
            self._ended(sender, lane, epoch, low, high, outcome_of(end, text))
        return DONE
