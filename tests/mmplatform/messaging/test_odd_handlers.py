"""Handlers of every make: what they return is awaited, once, or refused aloud; what they raise stops nobody."""

import asyncio
import collections.abc
import functools
import inspect
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from mmplatform.errors import Refused
from mmplatform.message import Message, Retry
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.results import DONE
from tests.support.bus import Ended
from tests.support.waiting import until


class Panic(BaseException):
    """As of a library in another language, or of a test framework."""


class Heard:
    """A bus, what its handlers did, and how each message ended."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.bus = Bus(lambda error, topic: self.errors.append(f"{type(error).__name__}: {error}"))
        self.seen: list[Any] = []
        self.done: list[Any] = []
        self.ended = Ended()

    async def work(self, payload: Any, turns: int = 3) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        self.done.append(payload)
        return payload

    def say(self, payload: Any, topic: str = "x") -> None:
        route = self.bus.route("self", topic)
        assert route is not None
        result = self.bus.deliver(route, "me", payload, self.ended)
        if result is not None:
            self.ended(result)


@pytest.fixture
async def heard() -> AsyncIterator[Heard]:
    made = Heard()
    yield made
    await made.bus.close()


async def test_a_decorated_async_handler_runs_once_for_each_message(heard: Heard) -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any) -> Any:
            heard.seen.append(arguments[-1])
            return function(*arguments)

        return wrapper

    @heard.bus.on("self.x")
    @logged
    async def handler(topic: str, sender: str, payload: Any) -> Any:
        return await heard.work(payload)

    for number in range(3):
        heard.say(number)
    assert heard.ended == []
    await until(lambda: len(heard.ended) == 3)
    assert heard.seen == heard.done == [0, 1, 2]
    assert [result.value for result in heard.ended] == [0, 1, 2]


class Compiled(collections.abc.Coroutine[Any, Any, Any]):
    """What compilers of Python make of an async function."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self.inner.__await__()


@pytest.mark.parametrize("kind", ["lambda", "compiled", "task", "gather", "awaitable"])
async def test_whatever_can_be_awaited_is_awaited_before_the_message_counts_as_handled(heard: Heard, kind: str) -> None:
    class Awaitable:
        def __init__(self, payload: Any) -> None:
            self.payload = payload

        def __await__(self) -> Any:
            return heard.work(self.payload).__await__()

    make: dict[str, Callable[[Any], Any]] = {
        "lambda": heard.work,
        "compiled": lambda payload: Compiled(heard.work(payload)),
        "task": lambda payload: asyncio.ensure_future(heard.work(payload)),
        "gather": lambda payload: asyncio.gather(heard.work(payload)),
        "awaitable": Awaitable,
    }
    heard.bus.on("self.x", lambda topic, sender, payload: make[kind](payload))
    for number in range(3):
        heard.say(number)
        assert len(heard.ended) == len(heard.done) == 0
    await until(lambda: len(heard.ended) == 3)
    assert heard.done == [0, 1, 2]
    assert heard.errors == []


@types.coroutine
def stepping(value: Any) -> Iterator[None]:
    """Awaitable, and no coroutine by its type."""
    yield
    return value


@pytest.mark.parametrize("kind", ["task", "future of a task", "awaitable", "stepping", "coroutine"])
@pytest.mark.parametrize("handler", ["async", "lambda", "ordered"])
async def test_what_an_async_handler_returns_is_awaited_too(heard: Heard, kind: str, handler: str) -> None:
    class Awaitable:
        def __init__(self, payload: Any) -> None:
            self.payload = payload

        def __await__(self) -> Any:
            return heard.work(self.payload).__await__()

    def make(payload: Any) -> Any:
        match kind:
            case "task":
                return asyncio.ensure_future(heard.work(payload))
            case "future of a task":
                return asyncio.shield(asyncio.gather(heard.work(payload)))
            case "awaitable":
                return Awaitable(payload)
            case "stepping":
                return stepping(heard.work(payload))
        return heard.work(payload)

    async def returns(topic: str, sender: str, payload: Any) -> Any:
        return make(payload)

    given = (lambda *message: returns(*message)) if handler == "lambda" else returns
    heard.bus.on("self.x", given, ordered=handler == "ordered")
    heard.say(1)
    await until(lambda: heard.ended)
    assert heard.done == [1], "never acknowledged before its work is done"
    assert [result.value for result in heard.ended] == ([[1]] if kind == "future of a task" else [1])
    assert heard.errors == []


