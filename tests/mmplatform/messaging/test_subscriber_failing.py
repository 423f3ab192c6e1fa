"""Handlers that fail: run again, alone, after a while; and what is never run again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.errors import NotRunning, QueueFull, Refused
from mmplatform.message import Retry
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.handlers import Handler
from mmplatform.messaging.results import DONE, NOBODY, Unhandled
from tests.support.bus import Ended, Errors, Heard, Slow, turns
from tests.support.waiting import until


class Fails(list[Any]):
    """A handler that raises ``error`` at odd payloads, ``times`` times each, and keeps what it was called with."""

    def __init__(self, times: int, error: Callable[[], BaseException] = lambda: ValueError("no")) -> None:
        super().__init__()
        self.times, self.error = times, error

    def handle(self, topic: str, sender: str, payload: Any) -> Any:
        self.append(payload)
        if payload % 2 and self.count(payload) <= self.times:
            raise self.error()
        return payload

    def of(self, kind: str) -> Handler:
        async def awaited(topic: str, sender: str, payload: Any) -> Any:
            await asyncio.sleep(0)
            return self.handle(topic, sender, payload)

        return {"plain": self.handle, "async": awaited, "lambda": lambda *message: awaited(*message)}[kind]


def say(bus: Bus, payload: Any, ended: Ended | None) -> None:
    route = bus.route("self", "a")
    assert route is not None
    result = bus.deliver(route, "me", payload, ended)
    if result is not None and ended is not None:
        ended(result)


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "lambda"])


@KINDS
async def test_a_handler_that_fails_is_run_again_while_later_messages_pass(bus: Bus, errors: Errors, kind: str) -> None:
    fails, ended = Fails(3), Ended(durable=True)
    bus.on("self.a", fails.of(kind), backoff=0.001)
    for number in range(4):
        say(bus, number, ended)
    await until(lambda: len(ended) == 4)
    assert [fails.index(number) for number in range(4)] == [0, 1, 2, 3]
    assert sorted(fails) == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3]
    assert sorted(result.value for result in ended) == [0, 1, 2, 3]
    assert len(errors) == 6, "each try is told once"
    await bus.close()


@KINDS
@pytest.mark.parametrize("retries", [0, 1, 5])
async def test_after_so_many_tries_it_has_failed(bus: Bus, errors: Errors, kind: str, retries: int) -> None:
    fails, ended = Fails(100), Ended(durable=True)
    bus.on("self.a", fails.of(kind), backoff=0.0, retries=retries)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert fails == [1] * (1 + retries)
    assert len(errors) == 1 + retries
    assert [(type(result.error), result.value) for result in ended] == [(ValueError, None)]
    await bus.close()


@pytest.mark.parametrize("kinds", ["ppp", "aaa", "pap", "apa"])
async def test_only_the_handlers_that_failed_are_run_again(bus: Bus, kinds: str) -> None:
    handlers = [Fails(0), Fails(2), Fails(1)]
    for fails, kind in zip(handlers, kinds, strict=True):
        bus.on("self.a", fails.of("plain" if kind == "p" else "async"), backoff=0.0)
    ended = Ended(durable=True)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert handlers == [[1], [1, 1, 1], [1, 1]]
    assert [result.error for result in ended] == [None]
    await bus.close()


async def test_the_pauses_double(bus: Bus) -> None:
    fails = Fails(100)
    bus.on("self.a", fails.handle, retries=3, backoff=7.0)
    asked: list[float] = []
    bus.work.later = lambda delay, again, pending, tries: (asked.append(delay), again(pending, tries))  # type: ignore
    say(bus, 1, ended := Ended(durable=True))
    assert asked == [7.0, 14.0, 28.0]
    assert len(ended) == 1


@KINDS
async def test_realtime_messages_and_requests_are_not_run_again(bus: Bus, errors: Errors, kind: str) -> None:
    fails, ended = Fails(1), Ended(durable=False)
    bus.on("self.a", fails.of(kind), backoff=0.0)
    say(bus, 1, ended)
    say(bus, 3, None)
    assert isinstance((await bus.request("self", "a", "me", 5)).error, ValueError)
    await until(lambda: ended)
    await turns(20)
    assert fails == [1, 3, 5]
    assert len(errors) == 3
    await bus.close()


@KINDS
@pytest.mark.parametrize("error", [Refused("busy"), QueueFull("full")])
async def test_an_answer_is_not_a_failure(bus: Bus, kind: str, error: Exception) -> None:
    fails, ended = Fails(1, lambda: error), Ended(durable=True)
    bus.on("self.a", fails.of(kind), backoff=0.0)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert (fails, ended[0].error) == ([1], error)
    await bus.close()


@KINDS
async def test_retry_is_not_counted_as_a_failure(bus: Bus, errors: Errors, kind: str) -> None:
    fails, ended = Fails(10, lambda: Retry(0)), Ended(durable=True)
    bus.on("self.a", fails.of(kind), retries=0)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert len(fails) == 11
    assert (ended[0].value, errors) == (1, [])
    await bus.close()


async def test_once_is_run_again_too(bus: Bus) -> None:
    fails, ended = Fails(2), Ended(durable=True)
    bus.once("self.a", fails.handle, backoff=0.0)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert fails == [1, 1, 1]
    assert ended[0].error is None


async def test_not_running_is_a_failure_like_others_while_the_node_runs(bus: Bus) -> None:
    fails, ended = Fails(1, lambda: NotRunning("another node")), Ended(durable=True)
    bus.on("self.a", fails.of("async"), backoff=0.0)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert fails == [1, 1]
    await bus.close()


# Ordered.


@pytest.mark.parametrize("kind", ["plain", "async", "lambda"])
@pytest.mark.parametrize("error", [lambda: ValueError("no"), lambda: Retry(0.001)])
async def test_ordered_holds_later_messages(bus: Bus, kind: str, error: Callable[[], BaseException]) -> None:
    fails, ended = Fails(2, error), Ended(durable=True)
    bus.on("self.a", fails.of(kind), backoff=0.001, ordered=True)
    for number in range(4):
        say(bus, number, ended)
    await until(lambda: len(ended) == 4)
    assert fails == [0, 1, 1, 1, 2, 3, 3, 3]
    assert [result.value for result in ended] == [0, 1, 2, 3]
    await bus.close()


async def test_ordered_goes_on_after_the_last_try(bus: Bus) -> None:
    fails, ended = Fails(100), Ended(durable=True)
    bus.on("self.a", fails.handle, backoff=0.0, retries=1, ordered=True)
    for number in range(3):
        say(bus, number, ended)
    await until(lambda: len(ended) == 3)
    assert fails == [0, 1, 1, 2]
    assert [result.error is None for result in ended] == [True, False, True]
    await bus.close()


async def test_ordered_still_handles_what_waits_after_off(bus: Bus) -> None:
    fails, ended = Fails(1), Ended(durable=True)
    bus.on("self.a", handler := fails.handle, backoff=0.001, ordered=True)
    for number in range(3):
        say(bus, number, ended)
    bus.off("self.a", handler)
    await until(lambda: len(ended) == 3)
    assert fails == [0, 1, 1, 2]


# As if not subscribed.


@KINDS
async def test_all_handlers_that_say_so_count_as_nobody(bus: Bus, errors: Errors, kind: str) -> None:
    first, second = (Fails(9, Unhandled).of(kind) for _ in range(2))
    bus.on("self.a", first)
    bus.on("self.a", second)
    ended = Ended(durable=True)
    say(bus, 1, ended)
    await until(lambda: ended)
    assert ended == [NOBODY]
    bus.off("self.a", first)
    bus.on("self.a", heard := Heard())
    bus.on("self.a", first)
    say(bus, 1, ended)
    await until(lambda: len(ended) == 2)
    assert ended[1] is DONE
    assert (heard.payloads, errors) == ([1], [])
    bus.off("self.a", second)
    await bus.close()


# Errors that cannot speak.


class Mute(Exception):
    """Says nothing about itself."""

    def __str__(self) -> str:
        raise RuntimeError("mute")


class MutePanic(BaseException):
    """One that is no Exception."""

    def __repr__(self) -> str:
        raise RuntimeError("mute")


@KINDS
@pytest.mark.parametrize("error", [Mute, MutePanic, GeneratorExit])
async def test_whatever_a_handler_raises_settles_its_message(
    bus: Bus, errors: Errors, kind: str, error: type[BaseException]
) -> None:
    ended = Ended()
    bus.on("self.a", Fails(1, error).of(kind))
    for number in (1, 2):
        say(bus, number, ended)
    await until(lambda: len(ended) == 2)
    [(told, _)] = errors
    assert str(told) == f"the handler raised {error.__name__}" + (": " if error is GeneratorExit else "")
    assert sorted(str(result.error or "") for result in ended) == ["", str(told)]
    await bus.close()


def test_a_worker_that_is_closed_has_not_handled_its_message(bus: Bus, errors: Errors) -> None:
    """So is whatever still runs when somebody gives up an event loop."""
    loop, slow, ended = asyncio.new_event_loop(), Slow(), Ended(durable=True)
    bus.on("self.a", slow)

    async def begin() -> None:
        say(bus, 1, ended)
        await turns()

    loop.run_until_complete(begin())
    [worker] = bus.work._workers
    worker._log_destroy_pending = False  # type: ignore[attr-defined]
    worker.get_coro().close()
    loop.close()
    assert (slow.begun, slow.running) == ([1], 0)
    assert (ended, errors) == ([], [])


async def test_whoever_is_told_of_errors_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    def told(error: Exception, topic: str) -> None:
        raise KeyError("told")

    bus, ended = Bus(told), Ended()
    bus.on("self.a", Fails(1).handle)
    say(bus, 1, ended)
    assert isinstance(ended[0].error, ValueError)
    assert "whoever is told of failing handlers failed" in caplog.text
