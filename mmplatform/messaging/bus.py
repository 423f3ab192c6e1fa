"""Local publish/subscribe: exact names and wildcards, cached matches, bounded queues, errors surfaced.

A name is ``scope.topic``. Patterns are names whose segments may be ``*`` (any one segment) or ``>`` (one or more
segments), in any position. The subscribers of a name are looked up once, until a subscription changes.

A plain function runs at once, inside :meth:`Bus.deliver`. A coroutine function has a bounded queue and its own
worker, so a slow handler delays nobody else; its messages start in order. A sender that can wait does so in
:meth:`Bus.room` until a full queue has space; realtime messages, whose senders do not wait, are dropped and counted.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from mmplatform.errors import NoResponders, NotRunning
from mmplatform.home import Home
from mmplatform.message import Message, Scope, check_topic
from mmplatform.messaging.handlers import VALUES, close, gives_many, is_awaitable
from mmplatform.messaging.results import DONE, NOBODY, Finished, LocalEnd, Pending, Result, Unawaited
from mmplatform.messaging.route import Route
from mmplatform.messaging.subscriber import Subscriber
from mmplatform.messaging.subscribing import Subscribing
from mmplatform.messaging.work import OnError, Work

Begun = Awaitable[Any] | AsyncGenerator[Any, Any]  # what a handler returned that is not its value yet
Make = Callable[[], Message]  # makes the message for a handler with a fourth parameter

MAX_ROUTES: Final = 65_536  # names in a cache; a peer that invents topics must not grow it for ever
MAX_PUBLIC_ROUTES: Final = 8192  # the same of the names that strangers use
UNHEARD: Final = ""  # no scope: the topics of strangers that nobody listens to
MAX_UNHEARD: Final = 1024


class Asked(LocalEnd):
    """Gives the result of a local request to whoever awaits it."""

    __slots__ = ("future", "make", "series")
    durable = False

    def __init__(self, make: Make, series: bool) -> None:
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.make, self.series = make, series

    def __call__(self, result: Result) -> None:
        """Take the result; whoever asked may have gone."""
        if not self.future.done():
            self.future.set_result(result)

    def message(self) -> Message:
        """Make the message for one handler."""
        return self.make()

    def stop(self) -> None:
        """Tell whoever asked that no result comes."""
        if not self.future.done():
            self.future.set_exception(NotRunning("the platform is stopping"))


class Bus(Subscribing):
    """Hands messages to the handlers that are subscribed.

    ``failed(error, topic)`` is told of every handler that raises, each time. ``home`` is where its platform lives; None
    for a bus without one.
    """

    def __init__(self, failed: OnError, home: Home | None = None) -> None:
        self.routes: dict[str, dict[str, Route | None]] = {}
        work = Work(failed, self.routes.clear, self._enter)
        super().__init__(work, self.routes.clear, home if home is not None else Home())
        self.failed = failed
        self.work = work
        self._asked: set[Asked] = set()

    @property
    def ending(self) -> bool:
        """Whether nothing new is taken in."""
        return self.work.ending

    def admit(self) -> None:
        """Let in a call of the application, in this loop. Raises NotRunning at the end, WrongLoop from elsewhere."""
        self.home.enter()
        if self.work.ending:
            raise NotRunning("the platform is stopping")

    def route(self, scope: Scope, topic: str) -> Route | None:
        """Return the subscribers of ``scope.topic``, None when there are none. Raises InvalidTopic."""
        try:
            return self.routes[scope][topic]
        except KeyError:
            return self._find(scope, topic)

    def deliver(
        self, route: Route, sender: str, payload: Any, finished: Finished | None = None, make: Make | None = None
    ) -> Result | None:
        """Hand one message to its subscribers.

        Args:
            route: who they are.
            sender: the signId of the sender.
            payload: what the handlers are given.
            finished: is called with the result when it is not returned; None when nobody waits for it.
            make: makes the message for a handler with a fourth parameter when there is no ``finished``.

        Returns the result, or None when ``finished`` will be called later, or never, as this node stops.

        """
        if (only := route.only) is not None:
            try:
                value = only(route.name, sender, payload)
                if value is None:
                    return DONE
                if type(value) in VALUES or not (is_awaitable(value) or gives_many(value)):
                    return Result(value)
            except BaseException as error:
                return self._deliver_slowly(route, sender, payload, finished, make, 0, error)
            return self._deliver_slowly(route, sender, payload, finished, make, 0, value)
        if route.plain is not None:
            name = route.name
            result = DONE
            for position, handler in enumerate(route.plain):
                try:
                    value = handler(name, sender, payload)
                    if value is not None and type(value) not in VALUES and (is_awaitable(value) or gives_many(value)):
                        return self._deliver_slowly(route, sender, payload, finished, make, position, value, result)
                except BaseException as error:
                    return self._deliver_slowly(route, sender, payload, finished, make, position, error, result)
                if value is not None and result is DONE:
                    result = Result(value)
            return result
        return self._deliver_slowly(route, sender, payload, finished, make)

    async def room(self, route: Route, sender: str) -> None:
        """Wait for those subscribers of ``route`` whose policy is ``block`` and whose queue of ``sender`` is full."""
        if route.plain is None:
            name = route.name
            while full := [s for s in route.subscribers if s.policy == "block" and s.full(name, sender)]:
                await full[0].space(name, sender)

    def emit(self, scope: Scope, topic: str, sender: str, payload: Any) -> bool:
        """Hand a message to its subscribers; return False when nobody listens."""
        route = self.route(scope, topic)
        if route is not None:
            self.deliver(route, sender, payload)
        return route is not None

    async def request(
        self, scope: Scope, topic: str, sender: str, payload: Any, make: Make | None = None, series: bool = False
    ) -> Result:
        """Deliver and wait for the result.

        Args:
            scope: the scope of the sender.
            topic: the topic of the request.
            sender: the signId of the sender.
            payload: what the handlers are given.
            make: makes the message for a handler with a fourth parameter.
            series: whether an async generator is a result.

        Raises NoResponders at once when nobody listens, NotRunning at the end.

        """
        self.admit()
        route = self.route(scope, topic)
        if route is None:
            raise NoResponders(f"nobody listens to {scope}.{topic}")
        await self.room(route, sender)
        asked = Asked(make or (lambda: Message(topic, "", b"", sender, scope, "request", "", time.time())), series)
        result = self.deliver(route, sender, payload, asked)
        if result is None:
            self._asked.add(asked)
            try:
                result = await asked.future
            finally:
                self._asked.discard(asked)
        if result is NOBODY:
            raise NoResponders(f"nobody listens to {scope}.{topic}")
        return result

    def report(self, error: BaseException, topic: str) -> Exception:
        """Report what a handler with many replies raised; return it as an Exception whose text can be read."""
        return self.work.report(error, topic, 0)

    def refuse(self, sender: str, scope: Scope | None) -> None:
        """End what waits of ``sender`` under any scope but ``scope``, which may be none."""
        self.work.refuse_sender(sender, scope)

    async def end(self, grace: float, give_up: float = 1.0) -> list[str]:
        """End all handlers; a handler may call it, and is not waited for.

        Nothing new is taken in, and what waits for a handler, or to be handled again, stays unfinished: it comes again
        after a restart. So does what handlers are cancelled at.

        Args:
            grace: seconds in which running handlers may end; what they give in this time counts.
            give_up: seconds in which they may end once they are cancelled.

        Returns the names and patterns of those that did not: they are left behind.

        """
        if not self.ending:
            self.work.refuse(self.subscribers())
            for routes in self.routes.values():
                for route in routes.values():
                    if route is not None:
                        route.plain = route.only = None
        try:
            await self.work.wait(grace)
        finally:
            self.work.cancel()
            for asked in list(self._asked):
                asked.stop()
        await self.work.wait(give_up)
        return self.work.leave()

    async def close(self) -> None:
        """End all handlers at once: :meth:`end` without grace."""
        await self.end(0.0)

    def _deliver_slowly(
        self,
        route: Route,
        sender: str,
        payload: Any,
        finished: Finished | None,
        make: Make | None,
        skip: int = 0,
        begun: BaseException | Begun | None = None,
        result: Result = DONE,
    ) -> Result | None:
        """Deliver to all but plain handlers that succeed.

        ``skip`` handlers have run and gave ``result``; the next one has run, too, and raised or returned ``begun``.
        """
        if self.ending:
            if not isinstance(begun, BaseException):
                close(begun)
            return None
        name = route.name
        pending = (
            Pending(name, sender, payload, finished)
            if make is None
            else Unawaited(name, sender, payload, None, make=make)
        )
        subscribers = route.subscribers
        if begun is not None:
            pending.result = result if skip else NOBODY
            _go_on(subscribers[skip], pending, begun)
            subscribers = subscribers[skip + 1 :]
        for subscriber in subscribers:
            if subscriber.active:  # else it ended since the route was looked up, or an earlier message used it up
                pending.remaining += 1
                if subscriber.once:
                    self._remove(subscriber)
                if subscriber.queued:
                    subscriber.offer((pending, 0, None, None))
                else:
                    subscriber.take(pending)
        if pending.remaining == 1:
            return pending.result
        pending.release()
        return None

    def _find(self, scope: Scope, topic: str) -> Route | None:
        unheard = self.routes.setdefault(UNHEARD, {})
        if scope == "public" and topic in unheard:
            return None
        check_topic(topic)
        name = f"{scope}.{topic}"
        found = self._listeners.matching(name)
        if not found and scope == "public":
            if len(unheard) >= MAX_UNHEARD:
                unheard.clear()
            unheard[topic] = None  # apart from others: strangers can invent any number of topics
            return None
        route = Route(name, tuple(found), not self.ending) if found else None
        routes = self.routes.setdefault(scope, {})
        forget_oldest(routes, MAX_PUBLIC_ROUTES if scope == "public" else MAX_ROUTES)
        routes[topic] = route
        return route


def forget_oldest(cache: dict[str, Any], most: int) -> None:
    """Make room for one more in a cache of ``most`` entries: the older half goes, so that few of those in use do."""
    if len(cache) >= most:
        for name in list(cache)[: most // 2 or 1]:
            del cache[name]


def _go_on(subscriber: Subscriber, pending: Pending, begun: BaseException | Begun) -> None:
    """Go on with a message that a plain handler has had: it raised or returned ``begun``."""
    pending.remaining += 1
    if isinstance(begun, BaseException):
        subscriber.failed(begun, pending, 0)
    elif isinstance(begun, AsyncGenerator):
        subscriber.done(begun, pending)
    else:
        subscriber.turn_async()
        subscriber.offer((pending, 0, begun, None))
