"""How one subscription handles its messages: side by side or in order, how many wait, how often it tries again, and how
large they may be. And the options of sends."""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from mmplatform.codec import MAX_VALUES
from mmplatform.message import MAX_PAYLOAD, Priority, PriorityName, Scope, check_timeout
from mmplatform.payload_types import PayloadType, payload_type

Policy = Literal["block", "drop-oldest", "error"]


class OnceOptions(TypedDict, total=False):
    """The options of ``once``, for type checkers."""

    retries: int
    backoff: float


class OnOptions(OnceOptions, total=False):
    """The options of ``on``, for type checkers."""

    concurrency: int
    queue: int
    policy: Policy
    ordered: bool
    max_size: int | None
    max_values: int | None
    raw: bool


class SendOptions(TypedDict, total=False):
    """The options of ``send``, for type checkers."""

    realtime: bool
    expire_after: float
    priority: Priority | PriorityName


LONGEST_PAUSE: Final = 60.0  # seconds between two tries
PUBLIC_SIZE: Final = 1024 * 1024  # bytes of a stranger's payload, where a subscription does not say otherwise
PUBLIC_VALUES: Final = 64 * 1024  # values of which it may consist


@dataclass(frozen=True, slots=True)
class Options:
    """The options of :meth:`mmplatform.messaging.subscribing.Subscribing.on`. Raises ValueError for a bad one."""

    concurrency: int = 1
    queue: int = 1024
    policy: Policy = "block"
    retries: int = 3
    backoff: float = 1.0
    ordered: bool = False
    max_size: int | None = None
    max_values: int | None = None
    raw: bool = False

    def __post_init__(self) -> None:
        """Check the bounds."""
        if self.concurrency < 1 or self.queue < 1 or self.policy not in ("block", "drop-oldest", "error"):
            raise ValueError("concurrency and queue are at least 1; policy is block, drop-oldest or error")
        if type(self.retries) is not int or self.retries < 0:
            raise ValueError(f"retries={self.retries!r}: how often a handler that fails is run again, a whole number")
        if not (math.isfinite(self.backoff) and self.backoff >= 0):
            raise ValueError(f"backoff={self.backoff!r}: seconds before a handler that failed is run again, 0 or more")
        if self.ordered and self.concurrency > 1:
            raise ValueError("ordered handles one message after the other: it cannot have a concurrency above 1")
        if not _in_range(self.max_size, MAX_PAYLOAD):
            raise ValueError(f"max_size={self.max_size!r}: bytes of a payload, 1 to {MAX_PAYLOAD}")
        if not _in_range(self.max_values, MAX_PAYLOAD):
            raise ValueError(f"max_values={self.max_values!r}: values of which a payload consists, 1 to {MAX_PAYLOAD}")

    def pause(self, tries: int) -> float:
        """Return the seconds before a handler is run again that has failed ``tries`` times before."""
        return min(LONGEST_PAUSE, self.backoff * 2.0 ** min(tries, 64))

    def size_from(self, scope: Scope) -> int:
        """Return the bytes that a payload of a sender in ``scope`` may have."""
        return self.max_size or (PUBLIC_SIZE if scope == "public" else MAX_PAYLOAD)

    def values_from(self, scope: Scope) -> int:
        """Return the number of values of which it may consist."""
        return self.max_values or (PUBLIC_VALUES if scope == "public" else MAX_VALUES)


def _in_range(value: int | None, most: int) -> bool:
    return value is None or (type(value) is int and 0 < value <= most)


def checked_reply_type(timeout: object, returns: Any) -> PayloadType[Any] | None:
    """Return the type that a reply is to have, None for plain values. Raises ValueError for what is no time-out, and
    TypeError for what is no type of a payload."""
    if type(timeout) is not float or not timeout > 0:
        check_timeout(timeout, "a request")
    return None if returns is None else payload_type(returns)
