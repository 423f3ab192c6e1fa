"""The events of a platform, on pyee: who listens to what, and the tasks of async listeners."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

from pyee.base import EventEmitter

from mmplatform.errors import Refused
from mmplatform.logs import LineLimit, log_failure, raised_at, trace_of
from mmplatform.text import escaped

EventName = Literal["ready", "connection", "disconnected", "path", "message", "asking", "error"]
NAMES: Final[tuple[EventName, ...]] = get_args(EventName)

PUBLIC: Final = "public."  # begins the names of messages of strangers
FAILURES: Final = "failures of handlers"
REPEATED: Final = "mm_repeated"  # an attribute of exceptions

log = logging.getLogger("mmplatform")


class Events:
    """The listeners of one platform.

    ``watched`` is True once somebody listens to every message; the data path asks before it builds one.
    """

    def __init__(self) -> None:
        self.watched = False
        self._listeners = EventEmitter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures = LineLimit(log)  # a peer can make a handler fail as often as it likes
        self._public_failures = LineLimit(log, lines=1)  # and so can anybody

    def add(self, event: str, handler: Callable[..., Any]) -> None:
        """Call ``handler``, which may be async, for every ``event``. Raises ValueError for an unknown event."""
        if event not in NAMES:
            raise ValueError(f"{event!r} is not an event; there are {', '.join(NAMES)}")
        self._listeners.add_listener(event, handler)
        self.watched = self.watched or event == "message"

    def emit(self, event: str, *arguments: object) -> None:
        """Call the listeners of ``event``; what one raises goes to the log and stops no other."""
        for handler in self._listeners.listeners(event):
            try:
                outcome = handler(*arguments)
            except Exception as error:
                log_failure(log, f"a handler of the event {event!r} failed", error)
            else:
                if asyncio.iscoroutine(outcome):
                    self.spawn(outcome)

    def failed(self, error: Exception, topic: str = "") -> None:
        """Report an error of a handler or of the node: to ``error`` listeners, else to the log, once a message."""
        if self._listeners.listeners("error"):
            self.emit("error", error, topic)
        else:
            told = "; ".join([str(error), *getattr(error, "__notes__", ())])
            if not topic:
                log.error("%s", escaped(told))
            elif isinstance(error, Refused):
                log.debug("handler of %s refused: %s", escaped(topic), escaped(told))  # an answer, not a failure
            elif is_repeated(error):
                log.debug("handler of %s failed again: %s", escaped(topic), escaped(told))
            elif topic.startswith(PUBLIC):
                self._failed_for_a_stranger(error, topic, told)
            elif self._failures.allows(topic, FAILURES):
                log_failure(log, f"handler of {topic}: {escaped(told)}", error)

    def spawn(self, coroutine: Any) -> None:
        """Run ``coroutine`` until it ends or the platform stops."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel the async listeners that still run."""
        self._failures.close()
        self._public_failures.close()
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _failed_for_a_stranger(self, error: Exception, topic: str, told: str) -> None:
        """Log one line a minute, with the place where it was raised, and the traceback of each failure at DEBUG."""
        if self._public_failures.allows(topic, FAILURES):
            kind, place = type(error).__name__, raised_at(error)
            log.error("handler of %s: %s: %s (%s)", escaped(topic), kind, escaped(told), place)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("handler of %s failed\n%s", escaped(topic), trace_of(error))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log_failure(log, "a handler of an event failed", error)


def is_repeated(error: BaseException) -> bool:
    """Whether the handler that raised ``error`` had failed at the same message before."""
    return bool(vars(error).get(REPEATED))


def mark_repeated(error: BaseException) -> None:
    """Note on ``error`` that the handler that raised it had failed at the same message before."""
    vars(error)[REPEATED] = True