async def test_a_generator_based_coroutine_is_a_handler(heard: Heard) -> None:
    @types.coroutine
    def handler(topic: str, sender: str, payload: Any) -> Iterator[None]:
        yield
        heard.done.append(payload)

    heard.bus.on("self.x", handler)
    heard.say(1)
    assert heard.ended == []
    await until(lambda: heard.ended)
    assert heard.done == [1]


async def test_awaitables_without_end_are_an_error(heard: Heard, recwarn: pytest.WarningsRecorder) -> None:
    async def nested(depth: int) -> Any:
        return nested(depth - 1) if depth else "at last"

    async def handler(topic: str, sender: str, payload: int) -> Any:
        return nested(payload - 2)

    heard.bus.on("self.x", handler)
    heard.say(8)
    heard.say(9)
    await until(lambda: len(heard.ended) == 2)
    assert heard.ended[0].value == "at last"
    assert isinstance(heard.ended[1].error, TypeError)
    assert heard.errors == ["TypeError: the handler returned something to await that gave another, more than 8 times"]
    assert [str(warning.message) for warning in recwarn] == []


async def test_an_async_mock_is_called_once_for_each_message(heard: Heard) -> None:
    mock = AsyncMock(return_value="x")
    heard.bus.on("self.x", mock)
    for number in (1, 2):
        heard.say(number)
    await until(lambda: len(heard.ended) == 2)
    assert [call.args[2] for call in mock.call_args_list] == [1, 2]


