"""What applications see of a message: its topic, its delivery and how that ended."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from threading import get_ident
from typing import Any, Final, Literal

from mmplatform.codec import encode
from mmplatform.errors import (
    Cancelled,
    Expired,
    HandlerFailed,
    InvalidPayload,
    InvalidTopic,
    LocalError,
    MMError,
    NotRunning,
    Refused,
    WrongLoop,
)
from mmplatform.text import quoted

MAX_PAYLOAD: Final = 64 * 1024 * 1024
MAX_TOPIC: Final = 255
MAX_KEPT_KEY: Final = 1000  # bytes of the name of a value that a handler keeps
DEFAULT_EXPIRY: Final = 7 * 24 * 3600.0

PriorityName = Literal["control", "high", "normal", "low"]
EndState = Literal["delivered", "failed", "expired", "refused", "cancelled", "sent", "dropped"]
State = Literal[EndState, "waiting", "relayed", "received"]
Scope = Literal["self", "friends", "public"]  # what a sender is to us
MessageKind = Literal["durable", "request", "realtime", "local"]
LastState = Literal[State, "unknown"]  # of a message that an earlier run accepted, as far as this node remembers


class Priority(IntEnum):
    """The four lanes, first to last; messages of one lane stay in order, those of two lanes may overtake each other."""

    CONTROL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @classmethod
    def parse(cls, value: "Priority | str | int") -> "Priority":
        """Return the priority that ``value`` names or numbers. Raises ValueError, which lists the names."""
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except (KeyError, ValueError):
            raise ValueError(f"priority {value!r}: one of control, high, normal, low") from None


@dataclass(slots=True, eq=False)
class Message:
    """A message as it came in: what the event ``message`` tells, and the fourth argument of handlers that take four.

    ``payload``: the bytes of its protocol, at most 64 MiB. ``sender``: a signId, proven by handshake or signature;
    of who asks over a bridge, the destination by which it is asked.
    ``scope``: what the sender is to us: "self", "friends" or "public". ``kind``: "durable", "request", "realtime" or
    "local". ``id``: the name of its delivery, ``epoch.lane.seq@sender``, empty when it has none. ``time``: Unix
    seconds, when it came in here. ``expires``: Unix seconds on the clock of this node, 0.0 when it does not expire.
    ``open``: whether its handler is still at work.
    """

    topic: str
    protocol: str
    payload: bytes
    sender: str
    scope: Scope
    kind: MessageKind
    id: str = ""
    time: float = 0.0
    expires: float = 0.0
    open: bool = field(default=True, repr=False)
    rows: list[tuple[str, bytes | None]] = field(default_factory=list, repr=False)

    def put(self, key: str, value: Any) -> None:
        """Save ``value`` under ``key`` in the transaction that notes the message as handled, if its handler succeeds.

        Args:
            key: the name under which ``platform.kept`` has it.
            value: what MessagePack can carry; None deletes what is there.

        Raises LocalError when the handler is over, InvalidPayload for a value that cannot be encoded.

        """
        if not self.open:
            raise LocalError("the message is handled: nothing can be saved with it any more")
        if not isinstance(key, str) or not 0 < len(key.encode()) <= MAX_KEPT_KEY:
            raise InvalidPayload(f"{key!r}: a key is text of 1 to {MAX_KEPT_KEY} bytes")
        self.rows.append((key, None if value is None else encode(value)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a message ended.

    ``state`` is "delivered" (all handlers of the peer are done), "failed" (one of them raised, again and again),
    "expired", "refused" or "cancelled", for realtime messages "sent" or "dropped". ``reason`` says why the message was
    not delivered; "unhandled" when nobody listens to the topic there.
    """

    state: EndState
    reason: str = ""


DELIVERED: Final = Outcome("delivered")
UNHANDLED: Final = Outcome("refused", "unhandled")
EXPIRED: Final = Outcome("expired", "not confirmed in time")
CANCELLED: Final = Outcome("cancelled", "cancelled by the sender")
SENT: Final = Outcome("sent")

