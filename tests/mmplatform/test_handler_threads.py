"""Handlers of programs without an event loop run in threads: as many as wait, also those that are generators."""

import functools
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mmplatform import MMError, RequestTimeout, sync
from tests.support.waiting import wait_until

MANY = 40  # handlers that wait for another one


@pytest.fixture
def node() -> Iterator[sync.Platform]:
    with sync.Platform(transports=[], connection_info=()) as made:
        yield made


def count(topic: str, sender: str, payload: int) -> Generator[int, None, None]:
    yield from range(payload)


def test_many_handlers_may_each_wait_for_another_one_of_their_node(node: sync.Platform) -> None:
    all_at_work = threading.Barrier(MANY)

    def order(topic: str, sender: str, payload: int) -> Any:
        all_at_work.wait(3)
        return node.request("price", payload=payload, timeout=3)

    def ask(number: int) -> Any:
        try:
            return node.request("order", payload=number, timeout=10)
        except MMError as error:
            return error

    node.on("self.price", lambda topic, sender, payload: 2 * payload)
    node.on("self.order", order, concurrency=MANY)
    with ThreadPoolExecutor(MANY) as pool:
        assert list(pool.map(ask, range(MANY))) == [2 * number for number in range(MANY)]


def too_few(topic: str, payload: Any) -> Generator[int, None, None]:
    yield 1


def named_only(topic: str, sender: str, payload: Any, *, more: int) -> Generator[int, None, None]:
    yield more


class TooFew:
    def __call__(self, topic: str) -> Generator[str, None, None]:
        yield topic


@pytest.mark.parametrize("handler", [too_few, named_only, TooFew(), lambda topic: None, "handler"])
def test_what_can_handle_no_message_is_refused_as_it_subscribes(node: sync.Platform, handler: Any) -> None:
    with pytest.raises(TypeError, match="is a generator and yields replies"):
        node.on("self.n", handler)


async def _replies(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
    yield 1


class AsyncReplies:
    async def __call__(self, topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        yield 1


@pytest.mark.parametrize("handler", [_replies, AsyncReplies()])
def test_an_async_generator_is_refused_as_it_subscribes(node: sync.Platform, handler: Any) -> None:
    with pytest.raises(TypeError, match="plain functions"):
        node.on("self.n", handler)


def decorated(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    def around(*arguments: Any) -> Any:
        return handler(*arguments)

    return around


class Count:
    def __call__(self, topic: str, sender: str, payload: int) -> Generator[int, None, None]:
        yield from range(payload)


@pytest.mark.parametrize(
    "handler",
    [count, decorated(count), functools.partial(count), Count(), lambda *arguments: (n for n in range(arguments[2]))],
    ids=["function", "decorated", "partial", "object", "lambda"],
)
def test_whatever_gives_a_generator_gives_replies(node: sync.Platform, handler: Any) -> None:
    try:
        node.on("self.count", handler)
        given: Any = list(node.request_many("count", payload=3, timeout=5))
    except (MMError, TypeError) as error:
        given = error
    assert given == [0, 1, 2]


@pytest.fixture
def slow(node: sync.Platform) -> "Slow":
    made = Slow()
    node.on("self.slow", made.replies)
    return made


class Slow:
    """A generator whose second step blocks, and which notes its end."""

    def __init__(self) -> None:
        self.blocks, self.ended = threading.Event(), threading.Event()

    def replies(self, topic: str, sender: str, payload: float) -> Generator[int, None, None]:
        try:
            yield 1
            self.blocks.wait(payload)
            yield 2
        finally:
            self.ended.set()


def test_a_reader_that_gives_up_is_not_kept_by_a_step_that_blocks(node: sync.Platform, slow: Slow) -> None:
    with pytest.raises(RequestTimeout):
        list(node.request_many("slow", payload=5.0, timeout=0.05))
    assert not slow.ended.is_set()
    slow.blocks.set()
    wait_until(slow.ended.is_set)


def test_a_generator_that_nobody_reads_on_may_end_before_the_node_does(slow: Slow, node: sync.Platform) -> None:
    with pytest.raises(RequestTimeout):
        list(node.request_many("slow", payload=0.3, timeout=0.05))
    assert not slow.ended.is_set()
    node.stop()
    assert slow.ended.is_set()


def test_handlers_that_come_after_one_that_blocks_have_threads_of_their_own(node: sync.Platform, slow: Slow) -> None:
    with pytest.raises(RequestTimeout):
        list(node.request_many("slow", payload=5.0, timeout=0.05))
    node.on("self.n", lambda topic, sender, payload: payload)
    assert node.request("n", payload=1, timeout=3) == 1
    assert not slow.ended.is_set()
    slow.blocks.set()
