"""One handler of one pattern: its bounded queue, its worker, and what it makes of a message."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol

from mmplatform.errors import NotRunning, QueueFull
from mmplatform.message import Retry

Handler = Callable[[str, str, Any], Any]
Policy = Literal["block", "drop-oldest", "error"]

UNHELD: Final = 16  # how many times its limit a queue holds of messages whose senders do not wait
PASSES: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)  # exceptions that end the program, or the handler
VALUES: Final = frozenset({bool, bytes, dict, float, int, list, str, tuple})  # nobody awaits these


class SubscriberHost(Protocol):
    """What a subscriber needs of the bus."""

    closed: bool

    def keep(self, task: asyncio.Task[None]) -> None: ...

    def later(self, delay: float, again: Callable[..., None], *arguments: Any) -> None: ...

    def report(self, error: BaseException, topic: str) -> Exception: ...


class Result:
    """What the handlers of one message gave: the first value that is not None, or the first error."""

    __slots__ = ("error", "value")

    def __init__(self, value: object = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


DONE: Final = Result()
NOBODY: Final = Result()  # nobody listens


class Pending:
    """A message some of whose handlers are still at work."""

    __slots__ = ("finished", "remaining", "result")

    def __init__(self, finished: Callable[[Result], None] | None) -> None:
        self.remaining = 1  # the deliver() call itself holds one until it has called everybody
        self.result = DONE
        self.finished = finished

    def add(self, value: object, error: BaseException | None) -> None:
        """Take what one handler returned or raised; the first that is not None is the result."""
        if (value is not None or error is not None) and self.result is DONE:
            self.result = Result(value, error)

    def release(self) -> bool:
        """Count one handler as ended; return whether it was the last, after calling ``finished``."""
        self.remaining -= 1
        if self.remaining == 0 and self.finished is not None:
            self.finished(self.result)
        return self.remaining == 0


Item = tuple[str, str, Any, Pending, Awaitable[Any] | None]  # the last is what a plain handler returned, to be awaited


class Subscriber:
    """One handler of one pattern; ``dropped`` counts the messages its full queue turned away."""

    __slots__ = (
        "_bus", "_idle", "_queue", "_space", "_workers", "active", "concurrency", "dropped", "handler",
        "is_async", "limit", "number", "once", "pattern", "policy",
    )  # fmt: skip

    def __init__(
        self,
        bus: SubscriberHost,
        number: int,
        pattern: str,
        handler: Handler,
        once: bool,
        concurrency: int,
        limit: int,
        policy: Policy,
    ) -> None:
        if concurrency < 1 or limit < 1 or policy not in ("block", "drop-oldest", "error"):
            raise ValueError("concurrency and queue are at least 1; policy is block, drop-oldest or error")
        self.pattern, self.handler, self.once = pattern, handler, once
        self.concurrency, self.limit, self.policy = concurrency, limit, policy
        self.is_async = _is(inspect.iscoroutinefunction, handler)
        self.number = number
        self.active = True  # False once off() or its one message ended the subscription
        self.dropped = 0
        self._bus = bus
        self._queue: deque[Item] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._space: asyncio.Future[None] | None = None
        self._workers = 0

    def __call__(self, *_: object) -> None:
        """Do nothing: pyee keeps callables and calls those of ``new_listener``; messages go to ``handler``."""

    @property
    def full(self) -> bool:
        """Whether the queue is at its limit."""
        return self.active and len(self._queue) >= self.limit

    @property
    def waiting(self) -> int:
        """Messages in the queue."""
        return len(self._queue)

    async def space(self) -> None:
        """Wait until the queue has room; raises NotRunning when the bus closes first."""
        while self.full:
            if self._space is None or self._space.done():
                self._space = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._space)
            if self._bus.closed:
                raise NotRunning("the platform is stopping")

    def offer(self, item: Item) -> None:
        """Queue one message; the policy decides what gives way when the queue is full."""
        if self._bus.closed:
            _let_go(item)  # the message stays unfinished, and comes again
            return
        if len(self._queue) >= self.limit and not self._make_way(item[3]):
            _let_go(item)
            return
        self._queue.append(item)
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        elif self._workers < self.concurrency:
            self._workers += 1
            self._bus.keep(asyncio.get_running_loop().create_task(self._work(), name=f"mm handler {self.pattern}"))

    def end(self) -> None:
        """End the subscription: messages in the queue are still handled, then the worker ends."""
        self.active = False
        for waiter in (self._idle, self._space):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Drop the messages in the queue and end the subscription."""
        while self._queue:
            _let_go(self._queue.popleft())
        self.end()

    def _make_way(self, newest: Pending) -> bool:
        """Apply the policy of a full queue; return whether the newest message gets in all the same."""
        if self.policy == "block" and (newest.finished is not None or len(self._queue) < self.limit * UNHELD):
            return True  # the sender waits in room(), or a window bounds how many can come
        self.dropped += 1
        if self.policy == "drop-oldest":
            given_up = self._queue.popleft()
            _let_go(given_up)
            oldest = given_up[3]
            oldest.add(None, QueueFull(f"{self.pattern}: dropped, a newer message took its place"))
            oldest.release()
            return True
        newest.add(None, QueueFull(f"{self.pattern}: {self.limit} messages wait for this handler"))
        newest.release()
        return False

    async def _work(self) -> None:
        try:
            while True:
                while self._queue:
                    if self._space is not None and not self._space.done():
                        self._space.set_result(None)
                    await self._run(self._queue.popleft())  # no name: an idle worker keeps no payload
                if self._idle is not None or not self.active or self._bus.closed:
                    return
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
        finally:
            self._workers -= 1
            if self._workers == 0:
                self._idle = None

    async def _run(self, item: Item) -> None:
        name, sender, payload, pending, begun = item
        try:
            value = begun if begun is not None else self.handler(name, sender, payload)
            pending.add((await value) if is_awaitable(value) else value, None)
        except Retry as retry:
            self._bus.later(retry.after, self.offer, (name, sender, payload, pending, None))
            return
        except BaseException as error:
            if isinstance(error, PASSES):
                raise
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # this worker is cancelled, not something that the handler waited for
            pending.add(None, self._bus.report(error, name))
        pending.release()


def check_handler(handler: Handler) -> None:
    """Raise TypeError for what could never handle a message, saying what a handler is."""
    if not callable(handler):
        raise TypeError(f"{handler!r} is not callable; a handler is called with (topic, sender, payload)")
    if _is(inspect.isasyncgenfunction, handler) or _is(inspect.isgeneratorfunction, handler):
        raise TypeError(f"{handler!r} is a generator, and calling it runs nothing; a handler returns its value")
    try:
        inspect.signature(handler).bind("topic", "sender", None)
    except TypeError as error:
        raise TypeError(f"{handler!r} is called with (topic, sender, payload): {error}") from None
    except ValueError:
        pass  # a builtin that does not say what it takes


def is_awaitable(value: object) -> bool:
    """Whether ``value``, which a handler returned, is its work still to be done."""
    if type(value) in VALUES:
        return False
    if inspect.isawaitable(value):
        return True
    if inspect.isasyncgen(value) or inspect.isgenerator(value):
        raise TypeError("the handler returned a generator, which runs nothing; it returns its value")
    return False


def _let_go(item: Item) -> None:
    """Close the coroutine of a message that is not handled: nobody will await it."""
    if inspect.iscoroutine(item[4]):
        item[4].close()


def _is(question: Callable[[object], bool], handler: Handler) -> bool:
    """Ask ``question`` of a function, or of the ``__call__`` of an object."""
    return question(handler) or question(getattr(handler, "__call__", None))  # noqa: B004
