"""Who is subscribed to what: handlers, the types of their payloads, and what stands around them all."""

from collections.abc import Callable
from itertools import count
from types import UnionType
from typing import Any, TypeVar, Unpack, overload

from mmplatform.home import Home
from mmplatform.identity.circles import is_control_topic
from mmplatform.message import Message
from mmplatform.messaging.handlers import Handler, TypedDecorator
from mmplatform.messaging.listeners import Listeners
from mmplatform.messaging.middleware import AROUND_HANDLERS, HandlerMiddleware, check_middleware
from mmplatform.messaging.options import PUBLIC_SIZE, OnceOptions, OnOptions, Options, Policy
from mmplatform.messaging.patterns import check_pattern
from mmplatform.messaging.subscriber import Subscriber, SubscriberHost
from mmplatform.payload_types import PayloadType, is_payload_type, payload_type

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=HandlerMiddleware)
R = TypeVar("R")
T = TypeVar("T")


class Subscribing:
    """The subscriptions of one API. ``home`` is where they are made.

    ``subscribed`` is called after each new one, ``changed()`` after every change.
    """

    def __init__(self, host: SubscriberHost, changed: Callable[[], None], home: Home) -> None:
        self.subscribed: Callable[[], None] | None = None
        self.largest = PUBLIC_SIZE  # bytes of a stranger's payload that some subscription takes
        self.home, self._host, self._changed = home, host, changed
        self._listeners = Listeners()
        self._middleware: list[HandlerMiddleware] = []
        self._numbers = count()

    @overload
    def on(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T], R], /, **options: Unpack[OnOptions]
    ) -> Callable[[str, str, T], R]: ...
    @overload
    def on(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T, Message], R], /,
        **options: Unpack[OnOptions],
    ) -> Callable[[str, str, T, Message], R]: ...  # fmt: skip
    @overload
    def on(  # type: ignore[overload-overlap]  # a class that could be called like a handler is a type all the same
        self, pattern: str, payload: type[T], /, **options: Unpack[OnOptions]
    ) -> TypedDecorator[T]: ...
    @overload
    def on(self, pattern: str, payload: UnionType, handler: H, /, **options: Unpack[OnOptions]) -> H: ...
    @overload
    def on(
        self, pattern: str, payload: UnionType | None = None, /, **options: Unpack[OnOptions]
    ) -> Callable[[H], H]: ...
    @overload
    def on(self, pattern: str, handler: H, /, **options: Unpack[OnOptions]) -> H: ...
    def on(
        self, pattern: str, payload: Any = None, handler: Any = None, /, *, concurrency: int = 1, queue: int = 1024,
        policy: Policy = "block", retries: int = 3, backoff: float = 1.0, ordered: bool = False,
        max_size: int | None = None, max_values: int | None = None, raw: bool = False,
    ) -> Any:  # fmt: skip
        """Call ``handler(topic, sender, payload)`` for every message whose name matches; also a decorator.

        A handler that requires a fourth argument is given the :class:`~mmplatform.Message`.

        Args:
            pattern: ``scope.topic``, whose segments may be ``*`` (any one) or ``>`` (one or more).
            payload: the type of the payloads, as a dataclass: a payload that does not fit it is refused, and the
                handler not called. It may be left out: ``on(pattern, handler)`` is given plain values.
            handler: a function or a coroutine function; what it returns is the reply to a request.
            concurrency: how many messages a coroutine function handles side by side.
            queue: how many messages of one sender wait for a coroutine function before ``policy`` is asked.
            policy: what happens when more come: ``block`` makes a sender in this process wait, and a peer once its
                window, or its share of what may wait, is used up; ``drop-oldest`` lets the oldest go, ``error`` refuses
                the newest (both counted).
            retries: how often the handler is run again with a durable or local message at which it raised.
            backoff: seconds before it is run again, doubled each time, at most a minute.
            ordered: later messages wait while one is to be handled again; else they pass.
            max_size: bytes of a payload, at most; larger ones are refused, ``too-large``. Else 1 MiB of strangers,
                64 MiB of friends and devices.
            max_values: values of which it may consist, keys and what is inside others included; more are refused,
                ``bad-payload``. Else 65,536 of strangers, 131,072 of friends and devices. Of several subscriptions
                to one name the most generous counts.
            raw: the handler is given the bytes of the payload, which nobody has looked at.

        Raises InvalidTopic for a malformed pattern, TypeError for what is no handler, or no type that a payload can
        have, ValueError for a bad number.

        """
        options = Options(concurrency, queue, policy, retries, backoff, ordered, max_size, max_values, raw)
        return self._subscribe(pattern, payload, handler, False, options)

    @overload
    def once(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T], R], /, **options: Unpack[OnceOptions]
    ) -> Callable[[str, str, T], R]: ...
    @overload
    def once(
        self, pattern: str, payload: type[T], handler: Callable[[str, str, T, Message], R], /,
        **options: Unpack[OnceOptions],
    ) -> Callable[[str, str, T, Message], R]: ...  # fmt: skip
    @overload
    def once(  # type: ignore[overload-overlap]  # a class that could be called like a handler is a type all the same
        self, pattern: str, payload: type[T], /, **options: Unpack[OnceOptions]
    ) -> TypedDecorator[T]: ...
    @overload
    def once(self, pattern: str, payload: UnionType, handler: H, /, **options: Unpack[OnceOptions]) -> H: ...
    @overload
    def once(
        self, pattern: str, payload: UnionType | None = None, /, **options: Unpack[OnceOptions]
    ) -> Callable[[H], H]: ...
    @overload
    def once(self, pattern: str, handler: H, /, **options: Unpack[OnceOptions]) -> H: ...
    def once(
        self, pattern: str, payload: Any = None, handler: Any = None, /, *, retries: int = 3, backoff: float = 1.0
    ) -> Any:
        """Call ``handler`` for the first matching message only; otherwise like :meth:`on`."""
        return self._subscribe(pattern, payload, handler, True, Options(retries=retries, backoff=backoff))

    def off(self, pattern: str, handler: Handler) -> bool:
        """End the subscription; return False when there was none."""
        self.home.check()
        subscriber = self._listeners.first(pattern, handler)
        if subscriber is not None:
            self._remove(subscriber)
        return subscriber is not None

    def around_handlers(self, middleware: M) -> M:
        """Call ``middleware(topic, sender, payload, message, following)`` in place of each handler; also a decorator.

        It returns what ``following(payload)`` returns, or something else, or raises, as a handler may. Those that were
        given first stand around later ones. Handlers of control topics, by which the platform talks to its services,
        are called without it, unless they are subscribed by wildcards.

        Args:
            middleware: a function, or a coroutine function, which makes every handler wait in a queue as one does.

        Raises TypeError for what cannot be called so.

        """
        self.home.check()
        check_middleware(middleware, AROUND_HANDLERS)
        self._middleware.append(middleware)
        for subscriber in self.subscribers():
            self._surround(subscriber)
        self._changed()
        return middleware

    def subscribers(self, pattern: str | None = None) -> list[Subscriber]:
        """Return all subscriptions, or those of one pattern, in the order they were made."""
        return self._listeners.of(pattern)

    def _subscribe(self, pattern: str, payload: Any, handler: Any, once: bool, options: Options) -> Any:
        check_pattern(pattern)
        if handler is None and not is_payload_type(payload):
            payload, handler = None, payload  # on(pattern, handler)
        made = None if payload is None else payload_type(payload)
        if made is not None and options.raw:
            raise ValueError("raw=True hands over the bytes of a payload, and a type is made of its values")
        if handler is None:
            return lambda function: self._add(pattern, function, once, options, made)
        return self._add(pattern, handler, once, options, made)

    def _add(self, pattern: str, handler: H, once: bool, options: Options, made: PayloadType[Any] | None) -> H:
        self.home.check()
        subscriber = Subscriber(self._host, next(self._numbers), pattern, handler, once, options, made)
        self._surround(subscriber)
        self._enter(subscriber)
        return handler

    def _enter(self, subscriber: Subscriber) -> None:
        """Subscribe; again, when the one message that ended the subscription was none for its handler."""
        subscriber.active = True
        self._listeners.add(subscriber)
        self.largest = max(self.largest, _from_strangers(subscriber))
        self._changed()
        if self.subscribed is not None:
            self.subscribed()

    def _surround(self, subscriber: Subscriber) -> None:
        if self._middleware and not _is_control(subscriber.pattern):
            subscriber.surround(self._middleware)

    def _remove(self, subscriber: Subscriber) -> None:
        if subscriber.active:
            subscriber.end()
            self._listeners.remove(subscriber)
            self._changed()
            if _from_strangers(subscriber) > PUBLIC_SIZE:
                self.largest = max(map(_from_strangers, self.subscribers()), default=PUBLIC_SIZE)


def _is_control(pattern: str) -> bool:
    """Whether only a control topic matches: wildcards may match what peers send, as ``>.transports.x`` does."""
    return "*" not in pattern and ">" not in pattern and is_control_topic(pattern.partition(".")[2])


def _from_strangers(subscriber: Subscriber) -> int:
    """Return the bytes that a subscription takes of a stranger's message."""
    strangers = subscriber.pattern.partition(".")[0] in ("public", "*", ">")
    return max(PUBLIC_SIZE, subscriber.options.size_from("public")) if strangers else PUBLIC_SIZE
