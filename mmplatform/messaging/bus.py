"""Local publish/subscribe on pyee: exact names and wildcards, cached matches, bounded queues, errors surfaced.

A name is ``scope.topic``. Patterns are names whose segments may be ``*`` (any one segment) or ``>`` (one or more
segments), in any position. pyee keeps the subscribers of each pattern; an index over the patterns finds the ones that
match a name, and the answer is cached until a subscription changes.

A plain function runs at once, inside :meth:`Bus.deliver`. A coroutine function has a bounded queue and its own
worker, so a slow handler delays nobody else; its messages start in order. A sender that can wait does so in
:meth:`Bus.room` until a full queue has space; realtime messages, whose senders do not wait, are dropped and counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, Protocol, TypeVar, overload

from pyee.base import EventEmitter

from mmplatform.errors import NoResponders, NotRunning
from mmplatform.message import Retry, check_pattern, check_topic
from mmplatform.messaging.patterns import Patterns
from mmplatform.messaging.subscriber import (
    DONE,
    PASSES,
    VALUES,
    Handler,
    Pending,
    Policy,
    Result,
    Subscriber,
    check_handler,
    is_awaitable,
)

H = TypeVar("H", bound=Handler)

MAX_ROUTES: Final = 8192  # names in a cache; a peer that invents topics must not grow it for ever


class OnError(Protocol):
    """Is told of what a handler raised, and of the topic of the message it had."""

    def __call__(self, error: Exception, topic: str, /) -> None: ...


class Route:
    """The subscribers of one name. ``plain``: their handlers when all are plain functions without ``once``."""

    __slots__ = ("name", "plain", "subscribers")

    def __init__(self, name: str, subscribers: tuple[Subscriber, ...]) -> None:
        self.name = name
        self.subscribers = subscribers
        self.plain = None if any(s.is_async or s.once for s in subscribers) else tuple(s.handler for s in subscribers)


class Bus:
    """Subscriptions of one API. ``failed(error, topic)`` is told of every handler that raises."""

    def __init__(self, failed: OnError) -> None:
        self.failed = failed
        self._listeners = EventEmitter()
        self._patterns = Patterns()
        self.routes: dict[str, dict[str, Route | None]] = {}
        self.closed = False
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()  # for messages that a handler wants again
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

        Args:
            pattern: ``scope.topic``, whose segments may be ``*`` (any one) or ``>`` (one or more).
            handler: a function or a coroutine function; what it returns is the reply to a request.
            concurrency: how many messages a coroutine function handles side by side.
            queue: how many messages wait for a coroutine function at most.
            policy: what happens when more come: ``block`` makes the sender wait, ``drop-oldest`` lets the oldest go,
                ``error`` refuses the newest (both counted).

        Raises InvalidTopic for a malformed pattern, TypeError for what is no handler, ValueError for a bad number.

        """
        return self._subscribe(pattern, handler, False, concurrency, queue, policy)

    @overload
    def once(self, pattern: str, handler: H) -> H: ...
    @overload
    def once(self, pattern: str, handler: None = None) -> Callable[[H], H]: ...
    def once(self, pattern: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Call ``handler`` for the first matching message only; otherwise like :meth:`on`."""
        return self._subscribe(pattern, handler, True, 1, 1024, "block")

    def off(self, pattern: str, handler: Handler) -> bool:
        """End the subscription; return False when there was none."""
        for subscriber in self._at(pattern):
            if subscriber.handler == handler:
                self._remove(subscriber)
                return True
        return False

    def subscribers(self, pattern: str | None = None) -> list[Subscriber]:
        """Return all subscriptions, or those of one pattern, in the order they were made."""
        patterns = [str(p) for p in self._listeners.event_names()] if pattern is None else [pattern]
        return sorted((s for p in patterns for s in self._at(p)), key=lambda s: s.number)

    def route(self, scope: str, topic: str) -> Route | None:
        """Return the subscribers of ``scope.topic``, None when there are none. Raises InvalidTopic."""
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
                    if value is not None and type(value) not in VALUES and is_awaitable(value):
                        self._turn_async(route.subscribers[position])
                        return self._deliver_slowly(route, sender, payload, finished, position, value, result)
                except Retry as retry:
                    return self._deliver_slowly(route, sender, payload, finished, position, retry, result)
                except BaseException as error:
                    reported = self.report(error, name)
                    if result is DONE:
                        result = Result(None, reported)
                else:
                    if value is not None and result is DONE:
                        result = Result(value)
            return result
        return self._deliver_slowly(route, sender, payload, finished)

    async def room(self, route: Route) -> None:
        """Wait for those subscribers of ``route`` whose policy is ``block`` and whose queue is full."""
        if route.plain is None:
            while full := [s for s in route.subscribers if s.policy == "block" and s.full]:
                await full[0].space()

    def emit(self, scope: str, topic: str, sender: str, payload: Any) -> bool:
        """Hand a message to its subscribers; return False when nobody listens."""
        route = self.route(scope, topic)
        if route is not None:
            self.deliver(route, sender, payload)
        return route is not None

    async def request(self, scope: str, topic: str, sender: str, payload: Any) -> Result:
        """Deliver and wait for the result. Raises NoResponders at once when nobody listens, NotRunning at the end."""
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
        """Report what a handler raised, and return it as an Exception. Raises ``error`` when it ends the program."""
        if isinstance(error, PASSES):
            raise error
        known = error if isinstance(error, Exception) else _as_exception(error)
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
        begun: Retry | Awaitable[Any] | None = None,
        result: Result = DONE,
    ) -> Result | None:
        """Deliver to async handlers, to those of ``once``, and after Retry.

        ``skip`` handlers have run and gave ``result``; the next one has run, too, and raised or returned ``begun``.
        """
        pending = Pending(finished)
        pending.result = result
        for subscriber in route.subscribers[skip:]:
            if not (subscriber.active or begun):
                continue  # the subscription ended since the route was looked up, or an earlier message used it up
            pending.remaining += 1
            if isinstance(begun, Retry):
                self._again(begun, subscriber, route.name, sender, payload, pending)
            elif begun is not None:
                subscriber.offer((route.name, sender, payload, pending, begun))
            if begun is not None:
                begun = None
                continue
            if subscriber.once:
                self._remove(subscriber)
            if subscriber.is_async:
                subscriber.offer((route.name, sender, payload, pending, None))
            else:
                self._call(subscriber, route.name, sender, payload, pending)
        if pending.remaining == 1:
            return pending.result
        pending.release()
        return None

    def _call(self, subscriber: Subscriber, name: str, sender: str, payload: Any, pending: Pending) -> None:
        try:
            value = subscriber.handler(name, sender, payload)
            if value is not None and is_awaitable(value):
                self._turn_async(subscriber)
                subscriber.offer((name, sender, payload, pending, value))
                return
        except Retry as retry:
            self._again(retry, subscriber, name, sender, payload, pending)
            return
        except BaseException as error:
            pending.add(None, self.report(error, name))
        else:
            pending.add(value, None)
        pending.release()

    def _turn_async(self, subscriber: Subscriber) -> None:
        """Queue the messages of a plain function (a lambda, a decorator) that returned something to await."""
        subscriber.is_async = True
        self.routes.clear()

    def _again(
        self, retry: Retry, subscriber: Subscriber, name: str, sender: str, payload: Any, pending: Pending
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
        check_handler(handler)
        self._listeners.add_listener(
            pattern, Subscriber(self, next(self._numbers), pattern, handler, once, concurrency, queue, policy)
        )
        self._patterns.add(pattern)
        self.routes.clear()
        return handler

    def _remove(self, subscriber: Subscriber) -> bool:
        if not subscriber.active:
            return False
        subscriber.end()
        self._listeners.remove_listener(subscriber.pattern, subscriber)
        if not self._at(subscriber.pattern):
            self._patterns.discard(subscriber.pattern)
        self.routes.clear()
        return True

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a reference to the task of a worker until it ends; :meth:`close` cancels it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _at(self, pattern: str) -> list[Subscriber]:
        return [s for s in self._listeners.listeners(pattern) if isinstance(s, Subscriber)]

    def _find(self, scope: str, topic: str) -> Route | None:
        check_topic(topic)
        name = f"{scope}.{topic}"
        found = [s for pattern in self._patterns.matching(name) for s in self._at(pattern)]
        route = Route(name, tuple(sorted(found, key=lambda s: s.number))) if found else None
        routes = self.routes.setdefault(scope, {})
        if len(routes) >= MAX_ROUTES:
            routes.clear()
        routes[topic] = route
        return route


def _as_exception(error: BaseException) -> Exception:
    """Wrap an error that is no Exception (a panic of another language, an outcome of a test framework) in one."""
    if isinstance(error, asyncio.CancelledError):
        return RuntimeError("something the handler waits for was cancelled")
    made = RuntimeError(f"the handler raised {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
