"""Takes in receipts: how messages ended that their recipients had kept for a handler to come."""

from collections.abc import Callable

from mmplatform.delivery.receipts import Entry, decode_receipt
from mmplatform.errors import CodecError, Refused
from mmplatform.messaging.dispatch import Finished, OnReply
from mmplatform.messaging.subscriber import DONE, NOBODY, Result


class Receipts:
    """Handles the protocol of receipts; ``ended(peer, entry)`` is told each end."""

    def __init__(self, ended: Callable[[str, Entry], None]) -> None:
        self._ended = ended

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes) -> None:
        """Ignore it: receipts are durable."""

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Take a receipt, which can only speak of messages to its sender."""
        try:
            entries = decode_receipt(payload)
        except CodecError:
            return Result(None, Refused("bad-payload"))
        for entry in entries:
            self._ended(sender, entry)
        return DONE

    def on_request(
        self, scope: str, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Refuse: receipts are never requests."""
        return NOBODY

    def listens(self, scope: str, topic: str) -> bool:
        """Whether receipts are taken: always."""
        return True

    async def close(self) -> None:
        """End nothing: no handler is at work."""
