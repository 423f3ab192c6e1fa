"""What handlers of the platform's own protocols have in common: each takes one kind of message, and nothing else."""

from mmplatform.message import Scope
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.messaging.results import NOBODY, Finished, HoldCount, Result


class InternalHandler:
    """A :class:`ProtocolHandler` that takes nothing; each protocol says what it takes after all."""

    def on_event(self, scope: Scope, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        """Ignore a realtime message."""

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """Refuse a durable message."""
        return NOBODY

    def on_request(
        self, scope: Scope, topic: str, sender: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Refuse a request."""
        return NOBODY

    def listens(self, scope: Scope, topic: str) -> bool:
        """Whether durable messages are taken."""
        return True

    def largest(self) -> int:
        """Return the bytes that a stranger's payload may have."""
        return PUBLIC_SIZE

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End nothing: nothing waits."""

    async def end(self, grace: float) -> list[str]:
        """End nothing: no handler is at work."""
        return []
