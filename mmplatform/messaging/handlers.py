"""What a handler is: how many arguments it takes, and whether what it returns is work still to be done."""

import inspect
from collections.abc import AsyncGenerator, Callable
from types import CoroutineType
from typing import Any, Final, Protocol, TypeGuard, TypeVar, overload

from mmplatform.message import Message

T = TypeVar("T")
R = TypeVar("R")

Handler = Callable[[str, str, Any], Any] | Callable[[str, str, Any, Any], Any]  # the fourth is the Message

VALUES: Final = frozenset({bool, bytes, dict, float, int, list, str, tuple, type(None)})  # nobody awaits these
PASSES: Final = (KeyboardInterrupt, SystemExit)  # exceptions that end the program
DEEPEST: Final = 8  # awaitables that give awaitables
POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
CALLED: Final = (
    "a handler is called with (topic, sender, payload), or with the message as a fourth; it returns its value, or is "
    "async and yields replies"
)


class TypedDecorator(Protocol[T]):
    """Subscribes a handler of payloads of the type ``T``."""

    @overload
    def __call__(self, handler: Callable[[str, str, T], R], /) -> Callable[[str, str, T], R]: ...
    @overload
    def __call__(self, handler: Callable[[str, str, T, Message], R], /) -> Callable[[str, str, T, Message], R]: ...


def check_handler(handler: Handler) -> bool:
    """Return whether ``handler`` takes the Message as a fourth argument: whether it requires four by position.

    Raises TypeError for what could never handle a message, saying what a handler is.
    """
    if not gives_many_when_called(handler):
        check_function(handler, CALLED)
    return takes_message(handler, CALLED)


def takes_message(handler: Callable[..., Any], meant: str) -> bool:
    """Return whether ``handler`` requires four arguments by position. Raises TypeError, with what was ``meant``, for
    one that cannot be called with so many, or with three."""
    try:
        signature = inspect.signature(handler)
    except ValueError:
        return False  # a builtin that does not say what it takes
    parameters = signature.parameters.values()
    required = sum(p.kind in POSITIONAL and p.default is p.empty for p in parameters)
    try:
        signature.bind(*("topic", "sender", None, None)[: max(3, required)])
    except TypeError as error:
        raise TypeError(f"{handler!r} requires {required} arguments; {meant}: {error}") from None
    return required == 4


def check_function(function: Callable[..., Any], meant: str) -> None:
    """Raise TypeError, with what was ``meant``, for what cannot be called, and for generators."""
    if not callable(function):
        raise TypeError(f"{function!r} is not callable; {meant}")
    if _is(inspect.isasyncgenfunction, function) or _is(_is_generator_function, function):
        raise TypeError(f"{function!r} is a generator, and calling it runs nothing; {meant}")


def gives_many_when_called(handler: Callable[..., Any]) -> bool:
    """Whether ``handler`` is an async generator: what it yields are the replies to a request."""
    return callable(handler) and _is(inspect.isasyncgenfunction, handler)


def gives_many(value: object) -> TypeGuard[AsyncGenerator[Any, Any]]:
    """Whether ``value``, which a handler returned, gives the replies to a request, one by one."""
    return isinstance(value, AsyncGenerator)


def restoring(handler: Handler, restore: Callable[[Any], object]) -> Handler:
    """Return ``handler`` as it is called with plain values: what ``restore`` makes of them is its payload."""

    def call(topic: str, sender: str, payload: Any, *message: Message) -> Any:
        return handler(topic, sender, restore(payload), *message)

    return call


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether ``handler``, a function or an object with ``__call__``, says of itself that it is to be awaited."""
    return _is(inspect.iscoroutinefunction, handler)


def is_awaitable(value: object) -> bool:
    """Whether ``value``, which a handler returned, is its work still to be done."""
    if type(value) is CoroutineType:
        return True
    if type(value) in VALUES:
        return False
    if inspect.isawaitable(value):
        return True
    if inspect.isgenerator(value):
        raise TypeError("the handler returned a generator, which runs nothing; it returns its value, or is async")
    return False


async def awaited(value: Any) -> Any:
    """Return what ``value`` gives when that is no awaitable itself. Raises TypeError when they are too many."""
    for _ in range(DEEPEST):  # the caller has awaited one already
        if not is_awaitable(value):
            return value
        value = await value
    close(value)
    raise TypeError(f"the handler returned something to await that gave another, more than {DEEPEST} times")


def close(value: object) -> None:
    """Close a coroutine that nobody will await."""
    if inspect.iscoroutine(value):
        value.close()


def name_of(handler: Handler) -> str:
    """Return the qualified name of ``handler``, of its class when it has none."""
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))


def _is(question: Callable[[object], bool], handler: Callable[..., Any]) -> bool:
    """Ask ``question`` of a function, or of the ``__call__`` of an object."""
    return question(handler) or question(getattr(handler, "__call__", None))  # noqa: B004


def _is_generator_function(function: object) -> bool:
    """Whether calling ``function`` gives a generator, and not one that ``types.coroutine`` made awaitable."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return inspect.isgeneratorfunction(function) and not flags & inspect.CO_ITERABLE_COROUTINE
