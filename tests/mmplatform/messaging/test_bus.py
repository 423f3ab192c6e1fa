"""The bus: who hears what, in which order, and what a slow or failing handler can and cannot do to others."""

import asyncio
import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.errors import InvalidTopic, NoResponders, NotRunning, QueueFull
from mmplatform.message import Retry
from mmplatform.messaging import bus as module
from mmplatform.messaging.bus import MAX_ROUTES, Bus
from mmplatform.messaging.subscriber import UNHELD, Result
from tests.support.brute_force import matches


class Errors(list[tuple[Exception, str]]):
    """What the error hook was told."""

    def __call__(self, error: Exception, topic: str) -> None:
        self.append((error, topic))

    @property
    def topics(self) -> list[str]:
        return [topic for _, topic in self]


@pytest.fixture
def errors() -> Errors:
    return Errors()


@pytest.fixture
def bus(errors: Errors) -> Bus:
    return Bus(errors)


class Heard(list[tuple[str, str, Any]]):
    """A plain handler that keeps what it got."""

    def __call__(self, topic: str, sender: str, payload: Any) -> None:
        self.append((topic, sender, payload))

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Heard) else super().__eq__(other)

    def __hash__(self) -> int:
        return id(self)

    @property
    def payloads(self) -> list[Any]:
        return [payload for _, _, payload in self]


