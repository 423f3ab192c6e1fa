"""What applications see of a message: its topic, its delivery and how that ended."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from mmplatform.errors import Cancelled, Expired, InvalidTopic, MMError, NotRunning, Refused

MAX_PAYLOAD: Final = 64 * 1024 * 1024
MAX_TOPIC: Final = 255
DEFAULT_EXPIRY: Final = 7 * 24 * 3600.0


class Priority(IntEnum):
    """The four lanes, first to last; order is kept within one, never across."""

    CONTROL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @classmethod
    def parse(cls, value: "Priority | str | int") -> "Priority":
        """The priority a caller named; raises ValueError listing the names."""
        try:
            return cls[value.upper()] if isinstance(value, str) else cls(value)
        except (KeyError, ValueError):
            raise ValueError(f"priority {value!r}: one of control, high, normal, low") from None


@dataclass(frozen=True, slots=True)
class Message:
    """A message from a peer as it came in; ``payload`` are the bytes of its protocol, ``sender`` a signId."""

    topic: str
    protocol: str
    payload: bytes
    sender: str
    scope: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a message ended. ``state``: delivered, expired, refused, cancelled; for realtime ones sent or dropped.

    ``handled`` is False when no handler at the peer listened to the topic; ``reason`` says why it was not delivered.
    """

    state: str
    handled: bool = False
    reason: str = ""


DELIVERED: Final = Outcome("delivered", True)
UNHANDLED: Final = Outcome("delivered", False, "unhandled")
EXPIRED: Final = Outcome("expired", False, "not confirmed in time")
CANCELLED: Final = Outcome("cancelled", False, "cancelled by the sender")
SENT: Final = Outcome("sent")

_RAISES: Final[dict[str, type[MMError]]] = {"expired": Expired, "refused": Refused, "cancelled": Cancelled}


class Retry(Exception):
    """Raised by a handler to have this one message again after ``after`` seconds, while later ones pass."""

    def __init__(self, after: float = 1.0) -> None:
        super().__init__(f"again in {after} s")
        self.after = max(0.0, after)


class Delivery:
    """One accepted message. ``await`` it for its :class:`Outcome` once the peer's handlers are done.

    Raises :class:`~mmplatform.errors.Expired`, :class:`~mmplatform.errors.Refused` or
    :class:`~mmplatform.errors.Cancelled` when it ended otherwise, and :class:`~mmplatform.errors.NotRunning` when the
    platform stops first; a durable message is then kept. Dropping the object drops nothing but the news.
    """

    __slots__ = ("__weakref__", "_outcome", "_stopped", "_waiter", "epoch", "lane", "peer", "relayed", "seq")

    def __init__(self, peer: str, lane: int = 0, epoch: int = 0, seq: int = 0) -> None:
        self.peer = peer
        self.lane = lane
        self.epoch = epoch
        self.seq = seq
        self.relayed = False
        self._outcome: Outcome | None = None
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def id(self) -> str:
        """The name to ask for it later: ``epoch.lane.seq@peer``."""
        return f"{self.epoch}.{self.lane}.{self.seq}@{self.peer}"

    @property
    def state(self) -> str:
        """waiting | relayed (on a relay's disk) | delivered | expired | refused | cancelled (realtime: sent | dropped).
        Whether it went out over a link that is up, ``platform.delivery(id)`` tells."""
        if self._outcome is not None:
            return self._outcome.state
        return "relayed" if self.relayed else "waiting"

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, None while it has not; unlike awaiting it, this does not raise."""
        return self._outcome

    def settle(self, outcome: Outcome) -> None:
        """End it; only the first outcome counts."""
        if self._outcome is None:
            self._outcome = outcome
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def stop(self) -> None:
        """This node ends before the message did: whoever waits is told. The message is kept."""
        if self._outcome is None:
            self._stopped = True
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def __await__(self) -> Generator[object, None, Outcome]:
        while self._outcome is None:
            if self._stopped:
                raise NotRunning(f"the platform stopped before {self.id} ended; it goes on after a restart")
            if self._waiter is None or self._waiter.cancelled():
                self._waiter = asyncio.get_running_loop().create_future()
            yield from asyncio.shield(self._waiter).__await__()
        error = _RAISES.get(self._outcome.state)
        if error is not None:
            raise error(f"{self.id}: {self._outcome.reason or self._outcome.state}")
        return self._outcome

    def __repr__(self) -> str:
        return f"<Delivery {self.id} {self.state}>"


def parse_id(text: str) -> tuple[str, int, int, int]:
    """(peer, lane, epoch, seq) of a delivery id; raises ValueError."""
    numbers, _, peer = text.partition("@")
    epoch, lane, seq = (int(part) for part in numbers.split("."))
    if not peer or not 0 <= lane <= Priority.LOW or seq < 1 or f"{epoch}.{lane}.{seq}@{peer}" != text:
        raise ValueError(f"not a delivery id: {text!r}")
    return peer, lane, epoch, seq


@lru_cache(maxsize=4096)
def check_topic(topic: str) -> str:
    """``topic`` itself when well formed: printable segments joined by dots, 255 bytes at most, no wildcard segment."""
    _check_segments(topic)
    if any(segment in ("*", ">") for segment in topic.split(".")):
        raise InvalidTopic(f"{topic!r}: a topic has no wildcards; they belong to subscriptions")
    return topic


@lru_cache(maxsize=4096)
def check_pattern(pattern: str) -> str:
    """``pattern`` itself when well formed: a topic whose segments may be ``*`` (one segment) or ``>`` (one or more)."""
    _check_segments(pattern)
    return pattern


def _check_segments(text: str) -> None:
    if not isinstance(text, str) or not text or len(text.encode(errors="replace")) > MAX_TOPIC:
        raise InvalidTopic(f"{text!r}: a topic is text of 1 to {MAX_TOPIC} bytes")
    for segment in text.split("."):
        if not segment or not segment.isprintable() or " " in segment:
            raise InvalidTopic(f"{text!r}: segments between dots are printable, without spaces and not empty")
