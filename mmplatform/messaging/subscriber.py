"""One handler of one pattern: its queue, its worker, and what becomes of a message that it fails at.

A handler that fails is run again, if whoever handed over the message says that it may be (``Finished.durable``): after
``backoff`` seconds, twice as long each time. Later messages pass meanwhile, unless the subscription is ``ordered``.
What a handler did not do because this node stops is neither done nor failed: the message stays unfinished, so it is
not acknowledged, and comes again after a restart.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import CoroutineType
from typing import Any, Final, Protocol

from mmplatform.errors import NotRunning, QueueFull, Refused
from mmplatform.message import Message, Retry, Scope
from mmplatform.messaging.fair_queue import FairQueue
from mmplatform.messaging.handlers import (
    PASSES,
    VALUES,
    Handler,
    awaited,
    check_handler,
    close,
    gives_many,
    is_async,
    is_awaitable,
    restoring,
)
from mmplatform.messaging.middleware import HandlerMiddleware, around_handler
from mmplatform.messaging.options import Options
from mmplatform.messaging.results import Pending, Unhandled
from mmplatform.payload_types import PayloadType, Unfit

UNHELD: Final = 16  # how many times its limit a queue holds of messages whose senders do not wait
MOVED: Final = "its sender is something else to the recipient by now"
MANY: Final = "it has many replies, or none: they come one by one, to request_many() or mm request --many"
ANSWERS: Final = (Refused, QueueFull)  # errors that another try would not change, or that the peer is to hear


# A message for one handler: how often it failed, what it returned that is still to be awaited, and its fourth argument.
Item = tuple[Pending, int, Awaitable[Any] | None, Message | None]


class SubscriberHost(Protocol):
    """What a subscriber needs of the bus."""

    ending: bool  # nothing new begins
    cut: bool  # handlers are cancelled: what they still give does not count

    def keep(self, task: asyncio.Task[None], subscriber: "Subscriber") -> None: ...

    def later(self, delay: float, again: Callable[[Pending, int], None], pending: Pending, tries: int) -> None: ...

    def report(self, error: BaseException, topic: str, tries: int) -> Exception: ...

    def changed(self) -> None: ...

    def renew(self, subscriber: "Subscriber", /) -> None: ...


class Subscriber:
    """One handler of one pattern; ``call`` calls it, by way of its type and of all middleware.

    ``dropped`` counts the messages its full queue turned away, ``unfit`` those whose payload was not of its type.
    """

    __slots__ = (
        "_delay", "_host", "_idle", "_queue", "_resting", "_restoring", "_space", "_workers", "active", "call",
        "dropped", "handler", "limit", "needs_message", "number", "once", "options", "pattern", "policy", "queued",
        "takes_message", "unfit",
    )  # fmt: skip

    def __init__(
        self,
        host: SubscriberHost,
        number: int,
        pattern: str,
        handler: Handler,
        once: bool,
        options: Options,
        payload_type: PayloadType[Any] | None = None,
    ) -> None:
        self.takes_message = check_handler(handler)
        self.needs_message = self.takes_message or options.raw
        self._restoring = handler if payload_type is None else restoring(handler, payload_type.restore)
        self.call: Callable[..., Any] = self._restoring
        self.pattern, self.handler, self.once, self.options = pattern, handler, once, options
        self.limit, self.policy = options.queue, options.policy
        self.queued = options.ordered or is_async(handler)  # messages wait in the queue for a worker
        self.number = number
        self.active = True  # False once off() or its one message ended the subscription
        self.dropped = self.unfit = 0
        self._host = host
        self._queue: FairQueue[Item] = FairQueue()
        self._idle: asyncio.Future[None] | None = None
        self._space: asyncio.Future[None] | None = None
        self._delay: float | None = None  # seconds to rest before the first in the queue is tried again, when ordered
        self._resting: asyncio.Future[None] | None = None
        self._workers = 0

    def __call__(self, *_: object) -> None:
        """Do nothing: pyee keeps callables and calls those of ``new_listener``; messages go to ``handler``."""

    def surround(self, middleware: Sequence[HandlerMiddleware]) -> None:
        """Call the handler by way of ``middleware``, the first one outermost."""
        self.call = around_handler(middleware, self._restoring, check_handler(self.handler))
        self.takes_message = self.needs_message = True
        self.queued = self.queued or any(is_async(one) for one in middleware)

    def full(self, name: str, sender: str) -> bool:
        """Whether as much waits of ``sender``, in the scope of ``name``, as may."""
        return self.active and self._queue.waiting(name, sender) >= self.limit

    @property
    def waiting(self) -> int:
        """Messages in the queue."""
        return len(self._queue)

    async def space(self, name: str, sender: str) -> None:
        """Wait until the queue has room for ``sender``; raises NotRunning when the bus closes first."""
        while self.full(name, sender):
            if self._space is None or self._space.done():
                self._space = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._space)
            if self._host.ending:
                raise NotRunning("the platform is stopping")

    def take(self, pending: Pending, tries: int = 0) -> None:
        """Give a message to the handler, at once or by the queue; it failed ``tries`` times before."""
        if self.queued:
            self.offer((pending, tries, None, None))
            return
        message = None
        try:
            if self.needs_message:
                message = pending.message()
                value = self._call(pending, message)
            else:
                value = self.call(pending.name, pending.sender, pending.payload)
            if is_awaitable(value):
                self.turn_async()
                self.offer((pending, tries, value, message))
                return
        except BaseException as error:
            self.failed(error, pending, tries, message)
        else:
            self.done(value, pending, message)

    def turn_async(self) -> None:
        """Queue the messages of a plain function (a lambda, a decorator) that returned something to await."""
        self.queued = True
        self._host.changed()

    def offer(self, item: Item) -> None:
        """Queue one message; the policy decides what gives way when the queue is full."""
        if self._host.ending:
            _let_go(item)
            return
        pending = item[0]
        if len(self._queue) >= self.limit and not self._make_way(pending):
            close(item[2])
            return
        self._queue.append(item, pending.name, pending.sender)
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        else:
            self._hire()

    def failed(self, error: BaseException, pending: Pending, tries: int, message: Message | None = None) -> None:
        """Decide what becomes of a message whose handler raised ``error``: again, unfinished, or failed."""
        if isinstance(error, PASSES):
            raise error
        if message is not None:
            message.open = False
        host = self._host
        if host.cut or (host.ending and isinstance(error, NotRunning | asyncio.CancelledError)):
            pending.let_go()
        elif isinstance(error, Retry):
            self._again(error.after, pending, tries)
        elif isinstance(error, Unhandled):
            pending.release()
        elif isinstance(error, Unfit):
            self._refuse(error, pending)
        else:
            reported = host.report(error, pending.name, tries)
            if tries < self.options.retries and pending.durable and not isinstance(error, ANSWERS):
                self._again(self.options.pause(tries), pending, tries + 1)
            else:
                pending.end(None, reported)

    def end(self) -> None:
        """End the subscription: messages in the queue are still handled, then the worker ends."""
        self.active = False
        for waiter in (self._idle, self._space):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """End the subscription, and let go of the messages in the queue: they stay unfinished."""
        while self._queue:
            _let_go(self._queue.popleft())
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)
        self.end()

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End what waits of ``sender`` under any scope but ``scope``, which may be none."""
        for pending, _, begun, _ in self._queue.remove(sender, scope):
            close(begun)
            pending.end(None, Refused(MOVED))
        if self._space is not None and not self._space.done():
            self._space.set_result(None)

    def _call(self, pending: Pending, message: Message) -> Any:
        payload = message.payload if self.options.raw else pending.payload
        if self.takes_message:
            return self.call(pending.name, pending.sender, payload, message)
        return self.call(pending.name, pending.sender, payload)

    def done(self, value: Any, pending: Pending, message: Message | None = None) -> None:
        """Note what the handler gave for a message."""
        if value is not None and type(value) not in VALUES and gives_many(value) and not pending.series:
            self.failed(Refused(MANY), pending, 0, message)
            return
        if message is not None:
            message.open = False
        if not self._host.cut:
            pending.end(value, None, () if message is None else message.rows)

    def _refuse(self, error: Unfit, pending: Pending) -> None:
        """Count a payload that does not fit, and tell its sender. No handler has failed, or was used up."""
        self.unfit += 1
        if self.once and not self._host.ending:
            self._host.renew(self)
        pending.end(None, error)

    def _again(self, delay: float, pending: Pending, tries: int) -> None:
        if not self.options.ordered:
            self._host.later(delay, self.take, pending, tries)
        elif self._host.ending:
            pending.let_go()
        else:
            self._queue.put_back((pending, tries, None, None), pending.name, pending.sender)
            self._delay = delay

    def _make_way(self, newest: Pending) -> bool:
        """Apply the policy when much waits; return whether the newest message gets in. Senders are told apart: none is
        turned away for what another one has sent."""
        waiting = self._queue.waiting(newest.name, newest.sender)
        if waiting < self.limit or (self.policy == "block" and (newest.bounded or waiting < self.limit * UNHELD)):
            return True  # the sender waits in room(), or a window bounds how many can come
        self.dropped += 1
        if self.policy == "drop-oldest":
            oldest, _, begun, _ = self._queue.pop_oldest(newest.name, newest.sender)
            close(begun)
            oldest.end(None, QueueFull(f"{self.pattern}: dropped, a newer message took its place"))
            return True
        newest.end(None, QueueFull(f"{self.pattern}: {self.limit} messages wait for this handler"))
        return False

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while True:
                while self._queue:
                    if self._space is not None and not self._space.done():
                        self._space.set_result(None)
                    if self._delay is not None:
                        await self._rest()
                        continue  # the queue may have been let go
                    await self._run(self._queue.popleft(), task)  # no name: an idle worker keeps no payload
                if self._idle is not None or not self.active or self._host.ending:
                    return
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
        finally:
            self._workers -= 1
            if self._workers == 0:
                self._idle = None
            if self._queue and not self._host.ending:  # a handler has cancelled its worker
                asyncio.get_running_loop().call_soon(self._hire)

    def _hire(self) -> None:
        """Begin another worker, if there is something to do."""
        if self._queue and self._workers < self.options.concurrency and not self._host.ending:
            self._workers += 1
            task = asyncio.get_running_loop().create_task(self._work(), name=f"mm handler {self.pattern}")
            self._host.keep(task, self)

    async def _run(self, item: Item, task: asyncio.Task[None]) -> None:
        pending, tries, value, message = item
        if not pending.wanted:
            close(value)
            pending.release()
            return
        try:
            if value is None:
                if self.needs_message:
                    message = pending.message()
                    value = self._call(pending, message)
                else:
                    value = self.call(pending.name, pending.sender, pending.payload)
            if type(value) is CoroutineType or is_awaitable(value):
                value = await value
                if value is not None and type(value) not in VALUES:
                    value = await awaited(value)
        except BaseException as error:
            if _is_over(task, error):
                if isinstance(error, asyncio.CancelledError) and not self._host.ending:
                    self.failed(error, pending, tries, message)  # the handler has cancelled its own task
                raise
            self.failed(error, pending, tries, message)
        else:
            self.done(value, pending, message)

    async def _rest(self) -> None:
        delay, self._delay = self._delay, None
        self._resting = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._resting


def _let_go(item: Item) -> None:
    close(item[2])
    item[0].let_go()


def _is_over(task: "asyncio.Task[None]", error: BaseException) -> bool:
    """Whether ``error`` ends the worker ``task``, and is not what its handler raised: the task is cancelled, or its
    coroutine closed by whoever gives up the loop."""
    if isinstance(error, asyncio.CancelledError):
        return task.cancelling() > 0
    try:
        return asyncio.current_task() is not task
    except RuntimeError:
        return True
