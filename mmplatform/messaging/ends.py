"""The ends of what an API hands to handlers: a message of this process, and a request of a peer."""

from collections.abc import Callable

from mmplatform.codec import Struct
from mmplatform.errors import QueueFull, Refused
from mmplatform.message import DELIVERED, UNHANDLED, Delivery, Message, Outcome
from mmplatform.messaging.dispatch import OnReply
from mmplatform.messaging.results import NOBODY, LocalEnd, Result
from mmplatform.text import escaped


class SentHere(LocalEnd):
    """The end of a message to the handlers of this process."""

    __slots__ = ("_delivery", "_make")
    durable = True

    def __init__(self, delivery: Delivery, make: Callable[[], Message]) -> None:
        self._delivery, self._make = delivery, make

    def __call__(self, result: Result) -> None:
        """End the delivery."""
        self._delivery.settle(outcome_of(result))

    def message(self) -> Message:
        """Make the message for one handler."""
        return self._make()

    def stop(self) -> None:
        """End the wait for the delivery."""
        self._delivery.stop()


class Replying(Struct, gc=False, eq=False):
    """Makes the reply to a request of a peer of the result. Not tracked, like the request at hand."""

    finished: OnReply
    reply: Callable[[Result], bytes | Result]
    durable = False  # the peer is told of a failure, and asks again if it likes
    bounded = True
    series = False

    def __call__(self, result: Result) -> None:
        """Give the reply back."""
        self.finished(self.reply(result))

    @property
    def wanted(self) -> bool:
        """Whether the peer still waits for the reply."""
        return self.finished.wanted

    def message(self) -> Message:
        """Make the message for one handler."""
        return self.finished.message()


def outcome_of(result: Result) -> Outcome:
    """Return how a local message ended whose handlers gave ``result``."""
    if result is NOBODY:
        return UNHANDLED
    if result.error is None:
        return DELIVERED
    if isinstance(result.error, Refused | QueueFull):
        return Outcome("refused", escaped(result.error))
    return Outcome("failed", f"{type(result.error).__name__}: {escaped(result.error)}")
