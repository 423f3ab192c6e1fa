"""Local publish/subscribe on pyee: exact names and wildcards, cached matches, bounded queues, errors surfaced.

A name is ``scope.topic``. Patterns are names whose segments may be ``*`` (any one segment) or ``>`` (one or more
segments), in any position. pyee keeps who listens to which pattern; an index over the patterns finds the ones a
name matches, and the answer is cached until a subscription changes.

A plain function runs at once, inside :meth:`Bus.deliver`. A coroutine function has a bounded queue and its own
worker, so a slow one delays nobody else; its messages start in order. Whoever can wait does so in :meth:`Bus.room`
until a full queue has space; what nobody waits for (realtime messages) is dropped then, and counted.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from types import CoroutineType
from typing import Any, Final, Literal, Protocol, TypeVar, overload

from pyee.base import EventEmitter

from mmplatform.errors import NoResponders, NotRunning, QueueFull
from mmplatform.message import Retry, check_pattern, check_topic

Handler = Callable[[str, str, Any], Any]
H = TypeVar("H", bound=Handler)
Policy = Literal["block", "drop-oldest", "error"]

MAX_ROUTES: Final = 8192  # a peer that invents topics must not grow the cache for ever
UNHELD: Final = 16  # times the queue: what may wait of messages that nobody holds back
RAISED: Final = (Exception, asyncio.CancelledError)  # a handler may let out that something of its own was cancelled


class Result:
    """What the handlers of one message gave: the first value that is not None, or the first error."""

    __slots__ = ("error", "value")

    def __init__(self, value: object = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


DONE: Final = Result()
NOBODY: Final = Result()  # nobody listens


class OnError(Protocol):
    def __call__(self, error: Exception, topic: str, /) -> None: ...


class _Pending:
    """A message some of whose handlers are still at work."""

    __slots__ = ("finished", "remaining", "result")

    def __init__(self, finished: Callable[[Result], None] | None) -> None:
        self.remaining = 1  # the deliver() call itself holds one until it has called everybody
        self.result = DONE
        self.finished = finished

    def add(self, value: object, error: BaseException | None) -> None:
        if (value is not None or error is not None) and self.result is DONE:
            self.result = Result(value, error)

    def release(self) -> bool:
        self.remaining -= 1
        if self.remaining == 0 and self.finished is not None:
            self.finished(self.result)
        return self.remaining == 0


_Item = tuple[str, str, Any, _Pending]


class Subscriber:
    """One handler of one pattern; ``dropped`` counts the messages its full queue turned away."""

    __slots__ = (
        "_bus", "_idle", "_queue", "_space", "_workers", "active", "concurrency", "dropped", "handler",
        "is_async", "limit", "number", "once", "pattern", "policy",
    )  # fmt: skip

    def __init__(
        self, bus: "Bus", pattern: str, handler: Handler, once: bool, concurrency: int, limit: int, policy: Policy
    ) -> None:
        if concurrency < 1 or limit < 1 or policy not in ("block", "drop-oldest", "error"):
            raise ValueError("concurrency and queue are at least 1; policy is block, drop-oldest or error")
        self.pattern, self.handler, self.once = pattern, handler, once
        self.concurrency, self.limit, self.policy = concurrency, limit, policy
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self.number = next(bus._numbers)
        self.active = True  # False once off() or its one message ended the subscription
        self.dropped = 0
        self._bus = bus
        self._queue: deque[_Item] = deque()
        self._idle: asyncio.Future[None] | None = None
        self._space: asyncio.Future[None] | None = None
        self._workers = 0

    def __call__(self, *_: object) -> None:
        """pyee keeps callables, and calls those of its own event ``new_listener``; messages go to ``handler``."""

    @property
    def full(self) -> bool:
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

    def offer(self, item: _Item) -> None:
        """Queue one message; the policy decides what gives way when the queue is full."""
        if self._bus.closed:
            return  # it stays unfinished, and comes again
        if len(self._queue) >= self.limit and not self._make_way(item[3]):
            return
        self._queue.append(item)
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        elif self._workers < self.concurrency:
            self._workers += 1
            self._bus._keep(asyncio.get_running_loop().create_task(self._work(), name=f"mm handler {self.pattern}"))

    def end(self) -> None:
        """The subscription is over: what waits in the queue is still handled, then the worker ends."""
        self.active = False
        for waiter in (self._idle, self._space):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """What waits is let go."""
        self._queue.clear()
        self.end()

    def _make_way(self, newest: _Pending) -> bool:
        """The queue is full: whether the newest message gets in all the same."""
        if self.policy == "block" and (newest.finished is not None or len(self._queue) < self.limit * UNHELD):
            return True  # its sender waits in room(), or a window bounds how many can come
        self.dropped += 1
        if self.policy == "drop-oldest":
            oldest = self._queue.popleft()[3]
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
                    await self._run(self._queue.popleft())  # no name for it here: an idle worker keeps no payload
                if self._idle is not None or not self.active or self._bus.closed:
                    return
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
        finally:
            self._workers -= 1
            if self._workers == 0:
                self._idle = None

    async def _run(self, item: _Item) -> None:
        name, sender, payload, pending = item
        try:
            pending.add(await self.handler(name, sender, payload), None)
        except Retry as retry:
            self._bus.later(retry.after, self.offer, item)
            return
        except RAISED as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # this worker is cancelled, not something that the handler waited for
            pending.add(None, self._bus.report(error, name))
        pending.release()


class Route:
    """The subscribers of one name. ``plain`` is set when all are functions that need no further thought."""

    __slots__ = ("name", "plain", "subscribers")

    def __init__(self, name: str, subscribers: tuple[Subscriber, ...]) -> None:
        self.name = name
        self.subscribers = subscribers
        self.plain = None if any(s.is_async or s.once for s in subscribers) else tuple(s.handler for s in subscribers)


class _Node:
    """One segment of the pattern index."""

    __slots__ = ("children", "ends", "rest")

    def __init__(self, rest: bool = False) -> None:
        self.children: dict[str, _Node] = {}
        self.ends = False
        self.rest = rest  # this node was reached by ">" and may swallow further segments


class Bus:
    """Subscriptions of one API. ``failed(error, topic)`` is told of every handler that raises."""

    def __init__(self, failed: OnError) -> None:
        self.failed = failed
        self._listeners = EventEmitter()
        self._index = _Node()
        self.routes: dict[str, dict[str, Route | None]] = {}
        self.closed = False
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()  # of messages that a handler wants again
        self._asked: set[asyncio.Future[Result]] = set()

    @overload
    def on(
        self, pattern: str, handler: H, *, concurrency: int = 1, queue: int = 1024, policy: Policy = "block"
    ) -> H: ...
    @overload
    def on(
        self, pattern: str, handler: None = None, *, concurrency: int = 1, queue: int = 1024, policy: Policy = "block"
    ) -> Callable[[H], H]: ...
    def on(
        self,
        pattern: str,
        handler: H | None = None,
        *,
        concurrency: int = 1,
        queue: int = 1024,
        policy: Policy = "block",
    ) -> H | Callable[[H], H]:
        """Call ``handler(topic, sender, payload)`` for every message whose name matches; also a decorator.

        Async handlers: at most ``queue`` messages wait; when more come, ``block`` makes the sender wait,
        ``drop-oldest`` lets the oldest go and ``error`` refuses the newest (both counted). ``concurrency`` of them
        run side by side.
        """
        return self._subscribe(pattern, handler, False, concurrency, queue, policy)

    @overload
    def once(self, pattern: str, handler: H) -> H: ...
    @overload
    def once(self, pattern: str, handler: None = None) -> Callable[[H], H]: ...
    def once(self, pattern: str, handler: H | None = None) -> H | Callable[[H], H]:
        """As :meth:`on`, for the first matching message only."""
        return self._subscribe(pattern, handler, True, 1, 1024, "block")

    def off(self, pattern: str, handler: Handler) -> bool:
        """End the subscription; False when there was none."""
        for subscriber in self._at(pattern):
            if subscriber.handler == handler:
                self._remove(subscriber)
                return True
        return False

    def subscribers(self, pattern: str | None = None) -> list[Subscriber]:
        """All subscriptions, or those of one pattern, in the order they were made."""
        patterns = [str(p) for p in self._listeners.event_names()] if pattern is None else [pattern]
        return sorted((s for p in patterns for s in self._at(p)), key=lambda s: s.number)

    def route(self, scope: str, topic: str) -> Route | None:
        """The subscribers of ``scope.topic``, None when there are none. Raises InvalidTopic for a malformed topic."""
        try:
            return self.routes[scope][topic]
        except KeyError:
            return self._find(scope, topic)

    def deliver(
        self, route: Route, sender: str, payload: Any, finished: Callable[[Result], None] | None = None
    ) -> Result | None:
        """Hand one message to its subscribers. Returns the result, or None when ``finished`` will be called later."""
        name = route.name
        if route.plain is not None:
            result = DONE
            for position, handler in enumerate(route.plain):
                try:
                    value = handler(name, sender, payload)
                except Retry as retry:
                    return self._deliver_slowly(route, sender, payload, finished, position, retry, result)
                except RAISED as error:
                    reported = self.report(error, name)
                    if result is DONE:
                        result = Result(None, reported)
                else:
                    if value is not None:
                        if type(value) is CoroutineType:
                            self._turn_async(route.subscribers[position], value)
                            return self._deliver_slowly(route, sender, payload, finished, position, None, result)
                        if result is DONE:
                            result = Result(value)
            return result
        return self._deliver_slowly(route, sender, payload, finished)

    async def room(self, route: Route) -> None:
        """Wait for those subscribers of ``route`` whose policy is ``block`` and whose queue is full."""
        if route.plain is None:
            while full := [s for s in route.subscribers if s.policy == "block" and s.full]:
                await full[0].space()

    def emit(self, scope: str, topic: str, sender: str, payload: Any) -> bool:
        """Hand a message to whoever listens; False when nobody does."""
        route = self.route(scope, topic)
        if route is not None:
            self.deliver(route, sender, payload)
        return route is not None

    async def request(self, scope: str, topic: str, sender: str, payload: Any) -> Result:
        """Deliver and wait for the result; raises NoResponders at once when nobody listens."""
        if self.closed:
            raise NotRunning("the platform is stopping")
        route = self.route(scope, topic)
        if route is None:
            raise NoResponders(f"nobody listens to {scope}.{topic}")
        await self.room(route)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        result = self.deliver(route, sender, payload, lambda r: None if future.done() else future.set_result(r))
        if result is not None:
            return result
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return await future

    def report(self, error: BaseException, topic: str) -> Exception:
        """Tell of what a handler raised; the error as it counts in the result."""
        known = error if isinstance(error, Exception) else RuntimeError("something the handler waits for was cancelled")
        self.failed(known, topic)
        return known

    def later(self, delay: float, again: Callable[..., None], *arguments: Any) -> None:
        """Call ``again`` after ``delay`` seconds, unless the bus closes before."""
        if self.closed:
            return

        def due() -> None:
            self._timers.discard(timer)
            again(*arguments)

        timer = asyncio.get_running_loop().call_later(delay, due)
        self._timers.add(timer)

    async def close(self) -> None:
        """Stop all workers; a handler may call it. Messages whose handlers did not finish count as not handled."""
        self.closed = True
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for subscriber in self.subscribers():
            subscriber.close()
        for future in list(self._asked):
            if not future.done():
                future.set_exception(NotRunning("the platform is stopping"))
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _deliver_slowly(
        self,
        route: Route,
        sender: str,
        payload: Any,
        finished: Callable[[Result], None] | None,
        skip: int = 0,
        retry: Retry | None = None,
        result: Result = DONE,
    ) -> Result | None:
        """The way for async handlers, ``once`` and Retry.

        ``skip`` handlers have run and gave ``result``, the next one raised ``retry``.
        """
        pending = _Pending(finished)
        pending.result = result
        for subscriber in route.subscribers[skip:]:
            if not (subscriber.active or retry):
                continue  # it ended since the route was looked up, or an earlier message used it up
            pending.remaining += 1
            if retry is not None:
                self._again(retry, subscriber, route.name, sender, payload, pending)
                retry = None
                continue
            if subscriber.once:
                self._remove(subscriber)
            if subscriber.is_async:
                subscriber.offer((route.name, sender, payload, pending))
            else:
                self._call(subscriber, route.name, sender, payload, pending)
        if pending.remaining == 1:
            return pending.result
        pending.release()
        return None

    def _call(self, subscriber: Subscriber, name: str, sender: str, payload: Any, pending: _Pending) -> None:
        try:
            value = subscriber.handler(name, sender, payload)
        except Retry as retry:
            self._again(retry, subscriber, name, sender, payload, pending)
            return
        except RAISED as error:
            pending.add(None, self.report(error, name))
        else:
            if type(value) is CoroutineType:
                self._turn_async(subscriber, value)
                subscriber.offer((name, sender, payload, pending))
                return
            pending.add(value, None)
        pending.release()

    def _turn_async(self, subscriber: Subscriber, coroutine: Coroutine[Any, Any, Any]) -> None:
        """A plain function (a lambda, a decorator) made a coroutine: queue its messages from now on, this one too."""
        coroutine.close()
        subscriber.is_async = True
        self.routes.clear()

    def _again(
        self, retry: Retry, subscriber: Subscriber, name: str, sender: str, payload: Any, pending: _Pending
    ) -> None:
        self.later(retry.after, self._call, subscriber, name, sender, payload, pending)

    def _subscribe(
        self, pattern: str, handler: H | None, once: bool, concurrency: int, queue: int, policy: Policy
    ) -> H | Callable[[H], H]:
        check_pattern(pattern)
        if handler is None:
            return lambda function: self._add(pattern, function, once, concurrency, queue, policy)
        return self._add(pattern, handler, once, concurrency, queue, policy)

    def _add(self, pattern: str, handler: H, once: bool, concurrency: int, queue: int, policy: Policy) -> H:
        self._listeners.add_listener(pattern, Subscriber(self, pattern, handler, once, concurrency, queue, policy))
        node = self._index
        for segment in pattern.split("."):
            node = node.children.setdefault(segment, _Node(segment == ">"))
        node.ends = True
        self.routes.clear()
        return handler

    def _remove(self, subscriber: Subscriber) -> bool:
        if not subscriber.active:
            return False
        subscriber.end()
        self._listeners.remove_listener(subscriber.pattern, subscriber)
        if not self._at(subscriber.pattern):
            self._prune(subscriber.pattern.split("."))
        self.routes.clear()
        return True

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prune(self, segments: list[str]) -> None:
        path = [self._index]
        for segment in segments:
            path.append(path[-1].children[segment])
        path[-1].ends = False
        for parent, segment in zip(reversed(path[:-1]), reversed(segments), strict=True):
            child = parent.children[segment]
            if child.ends or child.children:
                return
            del parent.children[segment]

    def _at(self, pattern: str) -> list[Subscriber]:
        return [s for s in self._listeners.listeners(pattern) if isinstance(s, Subscriber)]

    def _find(self, scope: str, topic: str) -> Route | None:
        check_topic(topic)
        name = f"{scope}.{topic}"
        found = [s for pattern in self._matching(name.split(".")) for s in self._at(pattern)]
        route = Route(name, tuple(sorted(found, key=lambda s: s.number))) if found else None
        routes = self.routes.setdefault(scope, {})
        if len(routes) >= MAX_ROUTES:
            routes.clear()
        routes[topic] = route
        return route

    def _matching(self, segments: list[str]) -> list[str]:
        """The patterns that match. All states are walked at once: segments times live states, never exponential."""
        states: dict[int, tuple[_Node, str]] = {id(self._index): (self._index, "")}
        for segment in segments:
            following: dict[int, tuple[_Node, str]] = {}
            for node, path in states.values():
                if node.rest:
                    following[id(node)] = (node, path)
                for key in (segment, "*", ">"):
                    child = node.children.get(key)
                    if child is not None:
                        following[id(child)] = (child, f"{path}.{key}" if path else key)
            states = following
        return [path for node, path in states.values() if node.ends]
