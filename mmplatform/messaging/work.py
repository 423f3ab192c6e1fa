"""The workers and timers of one bus, what is told of handlers that fail, and the orderly end of them all."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from mmplatform.errors import Refused
from mmplatform.events import mark_repeated
from mmplatform.logs import log_failure
from mmplatform.message import Scope
from mmplatform.messaging.handlers import name_of
from mmplatform.messaging.patterns import scope_of
from mmplatform.messaging.results import Pending
from mmplatform.messaging.subscriber import MOVED, Subscriber

log = logging.getLogger("mmplatform.messaging")


class OnError(Protocol):
    """Is told of what a handler raised, and of the topic of the message it had."""

    def __call__(self, error: Exception, topic: str, /) -> None: ...


class Work:
    """What is under way, or due, on one bus.

    ``changed()`` is called when a plain handler turns out to be async, ``renew(subscriber)`` when the one message that
    ended a subscription was none for its handler.
    """

    def __init__(self, failed: OnError, changed: Callable[[], None], renew: Callable[[Subscriber], None]) -> None:
        self.ending = False  # nothing new begins
        self.cut = False  # handlers are cancelled: what they still give does not count
        self.changed, self.renew = changed, renew
        self._failed = failed
        self._workers: dict[asyncio.Task[None], Subscriber] = {}
        self._left: set[asyncio.Task[None]] = set()  # would not end, and hold their subscribers no longer
        self._timers: dict[asyncio.TimerHandle, Pending] = {}  # for messages that a handler has again later

    def keep(self, task: asyncio.Task[None], subscriber: Subscriber) -> None:
        """Hold the task of a worker of ``subscriber`` until it ends."""
        self._workers[task] = subscriber
        task.add_done_callback(self._gone)

    def later(self, delay: float, again: Callable[[Pending, int], None], pending: Pending, tries: int) -> None:
        """Call ``again(pending, tries)`` after ``delay`` seconds, unless the bus ends before."""
        if self.ending:
            pending.let_go()
            return

        def due() -> None:
            del self._timers[timer]
            again(pending, tries)

        timer = asyncio.get_running_loop().call_later(delay, due)
        self._timers[timer] = pending

    def refuse_sender(self, sender: str, scope: Scope | None) -> None:
        """End what is to be handled again of ``sender`` under any scope but ``scope``, which may be none."""
        for timer, pending in list(self._timers.items()):
            if pending.sender == sender and scope_of(pending.name) != scope:
                timer.cancel()
                del self._timers[timer]
                pending.end(None, Refused(MOVED))
        for subscriber in set(self._workers.values()):
            subscriber.refuse(sender, scope)

    def report(self, error: BaseException, topic: str, tries: int) -> Exception:
        """Report what a handler raised, and return it as an Exception whose text can be read; ``tries`` is how often it
        had failed at this message before."""
        known = error if isinstance(error, Exception) and _text(error) is not None else _as_exception(error)
        if tries:
            mark_repeated(known)
        try:
            self._failed(known, topic)
        except Exception as raised:
            log_failure(log, "whoever is told of failing handlers failed", raised)
        return known

    def refuse(self, subscribers: list[Subscriber]) -> None:
        """Begin nothing new: whatever waits in a queue or for a timer stays unfinished."""
        self.ending = True
        for timer, pending in self._timers.items():
            timer.cancel()
            pending.let_go()
        self._timers.clear()
        for subscriber in {*subscribers, *self._workers.values()}:
            subscriber.close()

    async def wait(self, seconds: float) -> None:
        """Wait until all workers have ended, at most ``seconds``; not for the one that calls."""
        tasks = self._workers.keys() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, seconds))

    def cancel(self) -> None:
        """Cancel the handlers that still run; from now on nothing counts that they return or raise."""
        self.cut = True
        for task in self._workers.keys() - {asyncio.current_task()}:
            task.cancel()

    def leave(self) -> list[str]:
        """Leave behind the handlers that still run, but for the one that calls; return their names and patterns."""
        caller = asyncio.current_task()
        names = [f"{name_of(s.handler)} ({s.pattern})" for task, s in self._workers.items() if task is not caller]
        self._left |= self._workers.keys()
        self._workers.clear()
        return names

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._workers.pop(task, None)
        self._left.discard(task)


def _as_exception(error: BaseException) -> Exception:
    """Wrap an error that is no Exception (a panic of another language, an outcome of a test framework), or that cannot
    say what it is."""
    if isinstance(error, asyncio.CancelledError):
        return RuntimeError("something the handler waits for was cancelled")
    text = _text(error)
    made = RuntimeError(f"the handler raised {type(error).__name__}{'' if text is None else f': {text}'}")
    made.__cause__ = error
    return made


def _text(error: BaseException) -> str | None:
    """Return the text of ``error``; None when it fails at saying so."""
    try:
        repr(error)
        return str(error)
    except BaseException:
        return None