_RAISES: Final[dict[EndState, type[MMError]]] = {
    "failed": HandlerFailed,
    "expired": Expired,
    "refused": Refused,
    "cancelled": Cancelled,
}


Cancel = Callable[[str], Awaitable[bool]]  # takes back the message with an id, and says whether it did


class Retry(Exception):
    """Raised by a handler to get the message again after ``after`` seconds; later messages pass meanwhile."""

    def __init__(self, after: float = 1.0) -> None:
        super().__init__(f"again in {after} s")
        self.after = max(0.0, after)


class Delivery:
    """One accepted message; awaiting it waits for the handlers of the peer and gives the :class:`Outcome`.

    Awaiting raises :class:`~mmplatform.HandlerFailed`, :class:`~mmplatform.Expired`,
    :class:`~mmplatform.Refused` or :class:`~mmplatform.Cancelled` when the message was not delivered, and
    :class:`~mmplatform.NotRunning` when the platform stops first; a durable message is then kept. A program may
    drop the object: the message goes on all the same. docs/protocol/delivery.rst has the guarantees.
    """

    __slots__ = (
        "__weakref__", "_cancel", "_kept", "_outcome", "_stopped", "_thread", "_waiter", "epoch", "lane", "peer",
        "relayed", "seq",
    )  # fmt: skip

    def __init__(self, peer: str, lane: int = 0, epoch: int = 0, seq: int = 0, cancel: Cancel | None = None) -> None:
        """``cancel`` takes the message back by its id; None for one that is not to be taken back."""
        self.peer = peer
        self.lane = lane
        self.epoch = epoch
        self.seq = seq
        self.relayed = False
        self._cancel = cancel
        self._kept = False
        self._outcome: Outcome | None = None
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def id(self) -> str:
        """The name ``epoch.lane.seq@peer``, by which :meth:`Platform.delivery` finds the message after a restart."""
        return make_id(self.peer, self.lane, self.epoch, self.seq)

    @property
    def state(self) -> State:
        """How far the message is.

        The state is "waiting" until the peer has acknowledged the message, "relayed" while it is on the disk of a
        relay, "received" while it is on the disk of the peer and no handler has come for it, then "delivered",
        "failed", "expired", "refused" or "cancelled". A realtime message is "sent" or "dropped" at once.
        ``await platform.delivery(id)`` tells, too, whether a waiting message went out over a link that is up.
        """
        if self._outcome is not None:
            return self._outcome.state
        if self._kept:
            return "received"
        return "relayed" if self.relayed else "waiting"

    @property
    def done(self) -> bool:
        """Whether the message has ended."""
        return self._outcome is not None

    @property
    def deliveries(self) -> "Mapping[str, Delivery]":
        """The delivery to each peer, by signId: this one, or those to the members of a list or a circle."""
        return {self.peer: self}

    @property
    def outcome(self) -> Outcome | None:
        """How the message ended, None while it has not. Unlike awaiting the delivery, reading this never raises."""
        return self._outcome

    def settle(self, outcome: Outcome) -> None:
        """End the message with ``outcome``; only the first outcome counts. For the platform to call."""
        if self._outcome is None:
            self._outcome = outcome
            if self._waiter is not None:  # of few: for small messages a call would count
                self._wake()

    def keep(self) -> None:
        """Note that the message is on the disk of the peer. For the platform to call."""
        self._kept = True
        if self._outcome is None:
            self._wake()

    def stop(self) -> None:
        """Tell whoever awaits the delivery that this node stops before the message ended. The message is kept."""
        if self._outcome is None:
            self._stopped = True
            self._wake()

    def __await__(self) -> Generator[object, None, Outcome]:
        """Wait for the end of the message; see the class for what this raises."""
        while self._outcome is None:
            yield from self._news(self._kept).__await__()
        if self._outcome is not DELIVERED:
            self._raise_unless_delivered()
        return self._outcome

    async def received(self) -> None:
        """Wait until the message is on the disk of the peer, or handled there; raises as awaiting the delivery does."""
        while self._outcome is None and not self._kept:
            await self._news(kept=False)
        self._raise_unless_delivered()

    async def cancel(self) -> list[str]:
        """Take the message back, unless it has gone out; return the signIds of those who do not get it: one or none.

        Awaiting the delivery raises :class:`~mmplatform.errors.Cancelled` then. Raises StorageError.
        """
        return [self.peer] if self._cancel is not None and not self.done and await self._cancel(self.id) else []

    def _news(self, kept: bool) -> asyncio.Future[None]:
        """Return what resolves when the state changes; ``kept`` is what was seen of it. Another loop than that of the
        platform may wait, so it may have changed since. Raises NotRunning when it will not, WrongLoop for a second
        loop."""
        if self._stopped:
            raise NotRunning(f"the platform stopped before {self.id} ended; it goes on after a restart")
        loop, waiter = asyncio.get_running_loop(), self._waiter
        if waiter is None or waiter.done():
            waiter, self._thread = loop.create_future(), get_ident()
            self._waiter = waiter
            if self._outcome is not None or self._stopped or self._kept is not kept:
                waiter.set_result(None)
        elif waiter.get_loop() is not loop:
            raise WrongLoop(f"{self.id} is awaited in another event loop; await it there, or use platform.threadsafe")
        return asyncio.shield(waiter)

    def _wake(self) -> None:
        """Tell whoever waits that the state has changed."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if get_ident() == self._thread:
            waiter.set_result(None)
        elif not waiter.get_loop().is_closed():
            waiter.get_loop().call_soon_threadsafe(_resolve, waiter)

    def _raise_unless_delivered(self) -> None:
        error = _RAISES.get(self._outcome.state) if self._outcome is not None else None
        if error is not None and self._outcome is not None:
            raise error(f"{self.id}: {self._outcome.reason or self._outcome.state}")

    def __repr__(self) -> str:
        """Show the id and the state."""
        return f"<Delivery {self.id} {self.state}>"


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def make_id(peer: str, lane: int, epoch: int, seq: int) -> str:
    """Return the id of a delivery: the name by which it is found after a restart."""
    return f"{epoch}.{lane}.{seq}@{peer}"


def parse_id(text: str) -> tuple[str, int, int, int]:
    """Split a delivery id into (peer, lane, epoch, seq). Raises ValueError."""
    numbers, _, peer = text.partition("@")
    epoch, lane, seq = (int(part) for part in numbers.split("."))
    if not peer or not 0 <= lane <= Priority.LOW or seq < 1 or make_id(peer, lane, epoch, seq) != text:
        raise ValueError(f"not a delivery id: {text!r}")
    return peer, lane, epoch, seq


@lru_cache(maxsize=4096)
def check_timeout(timeout: object, what: str) -> None:
    """Raise ValueError unless ``timeout`` is a number of seconds for which ``what`` may wait."""
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"timeout={quoted(timeout)}: {what} waits for a number of seconds, 10.0 if not told")


def check_topic(topic: str) -> str:
    """Return ``topic`` when it is well formed: printable segments joined by dots, at most 255 bytes, no wildcards.

    Raises InvalidTopic.
    """
    check_segments(topic)
    if any(segment in ("*", ">") for segment in topic.split(".")):
        raise InvalidTopic(f"{quoted(topic)}: a topic has no wildcards; they belong to subscriptions")
    return topic


def check_segments(text: str) -> None:
    """Raise InvalidTopic unless ``text`` is printable segments joined by dots, at most 255 bytes."""
    if not isinstance(text, str):
        raise InvalidTopic(f"{quoted(text)}: a topic comes first, and is text, as in 'friends.chat'")
    if not text or len(text.encode(errors="replace")) > MAX_TOPIC:
        raise InvalidTopic(f"{quoted(text)}: a topic is text of 1 to {MAX_TOPIC} bytes")
    for segment in text.split("."):
        if not segment or not segment.isprintable() or " " in segment:
            raise InvalidTopic(f"{quoted(text)}: segments between dots are printable, without spaces and not empty")
