"""The bus: handlers that ask for a message again, requests, and the end."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.errors import NoResponders, NotRunning
from mmplatform.message import Retry
from mmplatform.messaging import bus as module
from mmplatform.messaging.bus import MAX_PUBLIC_ROUTES, MAX_ROUTES, MAX_UNHEARD, UNHEARD, Bus, forget_oldest
from mmplatform.messaging.subscriber import Subscriber
from tests.support.bus import Ended, Errors, Heard, Slow, others, turns

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
    ended = {number: Ended() for number in range(4)}
    for number in range(4):
        route = bus.route("self", "a")
        assert route is not None
        result = bus.deliver(route, "me", number, ended[number])
        if result is not None:
            ended[number](result)
    await turns(20)
    assert [calls.index(number) for number in range(4)] == [0, 1, 2, 3]
    assert sorted(calls) == [0, 1, 1, 1, 2, 3, 3, 3]
    assert {number: result.value for number, [result] in ended.items()} == {0: 0, 1: 1, 2: 2, 3: 3}
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
    results = Ended()
    route = bus.route("self", "a")
    assert route is not None
    assert bus.deliver(route, "me", 1, results) is None
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
    assert len(bus.routes["public"]) <= MAX_PUBLIC_ROUTES
    assert len(bus.routes["friends"]) <= MAX_ROUTES
    assert len(heard) == MAX_ROUTES + 10


def test_twenty_thousand_topics_are_looked_up_once_each(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = Counter[str]()
    matching = bus._listeners.matching

    def counted(name: str) -> list[Subscriber]:
        looked_up[name] += 1
        return matching(name)

    monkeypatch.setattr(bus._listeners, "matching", counted)
    bus.on("friends.>", Heard())
    for number in [*range(20_000)] * 3:
        bus.emit("friends", f"t{number}", "me", number)
    assert looked_up.total() == 20_000


def test_of_a_full_cache_the_older_half_goes() -> None:
    cache: dict[str, Any] = {str(number): None for number in range(10)}
    forget_oldest(cache, 11)
    assert len(cache) == 10
    forget_oldest(cache, 10)
    assert list(cache) == ["5", "6", "7", "8", "9"]
    forget_oldest(one := {"0": None}, 1)
    assert one == {}


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
    timers = list(bus._work._timers)
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
    results = Ended()
    route = bus.route("self", "a")
    assert route is not None
    for number in range(2):
        bus.deliver(route, "me", number, results)
        await turns()
    await bus.close()
    bus.deliver(route, "me", 2, results)
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
    assert not bus._work._timers


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


def test_topics_of_strangers_that_nobody_hears_are_remembered_apart_and_only_until_somebody_does(bus: Bus) -> None:
    bus.on("friends.known", Heard())
    assert bus.route("friends", "known") is not None
    for number in range(3 * MAX_UNHEARD):
        assert bus.route("public", f"t{number}") is None
    assert len(bus.routes[UNHEARD]) <= MAX_UNHEARD
    assert "public" not in bus.routes
    assert list(bus.routes["friends"]) == ["known"]
    bus.on("public.t1", Heard())
    assert bus.route("public", "t1") is not None
