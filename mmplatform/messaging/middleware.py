"""What stands around handlers and around sends: each is called with what comes and with the next one, the first that
was registered outermost. docs/middleware.rst has examples.

One that is a coroutine function may await the next one, whatever that is; around a handler it makes it one that has a
queue. A plain function is given what the next one returns, which of a coroutine function is still to be awaited.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Protocol

from mmplatform.message import Delivery, Message
from mmplatform.messaging.handlers import Handler, check_function, is_async, is_awaitable

Kind = Literal["durable", "realtime", "request", "request_many"]
Next = Callable[[Any], Any]  # is called with the payload
Called = Callable[[str, str, Any, Message], Any]
Post = Callable[[Any], Awaitable[Any]]  # sends the payload, and gives the Delivery or the reply

AROUND_HANDLERS: Final = "what stands around handlers is called with (topic, sender, payload, message, following)"
AROUND_SENDS: Final = "what stands around sends is called with (topic, destination, payload, kind, following)"


class HandlerMiddleware(Protocol):
    """Is called in place of a handler, which ``following(payload)`` calls."""

    def __call__(self, topic: str, sender: str, payload: Any, message: Message, following: Next, /) -> Any: ...


class SendMiddleware(Protocol):
    """Is called in place of a send or a request, which ``following(payload)`` begins; returns what that gives."""

    def __call__(
        self, topic: str, destination: str, payload: Any, kind: Kind, following: Post, /
    ) -> Awaitable[Delivery | Any]: ...


def check_middleware(middleware: Callable[..., Any], meant: str) -> None:
    """Raise TypeError, with what was ``meant``, unless ``middleware`` can be called with five arguments."""
    check_function(middleware, meant)
    try:
        inspect.signature(middleware).bind(*"12345")
    except ValueError:
        return  # a builtin that does not say what it takes
    except TypeError as error:
        raise TypeError(f"{middleware!r}: {meant}: {error}") from None


def around_handler(middleware: Sequence[HandlerMiddleware], handler: Handler, takes_message: bool) -> Called:
    """Return what calls ``handler`` by way of all ``middleware``."""
    call: Called = handler if takes_message else _without_message(handler)  # type: ignore[assignment]
    for one in reversed(middleware):
        call = _awaiting(one, call) if is_async(one) else _calling(one, call)
    return call


def around_send(
    middleware: Sequence[SendMiddleware], topic: str, destination: str, payload: Any, kind: Kind, post: Post
) -> Awaitable[Any]:
    """Send ``payload`` by ``post``, by way of all ``middleware``."""
    if not middleware:
        return post(payload)
    first, rest = middleware[0], middleware[1:]
    return first(
        topic, destination, payload, kind, lambda changed: around_send(rest, topic, destination, changed, kind, post)
    )


async def awaiting(sending: Awaitable[Any]) -> Any:
    """Await ``sending``: what somebody's middleware returned."""
    return await sending


def _without_message(handler: Handler) -> Called:
    return lambda topic, sender, payload, _: handler(topic, sender, payload)  # type: ignore[call-arg]


def _calling(one: HandlerMiddleware, call: Called) -> Called:
    def called(topic: str, sender: str, payload: Any, message: Message) -> Any:
        return one(topic, sender, payload, message, lambda changed: call(topic, sender, changed, message))

    return called


def _awaiting(one: HandlerMiddleware, call: Called) -> Called:
    def called(topic: str, sender: str, payload: Any, message: Message) -> Any:
        async def following(changed: Any) -> Any:
            value = call(topic, sender, changed, message)
            return await value if is_awaitable(value) else value

        return one(topic, sender, payload, message, following)

    return called
