"""What applications see of the inbox: what waits for a handler there, and what has failed."""

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

from mmplatform.delivery.wire import TAKEN, End
from mmplatform.durable.inbox import Inbox
from mmplatform.durable.inbox_rows import FAILED, HELD, InboxMessage, KeptMessage
from mmplatform.message import parse_id


class InboxEntry(NamedTuple):
    """One message of the inbox.

    ``id``: the name of its delivery, with its sender behind the @. ``payload``: bytes of its protocol. ``state``:
    "waiting" (for a handler) or "failed". ``time`` and ``expires``: Unix seconds on this node's clock. ``error``: what
    its handlers raised.
    """

    id: str
    sender: str
    topic: str
    protocol: str
    payload: bytes
    state: Literal["waiting", "failed"]
    time: float
    expires: float
    error: str


class InboxContents:
    """The messages that are kept here: those that nobody has listened to yet, and those whose handlers failed."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def waiting(self) -> int:
        """How many messages wait for a handler."""
        return self._inbox.held

    @property
    def failed(self) -> int:
        """How many messages have failed."""
        return self._inbox.counts()[1]

    async def entries(self, sender: str = "", *, failed: bool = False) -> AsyncIterator[InboxEntry]:
        """Give the messages that wait for a handler, or those that have failed, by sender and topic, the oldest first.

        Args:
            sender: a signId; "" for all senders.
            failed: whether to give those that have failed.

        Raises StorageError.

        """
        async for _, message in self._messages(FAILED if failed else HELD, sender):
            yield _entry(message)

    async def entry(self, message_id: str) -> InboxEntry | None:
        """Return one message by its id, None when it is not here. Raises ValueError for a bad id, StorageError."""
        with self._inbox.gone.reading():
            found = await self._find(message_id, (HELD, FAILED), in_hand=True)
        return _entry(found[1]) if found is not None else None

    async def take(self, message_id: str) -> InboxEntry | None:
        """Take a message out, as handled; its sender is told "delivered". Returns None when it is not here, or handlers
        have it. Raises ValueError for a bad id, StorageError."""
        with self._inbox.gone.reading():
            found = await self._find(message_id, (HELD, FAILED))
            if found is None:
                return None
            self._inbox.end(*found, TAKEN)
        return _entry(found[1])

    async def drop(self, message_id: str) -> bool:
        """Throw a message away; its sender is told "refused", unless it knows an end already.

        Returns False when it is not here, or handlers have it. Raises ValueError for a bad id, StorageError.
        """
        with self._inbox.gone.reading():
            found = await self._find(message_id, (HELD, FAILED))
            if found is not None:
                self._inbox.end(*found, (End.REFUSED, "dropped unread"))
        return found is not None

    async def retry(self, message_id: str) -> bool:
        """Give a failed message to its handlers again; its sender is told nothing more.

        Returns False when it is not among the failed ones. Raises ValueError for a bad id, StorageError.
        """
        with self._inbox.gone.reading():
            found = await self._find(message_id, (FAILED,))
            if found is not None:
                self._inbox.wait_again(*found)
        return found is not None

    async def _messages(self, prefix: bytes, sender: str = "") -> AsyncIterator[KeptMessage]:
        """Give the messages that are still there when it is their turn."""
        start, after = prefix + (f"{sender}/".encode() if sender else b""), b""
        while True:
            with self._inbox.gone.reading():
                found = await self._inbox.page(start, after)
                for key, message in found:
                    if key.number not in self._inbox.gone:
                        yield key, message
            if not found:
                return
            after = found[-1][0].encoded

    async def _find(self, message_id: str, prefixes: tuple[bytes, ...], in_hand: bool = False) -> KeptMessage | None:
        """Find a message that is not gone, nor ``in_hand`` of handlers, unless that does not matter."""
        sender, *_ = parse_id(message_id)
        for prefix in prefixes:
            async for key, message in self._messages(prefix, sender):
                if message.id == message_id:
                    return (key, message) if in_hand or not self._inbox.is_in_hand(key) else None
        return None


def _entry(message: InboxMessage) -> InboxEntry:
    return InboxEntry(
        message.id,
        message.peer,
        message.topic,
        message.protocol,
        message.payload,
        "failed" if message.error else "waiting",
        message.at / 1000,
        message.expires / 1000,
        message.error,
    )
