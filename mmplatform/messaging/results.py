"""How the handling of one message ends: what its handlers gave, who is told when all are done, and who still works."""

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from mmplatform.codec import Struct
from mmplatform.message import Message
from mmplatform.messaging.patterns import scope_of

Rows = Sequence[tuple[str, bytes | None]]  # names, and values as MessagePack


class Unhandled(Exception):
    """Raised by a handler of the platform itself: as if it were not subscribed."""


class Result:
    """What the handlers of one message gave: the first value that is not None, or the first error.

    ``rows``: what those handlers that succeeded want to be saved with the note that the message is handled.
    """

    __slots__ = ("error", "rows", "value")

    def __init__(self, value: object = None, error: BaseException | None = None, rows: Rows = ()) -> None:
        self.value = value
        self.error = error
        self.rows = rows


DONE: Final = Result()
NOBODY: Final = Result()  # nobody listens


class Finished(Protocol):
    """Is called with the result when all handlers of a message are done; never when one was cut short."""

    durable: bool  # whether handlers that fail are run again
    bounded: bool  # whether only so many can come: their sender waits for the end, or a window holds it up
    series: bool  # whether an async generator, which gives many replies, is a result

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the result."""
        ...

    def __call__(self, result: Result, /) -> None:
        """Take the result."""
        ...

    def message(self) -> Message:
        """Make the message for one handler that has a fourth parameter."""
        ...


class HoldCount(Protocol):
    """Counts what of one peer waits for handlers."""

    @property
    def party(self) -> object:
        """With whom the peer shares its room: the same for all strangers of a network."""
        ...

    def hold(self, size: int) -> None:
        """Count a message of ``size`` bytes."""

    def free(self, size: int) -> None:
        """Count it no more: its handlers are done."""


class EventEnd(Finished):
    """The end of a realtime message of a peer, which nobody waits for: what it held is free again."""

    __slots__ = ("_held", "_make", "_size")

    durable = False
    bounded = False
    series = False

    def __init__(self, held: HoldCount, size: int, make: Callable[[], Message]) -> None:
        self._held, self._size, self._make = held, size, make
        held.hold(size)

    def __call__(self, result: Result) -> None:
        """Free what the message held."""
        self._held.free(self._size)

    @property
    def wanted(self) -> bool:
        """Whether the message is still to be handled: always."""
        return True

    def message(self) -> Message:
        """Make the message for one handler."""
        return self._make()


class LocalEnd(Finished):
    """The end of a message whose sender waits in this process."""

    bounded = True
    series = False

    @property
    def wanted(self) -> bool:
        """Whether the sender still waits: as long as this process runs."""
        return True

    @abstractmethod
    def stop(self) -> None:
        """Tell the sender that this node stops before the message is handled."""


class Pending(Struct, gc=False, eq=False):
    """A message some of whose handlers are still at work.

    A peer decides how many wait, so the garbage collector does not go through them (``gc=False``): a full collection
    with a hundred thousand of them stopped the loop for 180 ms. Whoever holds one lets go of it at its end.
    """

    name: str
    sender: str
    payload: Any
    finished: Finished | None
    remaining: int = 1  # the deliver() call itself holds one until it has called everybody
    result: Result = NOBODY

    @property
    def durable(self) -> bool:
        """Whether handlers that fail are run again."""
        return self.finished is not None and self.finished.durable

    @property
    def bounded(self) -> bool:
        """Whether only so many can come."""
        return self.finished is not None and self.finished.bounded

    @property
    def series(self) -> bool:
        """Whether an async generator is a result."""
        return self.finished is not None and self.finished.series

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the result."""
        return self.finished is None or self.finished.wanted

    def message(self) -> Message:
        """Make the message for one handler that has a fourth parameter."""
        if self.finished is not None:
            return self.finished.message()
        topic = self.name.partition(".")[2]
        return Message(topic, "", b"", self.sender, scope_of(self.name), "local", "", time.time())

    def end(self, value: object, error: BaseException | None = None, rows: Rows = ()) -> None:
        """Take what one handler returned or raised: the first that is not None is the result of the message."""
        if value is not None or error is not None or rows:
            self._add(value, error, rows)
        elif self.result is NOBODY:
            self.result = DONE
        self.release()

    def release(self) -> None:
        """Count one handler as ended, without a result; the last one calls ``finished``."""
        self.remaining -= 1
        if self.remaining == 0 and self.finished is not None:
            self.finished(self.result)

    def let_go(self) -> None:
        """Leave the message unfinished: it comes again, unless its sender is in this process, who is told."""
        if isinstance(self.finished, LocalEnd):
            self.finished.stop()

    def _add(self, value: object, error: BaseException | None, rows: Rows) -> None:
        if self.result is NOBODY or self.result is DONE:
            self.result = Result()
        result = self.result
        if result.value is None and result.error is None:
            result.value, result.error = value, error
        if rows:
            result.rows = [*result.rows, *rows]


class Unawaited(Pending, kw_only=True, gc=False, eq=False):
    """One whose sender does not wait; ``make`` makes the message for a handler with a fourth parameter."""

    make: Callable[[], Message]

    def message(self) -> Message:
        """Make the message for one handler that has a fourth parameter."""
        return self.make()
