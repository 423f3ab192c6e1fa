"""What handlers get at hand: a durable message, or a request, of a peer that is linked or mailed.

Tens of thousands may wait for a slow handler, and the peer decides how many: the garbage collector does not go through
them (``gc=False``), as that would stop the loop. They are no part of a cycle that outlives their handling.
"""

from collections.abc import Callable
from typing import Protocol

from mmplatform.codec import Struct
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.wire import Record, Request
from mmplatform.identity.keys import SignId
from mmplatform.message import Message, Scope, make_id
from mmplatform.messaging.results import NOBODY, HoldCount, Result


class Taker(Protocol):
    """What has handed a message or a request of ``peer`` to handlers, and takes their result."""

    peer: SignId
    now: Callable[[], float]

    @property
    def held(self) -> HoldCount: ...

    def clogged(self, scope: Scope) -> bool: ...

    def finished(self, message: "InHand", result: Result) -> None: ...

    def answer(self, asked: "RequestInHand", result: bytes | Result) -> None: ...

    def serve_again(self, asked: "RequestInHand") -> bool: ...

    def awaits(self, asked: "RequestInHand") -> bool: ...


class InHand(Struct, gc=False, eq=False):
    """A durable message whose handlers are at work; called with their result. ``expires``: Unix ms, our clock."""

    taker: Taker
    stream: Stream
    record: Record
    scope: Scope
    expires: int
    counted: bool = False  # among those that wait for their handlers

    durable = True
    bounded = True
    series = False
    wanted = True

    def __call__(self, result: Result) -> None:
        self.taker.finished(self, result)

    def message(self) -> Message:
        """Make what a handler with a fourth parameter gets."""
        record, peer = self.record, self.taker.peer
        name = make_id(peer, self.stream.lane, self.stream.epoch, record.seq)
        return Message(
            record.topic, record.protocol, record.payload, peer, self.scope, "durable", name, self.taker.now(),
            self.expires / 1000,
        )  # fmt: skip


class RequestInHand(Struct, gc=False, eq=False):
    """A request whose handlers are at work, or are waited for; called with their result."""

    taker: Taker
    request: Request
    scope: Scope
    epoch: int
    counted: bool = False  # among those that wait for their handlers

    durable = False
    bounded = True

    def __call__(self, result: bytes | Result) -> None:
        self.taker.answer(self, result)

    @property
    def peer(self) -> str:
        """Who asks."""
        return self.taker.peer

    @property
    def size(self) -> int:
        """Bytes that the request holds while it waits."""
        return len(self.request.payload)

    @property
    def held(self) -> HoldCount:
        """Count for what is held for the peer."""
        return self.taker.held

    @property
    def clogged(self) -> bool:
        """Whether the peer does not read what it has asked for."""
        return self.taker.clogged(self.scope)

    @property
    def wanted(self) -> bool:
        """Whether the peer still waits for the reply."""
        return self.taker.awaits(self)

    def message(self) -> Message:
        """Make what a handler with a fourth parameter gets."""
        request, peer = self.request, self.taker.peer
        return Message(
            request.topic, request.protocol, request.payload, peer, self.scope, "request", "", self.taker.now(), 0.0
        )

    def try_again(self) -> bool:
        """Ask the handlers again; return False when there are still none."""
        return self.taker.serve_again(self)

    def give_up(self) -> None:
        """Answer that nobody listens."""
        self.taker.answer(self, NOBODY)
