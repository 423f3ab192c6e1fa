"""The bus: who hears what, in which order, and who is told of what failed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.errors import InvalidTopic
from mmplatform.messaging.bus import Bus
from tests.support.brute_force import matches
from tests.support.bus import Ended, Errors, Heard, Slow, others, turns

# Matching.

SEGMENTS = ["self", "friends", "public"]


names = st.lists(st.sampled_from(SEGMENTS), min_size=2, max_size=5)


patterns = st.just([">"]) | st.lists(st.sampled_from([*SEGMENTS, "*", ">"]), min_size=2, max_size=5)


@pytest.mark.slow
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
    assert not bus._listeners.patterns._root.children, "the index keeps nothing of what is gone"


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


@pytest.mark.parametrize("hashable", [True, False])
def test_off_compares_handlers(bus: Bus, hashable: bool) -> None:
    class Alike:
        __hash__ = (lambda self: 1) if hashable else None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

        def __call__(self, topic: str, sender: str, payload: Any) -> None: ...

    bus.on("self.a", heard := Heard())
    bus.on("self.a", Alike())
    assert bus.off("self.a", Alike())
    assert not bus.off("self.a", Alike())
    assert [subscriber.handler for subscriber in bus.subscribers()] == [heard]


def test_off_looks_at_no_other_handler(bus: Bus) -> None:
    """A pattern with thousands of handlers, as of a server with one a client, made each off() slower."""
    looked: list[object] = []

    class Counted:
        def __eq__(self, other: object) -> bool:
            looked.append(other)
            return self is other

        def __hash__(self) -> int:
            return id(self)

        def __call__(self, topic: str, sender: str, payload: Any) -> None: ...

    handlers = [Counted() for _ in range(500)]
    for handler in handlers:
        bus.on("self.a", handler)
    looked.clear()
    for handler in reversed(handlers):
        assert bus.off("self.a", handler)
    assert len(looked) <= len(handlers)
    assert not bus.emit("self", "a", "me", 1)


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


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retries": -1}, "retries=-1"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"retries": True}, "retries=True"),
        ({"backoff": -0.1}, "backoff=-0.1"),
        ({"backoff": float("nan")}, "backoff=nan"),
        ({"backoff": float("inf")}, "backoff=inf"),
        ({"ordered": True, "concurrency": 2}, "one message after the other"),
    ],
)
def test_bounds_of_retries_are_refused(bus: Bus, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bus.on("self.a", Heard(), **options)
    assert bus.subscribers() == []


def test_whoever_wants_to_know_is_told_of_new_subscriptions(bus: Bus) -> None:
    found: list[bool] = []
    bus.subscribed = lambda: found.append(bus.route("self", "a") is not None)
    bus.on("self.b", Heard())
    bus.once("self.a", Heard())
    assert found == [False, True]


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
    results = Ended()

    async def awaited(topic: str, sender: str, payload: Any) -> None:
        await lost

    def plain(topic: str, sender: str, payload: Any) -> None:
        lost.result()

    for pattern, handler in (("self.a", awaited), ("self.b", plain), ("self.c", plain), ("self.c", awaited)):
        bus.on(pattern, handler)
    for topic in "abca":
        route = bus.route("self", topic)
        assert route is not None
        result = bus.deliver(route, "me", 0, results)
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
    assert len(errors) == 1, "the handler did not end by itself"
    slow.gate.set()
    bus.emit("self", "a", "me", 2)
    await turns()
    assert slow.done == [2], "the next message starts a new one"
    await bus.close()