class Slow:
    """An async handler that waits at its gate and keeps what it got; ``running`` counts those inside."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[Any] = []
        self.done: list[Any] = []
        self.running = self.most = 0

    async def __call__(self, topic: str, sender: str, payload: Any) -> Any:
        self.begun.append(payload)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        self.done.append(payload)
        return payload


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


# Matching.

SEGMENTS = ["a", "b", "c"]
names = st.lists(st.sampled_from(SEGMENTS), min_size=2, max_size=5)
patterns = st.lists(st.sampled_from([*SEGMENTS, "*", ">"]), min_size=1, max_size=5)


@settings(max_examples=500, deadline=None)
@given(st.lists(patterns, max_size=8), st.lists(names, min_size=1, max_size=6), st.data())
def test_a_name_reaches_exactly_the_patterns_that_match(
    chosen: list[list[str]], asked: list[list[str]], data: st.DataObject
) -> None:
    bus = Bus(Errors())
    live: list[tuple[list[str], list[Any], Callable[..., None]]] = []

    def check() -> None:
        for name in asked:
            for _, heard, _ in live:
                heard.clear()
            expected = [matches(pattern, name) for pattern, _, _ in live]
            assert bus.emit(name[0], ".".join(name[1:]), "me", 1) is any(expected)
            assert [len(heard) for _, heard, _ in live] == expected

    for pattern in chosen:
        heard: list[Any] = []
        handler = bus.on(".".join(pattern), lambda *message, heard=heard: heard.append(message))
        live.append((pattern, heard, handler))
        check()
    while live:
        pattern, _, handler = live.pop(data.draw(st.integers(0, len(live) - 1)))
        assert bus.off(".".join(pattern), handler)
        check()
    assert not bus._patterns._root.children, "the index keeps nothing of what is gone"


@pytest.mark.parametrize(
    ("pattern", "name", "hit"),
    [
        ("self.chat", "self.chat", True),
        ("self.chat", "friends.chat", False),
        ("self.chat", "self.chat.x", False),
        ("*.chat", "public.chat", True),
        ("*.chat", "public.a.chat", False),
        (">", "public.a.b.c", True),
        ("self.>", "self.a", True),
        (">.c", "self.a.b.c", True),
        (">.c", "self.c", True),
        ("self.>.c", "self.c", False),
        ("self.*.>", "self.a", False),
        (">.>", "self.a", True),
        (">.b.>", "self.b.b.b", True),
        ("self.a*", "self.a*", True),
        ("self.a*", "self.ab", False),
    ],
)
def test_wildcards_by_example(bus: Bus, pattern: str, name: str, hit: bool) -> None:
    heard = Heard()
    bus.on(pattern, heard)
    assert bus.emit(*name.split(".", 1), "me", 0) is hit
    assert len(heard) == hit


def test_many_wildcards_cost_time_in_proportion() -> None:
    bus = Bus(Errors())
    for depth in range(1, 60):
        bus.on(".".join([">", "a"] * depth), Heard())
    route = bus.route("a", ".".join(["a"] * 120))
    assert route is not None
    assert len(route.subscribers) == 59


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "x" * 256, None, 5, "a.\x00", "a.\ud800"]
)
def test_malformed_patterns_and_topics_are_refused(bus: Bus, pattern: Any) -> None:
    with pytest.raises(InvalidTopic):
        bus.on(pattern, Heard())
    with pytest.raises(InvalidTopic):
        bus.once(pattern)
    with pytest.raises(InvalidTopic):
        bus.emit("self", pattern, "me", 0)


@pytest.mark.parametrize("topic", ["*", ">", "a.*", ">.a"])
def test_a_topic_has_no_wildcards(bus: Bus, topic: str) -> None:
    bus.on(">", Heard())
    with pytest.raises(InvalidTopic, match="wildcards"):
        bus.emit("self", topic, "me", 0)


# Subscriptions.


def test_on_as_call_and_as_decorator(bus: Bus) -> None:
    heard = Heard()
    assert bus.on("self.a", heard) is heard

    @bus.on("self.a")
    def decorated(topic: str, sender: str, payload: Any) -> None:
        heard.append(("decorated", sender, payload))

    bus.emit("self", "a", "me", 7)
    assert heard == [("self.a", "me", 7), ("decorated", "me", 7)]
    decorated("x", "y", "z")
    assert heard[-1] == ("decorated", "y", "z")


def test_handlers_run_in_the_order_they_were_subscribed_whatever_their_pattern(bus: Bus) -> None:
    order: list[int] = []
    for number, pattern in enumerate([">", "self.a", "self.*", "*.a", "self.a", "self.>"]):
        bus.on(pattern, lambda topic, sender, payload, number=number: order.append(number))
    bus.emit("self", "a", "me", 0)
    assert order == [0, 1, 2, 3, 4, 5]


def test_once_as_call_and_as_decorator(bus: Bus) -> None:
    heard = Heard()
    bus.once("self.*", heard)

    @bus.once("self.a")
    def decorated(topic: str, sender: str, payload: Any) -> None:
        heard.append(("decorated", sender, payload))

    bus.emit("self", "a", "me", 1)
    assert not bus.emit("self", "a", "me", 2)
    assert heard == [("self.a", "me", 1), ("decorated", "me", 1)]
    assert bus.subscribers() == []


def test_once_runs_once_even_when_it_sends_to_itself(bus: Bus) -> None:
    heard: list[int] = []

    def again(topic: str, sender: str, payload: int) -> None:
        heard.append(payload)
        bus.emit("self", "a", sender, payload + 1)

    bus.once("self.a", again)
    bus.emit("self", "a", "me", 1)
    assert heard == [1]


def test_once_runs_once_for_two_holders_of_one_route(bus: Bus) -> None:
    heard = Heard()
    bus.once("self.a", heard)
    route = bus.route("self", "a")
    assert route is not None
    bus.deliver(route, "me", 1)
    bus.deliver(route, "me", 2)
    assert heard.payloads == [1]


async def test_once_with_an_async_handler(bus: Bus) -> None:
    slow = Slow()
    bus.once("self.a", slow)
    bus.emit("self", "a", "me", 1)
    assert not bus.emit("self", "a", "me", 2)
    slow.gate.set()
    await turns()
    assert slow.done == [1]
    assert not others(), "its worker is gone with it"


def test_off(bus: Bus) -> None:
    heard, other = Heard(), Heard()
    bus.on("self.a", heard)
    bus.on("self.a", other)
    assert bus.off("self.a", heard)
    assert not bus.off("self.a", heard)
    assert not bus.off("self.b", other)
    bus.emit("self", "a", "me", 1)
    assert (heard.payloads, other.payloads) == ([], [1])


def test_off_ends_one_subscription_at_a_time(bus: Bus) -> None:
    heard = Heard()
    bus.on("self.a", heard)
    bus.on("self.a", heard)
    bus.emit("self", "a", "me", 1)
    assert heard.payloads == [1, 1]
    assert bus.off("self.a", heard)
    bus.emit("self", "a", "me", 2)
    assert heard.payloads == [1, 1, 2]


def test_off_takes_bound_methods(bus: Bus) -> None:
    class Owner:
        def handle(self, topic: str, sender: str, payload: Any) -> None:
            raise AssertionError

    owner = Owner()
    bus.on("self.a", owner.handle)
    assert bus.off("self.a", owner.handle)
    assert not bus.emit("self", "a", "me", 1)


async def test_off_inside_a_handler_keeps_it_from_the_same_message(bus: Bus) -> None:
    heard = Heard()
    slow = Slow()
    bus.on("self.a", lambda topic, sender, payload: bus.off("self.a", heard))
    bus.on("self.a", heard)
    bus.on("self.a", slow)  # makes the route one that is looked at while it is walked
    bus.emit("self", "a", "me", 1)
    assert heard == []
    await bus.close()


async def test_off_handles_what_waits_and_then_ends_the_worker(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow)
    for number in range(3):
        bus.emit("self", "a", "me", number)
    await turns()
    bus.off("self.a", slow)
    slow.gate.set()
    await turns()
    assert slow.done == [0, 1, 2]
    assert not others()


async def test_off_ends_an_idle_worker(bus: Bus) -> None:
    slow = Slow()
    slow.gate.set()
    bus.on("self.a", slow)
    bus.emit("self", "a", "me", 0)
    await turns()
    assert len(others()) == 1
    bus.off("self.a", slow)
    await turns()
    assert not others()


def test_a_pattern_may_be_called_as_an_event_of_pyee(bus: Bus) -> None:
    bus.on("new_listener", Heard())
    bus.on("error", Heard())
    bus.on("self.a", heard := Heard())
    bus.emit("self", "a", "me", 1)
    assert heard.payloads == [1]


def test_subscribers_tells_who_listens(bus: Bus) -> None:
    bus.on("self.b", first := Heard())
    bus.on("self.a", second := Heard(), queue=5)
    assert [(s.pattern, s.handler, s.limit) for s in bus.subscribers()] == [
        ("self.b", first, 1024),
        ("self.a", second, 5),
    ]
    assert [s.handler for s in bus.subscribers("self.a")] == [second]


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"queue": 0}, {"policy": "lossy"}])
def test_bad_options_are_refused(bus: Bus, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bus.on("self.a", Heard(), **options)
    assert not bus.emit("self", "a", "me", 0)


# Errors.


def test_a_failing_handler_is_reported_and_stops_nobody(bus: Bus, errors: Errors) -> None:
    heard = Heard()
    failure = ValueError("no")

    def failing(topic: str, sender: str, payload: Any) -> None:
        raise failure

    bus.on("self.a", failing)
    bus.on("*.a", heard)
    bus.emit("self", "a", "me", 1)
    assert errors == [(failure, "self.a")]
    assert heard.payloads == [1]


async def test_a_failing_async_handler_is_reported_and_goes_on(bus: Bus, errors: Errors) -> None:
    heard = Heard()

    @bus.on("self.a")
    async def failing(topic: str, sender: str, payload: Any) -> None:
        if payload == 1:
            raise ValueError(payload)
        heard(topic, sender, payload)

    bus.on("self.a", heard)
    for payload in (1, 2):
        bus.emit("self", "a", "me", payload)
    await turns()
    assert [str(error) for error, _ in errors] == ["1"]
    assert errors.topics == ["self.a"]
    assert heard.payloads == [1, 2, 2]
    await bus.close()


async def test_every_failing_handler_is_reported(bus: Bus, errors: Errors) -> None:
    def plain(topic: str, sender: str, payload: Any) -> None:
        raise ValueError("plain")

    async def awaited(topic: str, sender: str, payload: Any) -> None:
        raise ValueError("awaited")

    bus.on("self.a", plain)
    bus.on("self.a", awaited)
    bus.once("self.a", plain)
    bus.emit("self", "a", "me", 1)
    await turns()
    assert sorted(str(error) for error, _ in errors) == ["awaited", "plain", "plain"]
    await bus.close()


async def test_a_cancelled_error_of_a_handler_counts_as_its_failure(bus: Bus, errors: Errors) -> None:
    """Else the message would never be finished, and nothing behind it acknowledged."""
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    lost.cancel()
    results: list[Result] = []

    async def awaited(topic: str, sender: str, payload: Any) -> None:
        await lost

    def plain(topic: str, sender: str, payload: Any) -> None:
        lost.result()

    for pattern, handler in (("self.a", awaited), ("self.b", plain), ("self.c", plain), ("self.c", awaited)):
        bus.on(pattern, handler)
    for topic in "abca":
        route = bus.route("self", topic)
        assert route is not None
        result = bus.deliver(route, "me", 0, results.append)
        if result is not None:
            results.append(result)
    await turns()
    assert sorted(errors.topics) == ["self.a", "self.a", "self.b", "self.c", "self.c"]
    assert len(results) == 4
    assert all(isinstance(result.error, RuntimeError) for result in results)
    await bus.close()


async def test_cancelling_a_worker_from_outside_ends_it(bus: Bus, errors: Errors) -> None:
    """asyncio.run() does so at its end, and waits for it."""
    slow = Slow()
    bus.on("self.a", slow)
    bus.emit("self", "a", "me", 1)
    await turns()
    (worker,) = others()
    worker.cancel()
    await asyncio.wait([worker])
    assert worker.cancelled()
    assert errors == []
    slow.gate.set()
    bus.emit("self", "a", "me", 2)
    await turns()
    assert slow.done == [2], "the next message starts a new one"
    await bus.close()


# Async handlers.


async def test_a_slow_handler_delays_nobody_else(bus: Bus) -> None:
    slow, heard = Slow(), Heard()
    bus.on("self.*", slow)
    bus.on("self.*", heard)
    for number in range(100):
        bus.emit("self", "a", "me", number)
    assert heard.payloads == list(range(100))
    await turns()
    assert slow.begun == [0]
    slow.gate.set()
    await turns()
    assert slow.done == list(range(100))
    await bus.close()


@pytest.mark.parametrize("concurrency", [1, 2, 5])
async def test_concurrency_bounds_how_many_run_and_they_start_in_order(bus: Bus, concurrency: int) -> None:
    slow = Slow()
    bus.on("self.a", slow, concurrency=concurrency)
    for _ in range(3):  # the second and third time with idle workers
        slow.begun.clear()
        slow.gate.clear()
        for number in range(20):
            bus.emit("self", "a", "me", number)
        await turns()
        assert slow.running == concurrency
        slow.gate.set()
        await turns(30)
        assert slow.begun == list(range(20))
        assert slow.most == concurrency
        assert len(others()) == 1, "one worker waits for more"
    await bus.close()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda slow: slow,
        lambda slow: slow.__call__,
        lambda slow: functools.partial(slow.__call__),
        lambda slow: lambda *arguments: slow(*arguments),
    ],
    ids=["object", "method", "partial", "lambda"],
)
async def test_whatever_gives_a_coroutine_is_async(bus: Bus, wrap: Callable[[Slow], Any]) -> None:
    slow = Slow()
    before, after = Heard(), Heard()
    bus.on("self.a", before)
    bus.on("self.a", wrap(slow))
    bus.on("self.a", after)
    for number in range(3):
        bus.emit("self", "a", "me", number)
    await turns()
    assert before.payloads == after.payloads == [0, 1, 2]
    assert slow.begun == [0], "in order, one after the other"
    slow.gate.set()
    await turns()
    assert slow.done == [0, 1, 2]
    await bus.close()


async def test_a_lambda_with_a_coroutine_may_be_used_once(bus: Bus) -> None:
    slow = Slow()
    slow.gate.set()
    bus.once("self.a", lambda *arguments: slow(*arguments))
    assert (await bus.request("self", "a", "me", 5)).value == 5
    assert slow.done == [5]
    await bus.close()


async def test_policy_block_makes_the_sender_wait(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow, queue=3)
    (subscriber,) = bus.subscribers()
    sent: list[int] = []

    async def send(number: int) -> None:
        route = bus.route("self", "a")
        assert route is not None
        await bus.room(route)
        bus.deliver(route, "me", number, lambda result: None)
        sent.append(number)

    senders = [asyncio.ensure_future(send(number)) for number in range(20)]
    await turns()
    assert len(sent) == 4, "one in hand, three waiting"
    assert subscriber.waiting == 3
    slow.gate.set()
    await asyncio.gather(*senders)
    await turns()
    assert slow.done == sent == list(range(20))
    assert subscriber.dropped == 0
    await bus.close()


async def test_room_waits_for_every_full_queue(bus: Bus) -> None:
    first, second = Slow(), Slow()
    bus.on("self.a", first, queue=1)
    bus.on("self.a", second, queue=1)
    bus.on("self.a", Slow(), queue=1, policy="error")
    route = bus.route("self", "a")
    assert route is not None
    for number in range(2):
        bus.deliver(route, "me", number, lambda result: None)
        await turns()
    waiting = asyncio.ensure_future(bus.room(route))
    first.gate.set()
    await turns()
    assert not waiting.done()
    second.gate.set()
    await turns()
    assert waiting.done()
    await bus.close()


async def test_room_does_not_wait_for_a_subscription_that_ends(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow, queue=1)
    route = bus.route("self", "a")
    assert route is not None
    for number in range(2):
        bus.deliver(route, "me", number, lambda result: None)
        await turns()
    waiting = asyncio.ensure_future(bus.room(route))
    await turns()
    bus.off("self.a", slow)
    await asyncio.wait_for(waiting, 1)
    assert bus.deliver(route, "me", 2, lambda result: None) is not None, "a stale route reaches nobody"
    await bus.close()
    assert slow.begun == [0]


async def test_what_nobody_holds_back_is_bounded_all_the_same(bus: Bus) -> None:
    """A flood of realtime messages must not fill the memory."""
    slow = Slow()
    bus.on("self.a", slow, queue=10)
    for number in range(1000):
        bus.emit("self", "a", "me", number)
    (subscriber,) = bus.subscribers()
    assert subscriber.waiting == 10 * UNHELD
    assert subscriber.dropped == 1000 - subscriber.waiting
    slow.gate.set()
    await turns()
    assert slow.done == list(range(10 * UNHELD))
    await bus.close()


async def test_policy_drop_oldest(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow, queue=3, policy="drop-oldest")
    (subscriber,) = bus.subscribers()
    results: list[Result] = []
    route = bus.route("self", "a")
    assert route is not None
    for number in range(10):
        bus.deliver(route, "me", number, results.append)
        if number == 0:
            await turns()
    await bus.room(route)
    assert subscriber.dropped == len(results) == 6
    assert all(isinstance(result.error, QueueFull) for result in results)
    slow.gate.set()
    await turns()
    assert slow.done == [0, 7, 8, 9]
    await bus.close()


async def test_policy_error(bus: Bus) -> None:
    slow, heard = Slow(), Heard()
    bus.on("self.a", slow, queue=3, policy="error")
    bus.on("self.a", heard)
    (subscriber,) = bus.subscribers("self.a")[:1]
    route = bus.route("self", "a")
    assert route is not None
    results = []
    for number in range(10):
        results.append(bus.deliver(route, "me", number, lambda result: None))
        if number == 0:
            await turns()
    assert subscriber.dropped == 6
    refused = [result.error for result in results if result is not None]
    assert len(refused) == 6
    assert all(isinstance(error, QueueFull) for error in refused)
    assert heard.payloads == list(range(10)), "the others get them all"
    slow.gate.set()
    await turns()
    assert slow.done == [0, 1, 2, 3]
    await bus.close()


# Retry.


def retries(times: int, after: float = 0.0) -> tuple[Callable[[str, str, Any], Any], list[Any]]:
    """A handler that wants each odd payload ``times`` times more, and what it was called with."""
    calls: list[Any] = []

    def handler(topic: str, sender: str, payload: Any) -> Any:
        calls.append(payload)
        if payload % 2 and calls.count(payload) <= times:
            raise Retry(after)
        return payload

    return handler, calls


def made_async(handler: Callable[[str, str, Any], Any]) -> Callable[[str, str, Any], Any]:
    async def awaited(topic: str, sender: str, payload: Any) -> Any:
        return handler(topic, sender, payload)

    return awaited


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_retry_postpones_one_message_and_lets_later_ones_pass(bus: Bus, errors: Errors, kind: str) -> None:
    handler, calls = retries(2)
    bus.on("self.a", handler if kind == "plain" else made_async(handler))
    results: dict[int, Result] = {}
    for number in range(4):
        route = bus.route("self", "a")
        assert route is not None
        result = bus.deliver(route, "me", number, functools.partial(results.__setitem__, number))
        if result is not None:
            results[number] = result
    await turns(20)
    assert [calls.index(number) for number in range(4)] == [0, 1, 2, 3]
    assert sorted(calls) == [0, 1, 1, 1, 2, 3, 3, 3]
    assert {number: result.value for number, result in results.items()} == {0: 0, 1: 1, 2: 2, 3: 3}
    assert errors == []
    await bus.close()


@pytest.mark.parametrize("kinds", ["ppp", "pap", "apa", "aaa", "ppa"])
async def test_retry_calls_only_the_handler_that_asked(bus: Bus, kinds: str) -> None:
    """Each of several handlers asks for its own number of repeats; the message is finished when all are."""
    times = [0, 3, 1]
    calls = []
    for count, kind in zip(times, kinds, strict=True):
        handler, called = retries(count)
        calls.append(called)
        bus.on("self.a", handler if kind == "p" else made_async(handler))
    results: list[Result] = []
    route = bus.route("self", "a")
    assert route is not None
    assert bus.deliver(route, "me", 1, results.append) is None
    await turns(30)
    assert [len(called) for called in calls] == [1, 4, 2]
    assert [result.value for result in results] == [1]
    await bus.close()


@pytest.mark.parametrize("first", ["value", "error"])
async def test_retry_keeps_the_result_of_earlier_handlers(bus: Bus, first: str) -> None:
    def earlier(topic: str, sender: str, payload: Any) -> Any:
        if first == "error":
            raise ValueError("earlier")
        return "earlier"

    handler, _ = retries(1)
    bus.on("self.a", earlier)
    bus.on("self.a", handler)
    result = await bus.request("self", "a", "me", 1)
    assert (result.value or str(result.error)) == "earlier"


async def test_retry_of_a_handler_that_unsubscribed_itself(bus: Bus) -> None:
    calls: list[Any] = []
    heard = Heard()

    def leaving(topic: str, sender: str, payload: Any) -> None:
        calls.append(payload)
        if bus.off("self.a", leaving):
            raise Retry(0)

    bus.on("self.a", leaving)
    bus.on("self.a", heard)
    bus.emit("self", "a", "me", 1)
    await turns()
    assert (calls, heard.payloads) == ([1, 1], [1])


async def test_retry_with_once(bus: Bus) -> None:
    handler, calls = retries(2)
    bus.once("self.a", handler)
    result = await bus.request("self", "a", "me", 1)
    assert result.value == 1
    assert calls == [1, 1, 1]


async def test_retry_after_off_still_finishes_the_message(bus: Bus) -> None:
    handler, calls = retries(1)
    awaited = made_async(handler)
    bus.on("self.a", awaited)
    asked = asyncio.ensure_future(bus.request("self", "a", "me", 1))
    await turns(1)
    bus.off("self.a", awaited)
    assert (await asked).value == 1
    assert calls == [1, 1]
    await turns()
    assert not others()


def test_retry_takes_any_number_of_seconds() -> None:
    assert Retry().after == 1.0
    assert Retry(-5).after == 0.0
    assert Retry(float("nan")).after == 0.0


# Requests.


async def test_a_request_returns_the_first_value(bus: Bus) -> None:
    slow = Slow()
    slow.gate.set()
    bus.on("self.a", Heard())
    bus.on("self.a", lambda topic, sender, payload: payload * 2)
    bus.on("self.a", lambda topic, sender, payload: "late")
    bus.on("self.b", slow)
    assert (await bus.request("self", "a", "me", 21)).value == 42
    assert (await bus.request("self", "b", "me", 7)).value == 7
    await bus.close()


async def test_a_request_returns_the_error(bus: Bus, errors: Errors) -> None:
    @bus.on("self.a")
    async def failing(topic: str, sender: str, payload: Any) -> None:
        raise ValueError("no")

    assert str((await bus.request("self", "a", "me", 1)).error) == "no"
    assert errors.topics == ["self.a"]
    await bus.close()


async def test_a_request_to_nobody_fails_at_once(bus: Bus) -> None:
    with pytest.raises(NoResponders, match=r"self\.a"):
        await bus.request("self", "a", "me", 1)


async def test_a_request_waits_for_room(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow, queue=1)
    asked = [asyncio.ensure_future(bus.request("self", "a", "me", number)) for number in range(5)]
    await turns()
    (subscriber,) = bus.subscribers()
    assert subscriber.waiting == 1
    slow.gate.set()
    assert [result.value for result in await asyncio.gather(*asked)] == list(range(5))
    await bus.close()


async def test_a_request_given_up_disturbs_nobody(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow)
    asked = asyncio.ensure_future(bus.request("self", "a", "me", 1))
    await turns()
    asked.cancel()
    await asyncio.wait([asked])
    slow.gate.set()
    await turns()
    assert slow.done == [1]
    await bus.close()


# Cache.


def test_the_cache_is_bounded(bus: Bus) -> None:
    bus.on("public.>", heard := Heard())
    for number in range(MAX_ROUTES + 10):
        bus.emit("public", f"t{number}", "me", number)
        bus.emit("friends", f"t{number}", "me", number)
    assert sum(map(len, bus.routes.values())) <= 2 * MAX_ROUTES
    assert len(heard) == MAX_ROUTES + 10


def test_a_match_is_looked_up_once(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    bus.on("self.>", heard := Heard())
    looked: list[str] = []
    monkeypatch.setattr(module, "check_topic", lambda topic: looked.append(topic))
    for _ in range(3):
        bus.emit("self", "a", "me", 0)
        bus.emit("friends", "a", "me", 0)
    assert looked == ["a", "a"]
    assert len(heard) == 3
    bus.on("friends.a", other := Heard())
    bus.emit("friends", "a", "me", 0)
    assert len(other) == 1, "a new subscription is heard at once"


# Closing.


async def test_close_leaves_no_task_and_no_timer(bus: Bus) -> None:
    slow = Slow()
    handler, _ = retries(1, after=1000.0)
    bus.on("self.a", slow, concurrency=3)
    bus.once("self.a", slow)
    bus.on("self.b", slow)
    bus.on("self.r", handler)
    bus.on("self.r", made_async(handler))
    for number in range(10):
        for topic in "abr":
            bus.emit("self", topic, "me", number)
    await turns()
    assert len(others()) == 6
    bus.off("self.b", slow)
    timers = list(bus._timers)
    await bus.close()
    assert not others()
    assert timers
    assert all(timer.cancelled() for timer in timers)
    assert slow.done == []
    await bus.close()


async def test_what_close_interrupts_is_not_finished(bus: Bus) -> None:
    """It is not acknowledged, and comes again."""
    slow = Slow()
    bus.on("self.a", slow, queue=2)
    results: list[Result] = []
    route = bus.route("self", "a")
    assert route is not None
    for number in range(2):
        bus.deliver(route, "me", number, results.append)
        await turns()
    await bus.close()
    bus.deliver(route, "me", 2, results.append)
    slow.gate.set()
    await turns()
    assert slow.begun == [0]
    assert results == []
    assert not others()


async def test_close_ends_those_who_wait(bus: Bus) -> None:
    slow = Slow()
    bus.on("self.a", slow, queue=1)
    waiting = [asyncio.ensure_future(bus.request("self", "a", "me", number)) for number in range(4)]
    await turns()
    waiting[0].cancel()
    await turns()
    await bus.close()
    await asyncio.wait(waiting, timeout=1)
    assert all(isinstance(task.exception(), NotRunning) for task in waiting[1:])
    with pytest.raises(NotRunning):
        await bus.request("self", "a", "me", 5)


async def test_a_handler_may_close_the_bus(bus: Bus) -> None:
    done: list[str] = []

    async def stopping(topic: str, sender: str, payload: Any) -> None:
        await bus.close()
        done.append(topic)
        raise Retry(1000)

    bus.on("self.stop", stopping)
    bus.emit("self", "stop", "me", 0)
    bus.emit("self", "stop", "me", 1)
    await turns(10)
    assert done == ["self.stop"]
    assert not others()
    assert not bus._timers


async def test_nothing_keeps_a_payload_once_it_is_handled(bus: Bus) -> None:
    class Payload:
        pass

    async def forgetful(topic: str, sender: str, payload: Any) -> None:
        return None

    bus.on("self.a", forgetful)
    bus.on("self.b", lambda topic, sender, payload: None)
    payload = Payload()
    kept = weakref.ref(payload)
    for topic in "ab":
        bus.emit("self", topic, "me", payload)
    await turns()
    del payload
    gc.collect()
    assert kept() is None
    await bus.close()