@pytest.mark.parametrize("kind", ["async", "plain", "beside others"])
async def test_what_is_no_exception_stops_no_message_behind_it(heard: Heard, kind: str) -> None:
    def plain(topic: str, sender: str, payload: Any) -> None:
        heard.seen.append(payload)
        if payload == 1:
            raise Panic("boom")

    async def slow(topic: str, sender: str, payload: Any) -> None:
        await asyncio.sleep(0)
        plain(topic, sender, payload)

    heard.bus.on("self.x", slow if kind == "async" else plain)
    if kind == "beside others":
        heard.bus.once("self.x", lambda topic, sender, payload: None)
    for number in range(4):
        heard.say(number)
    await until(lambda: len(heard.ended) == 4)
    assert heard.seen == [0, 1, 2, 3]
    assert heard.errors == ["RuntimeError: the handler raised Panic: boom"]
    assert [result.error is None for result in heard.ended] == [True, False, True, True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_is_no_affair_of_the_bus(heard: Heard, error: type[BaseException]) -> None:
    def handler(topic: str, sender: str, payload: Any) -> None:
        raise error

    heard.bus.on("self.x", handler)
    with pytest.raises(error):
        heard.say(1)
    assert heard.errors == []


async def test_a_retry_out_of_something_awaited_calls_the_handler_again(heard: Heard) -> None:
    async def work() -> str:
        if len(heard.seen) == 1:
            raise Retry(after=0.001)
        return "at last"

    def handler(topic: str, sender: str, payload: Any) -> Any:
        heard.seen.append(payload)
        return work()

    heard.bus.on("self.x", handler)
    heard.say(1)
    await until(lambda: heard.ended)
    assert (heard.seen, heard.ended[0].value) == ([1, 1], "at last")


def no_arguments() -> None: ...


def five(topic: str, sender: str, payload: Any, message: Message, more: Any) -> None: ...


def keyword(topic: str, sender: str, *, payload: Any) -> None: ...


async def stream(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
    yield 1


async def wrapped_stream(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
    return stream(topic, sender, payload)


def generate(topic: str, sender: str, payload: Any) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (no_arguments, "topic, sender, payload"),
        (five, "requires 5 arguments; a handler is called with .* or with the message as a fourth"),
        (keyword, "topic, sender, payload"),
        (generate, "is a generator"),
        ("friends.chat", "not callable"),
        (b"", "not callable"),
    ],
)
def test_what_could_never_handle_a_message_is_refused_when_it_is_registered(handler: Any, text: str) -> None:
    bus = Bus(lambda error, topic: None)
    for register in (bus.on, bus.once):
        with pytest.raises(TypeError, match=text):
            register("self.x", handler)
    assert bus.subscribers() == []


def test_what_takes_more_than_it_is_given_is_welcome() -> None:
    bus = Bus(lambda error, topic: None)

    class Method:
        def handle(self, topic: str, sender: str, payload: Any, more: int = 1) -> None: ...

        async def __call__(self, *arguments: Any, **options: Any) -> None: ...

    for handler in (print, max, Method().handle, Method(), functools.partial(five, "first"), lambda *a: None):
        bus.on("self.x", handler)  # type: ignore[type-var]
    assert len(bus.subscribers()) == 6
    takes_message = [subscriber.takes_message for subscriber in bus.subscribers()]
    assert takes_message == [False, False, False, False, True, False], "the partial one requires four"


async def test_a_generator_that_is_returned_is_an_error_and_not_taken_for_a_value(heard: Heard) -> None:
    heard.bus.on("self.x", lambda *arguments: generate(*arguments))
    heard.say(1)
    [result] = heard.ended
    assert isinstance(result.error, TypeError)
    assert "generator" in heard.errors[0]


@pytest.mark.parametrize("handler", [stream, lambda *arguments: stream(*arguments), wrapped_stream])
async def test_what_nobody_asked_many_replies_to_is_refused_by_a_handler_that_gives_many(
    heard: Heard, handler: Callable[..., Any]
) -> None:
    heard.bus.on("self.x", handler)
    heard.say(1)
    await until(lambda: heard.ended)
    [result] = heard.ended
    assert isinstance(result.error, Refused)
    assert "request_many" in heard.errors[0]
    assert isinstance((await heard.bus.request("self", "x", "me", None)).error, Refused)


async def test_of_several_handlers_the_first_that_gives_anything_answers(heard: Heard) -> None:
    heard.bus.on("self.x", lambda *arguments: None)
    heard.bus.on("self.x", stream)
    heard.bus.on("self.x", lambda *arguments: 2)
    result = await heard.bus.request("self", "x", "me", None, series=True)
    assert inspect.isasyncgen(result.value)


async def test_values_are_given_back_as_they_are(heard: Heard) -> None:
    values = [1, "x", b"y", {"a": 1}, [1], (1,), 1.5, True, Panic]
    heard.bus.on("self.x", lambda topic, sender, payload: payload)
    for value in values:
        heard.say(value)
    assert [result.value for result in heard.ended] == values
    heard.say(None)
    assert heard.ended[-1] is DONE


async def test_coroutines_that_nobody_will_await_are_closed(recwarn: pytest.WarningsRecorder) -> None:
    heard = Heard()
    heard.bus.on("self.full", lambda topic, sender, payload: heard.work(payload), queue=1, policy="error")
    heard.bus.on("self.old", lambda topic, sender, payload: heard.work(payload), queue=1, policy="drop-oldest")
    for topic in ("full", "old"):
        route = heard.bus.route("self", topic)
        assert route is not None
        for number in range(4):
            heard.bus.deliver(route, "me", number, heard.ended)  # the same route: each calls the handler
    await heard.bus.close()
    heard.bus.deliver(route, "me", 4, heard.ended)
    assert [str(warning.message) for warning in recwarn] == []


async def test_a_handler_that_cancels_its_own_task_ends_no_subscription(heard: Heard) -> None:
    async def cancels(topic: str, sender: str, payload: Any) -> None:
        if payload == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        heard.done.append(payload)

    heard.bus.on("self.x", cancels)
    for payload in (1, 2, 3):
        heard.say(payload)
    await until(lambda: heard.done == [2, 3])
    assert len(heard.errors) == 1
    assert len(heard.ended) == 3
