"""Subscriptions to payloads of a type: every way to write them, and what becomes of what does not fit."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mmplatform.errors import Refused
from mmplatform.message import Message
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.results import DONE, Result
from mmplatform.payload_types import Unfit
from tests.support.bus import Ended, Errors, Heard
from tests.support.waiting import until


@dataclass
class Reading:
    celsius: float


GOOD, WRONG = {"celsius": 21.5}, {"celsius": "warm"}
REASON = "bad-payload: payload.celsius: Expected `float`, got `str`"


def deliver(bus: Bus, payload: object, finished: Ended | None = None, topic: str = "reading") -> Result | None:
    route = bus.route("friends", topic)
    assert route is not None
    return bus.deliver(route, "bob", payload, finished)


def as_given(bus: Bus, handler: Any) -> None:
    assert bus.on("friends.reading", Reading, handler) is handler


def as_decorator(bus: Bus, handler: Any) -> None:
    assert bus.on("friends.reading", Reading)(handler) is handler


def for_once(bus: Bus, handler: Any) -> None:
    assert bus.once("friends.reading", Reading, handler) is handler


def once_as_decorator(bus: Bus, handler: Any) -> None:
    assert bus.once("friends.reading", Reading)(handler) is handler


@pytest.mark.parametrize("subscribe", [as_given, as_decorator, for_once, once_as_decorator])
async def test_a_handler_is_given_its_type(bus: Bus, subscribe: Callable[[Bus, Any], None]) -> None:
    plain, waiting = Heard(), asyncio.Queue[Any]()

    async def handler(topic: str, sender: str, reading: Reading, message: Message) -> float:
        waiting.put_nowait((reading, message.id))
        return reading.celsius

    subscribe(bus, plain)
    subscribe(bus, handler)
    ended = Ended()
    assert deliver(bus, GOOD, ended) is None
    assert await waiting.get() == (Reading(21.5), "1.2.3@me")
    await until(lambda: bool(ended))
    assert plain.payloads == [Reading(21.5)]
    assert [result.value for result in ended] == [21.5]
    await bus.close()


def test_the_wrong_payload_is_refused_and_the_handler_not_called(bus: Bus, errors: Errors) -> None:
    heard = bus.on("friends.reading", Reading, Heard())
    result = deliver(bus, WRONG, Ended(durable=True))
    assert isinstance(result, Result)
    assert (type(result.error), str(result.error)) == (Unfit, REASON)
    assert (heard, errors) == ([], []), "no handler has failed"
    [subscriber] = bus.subscribers()
    assert subscriber.unfit == 1
    assert deliver(bus, GOOD, Ended()) is DONE
    assert heard.payloads == [Reading(21.5)]


async def test_a_coroutine_is_not_begun_with_the_wrong_payload(bus: Bus, errors: Errors) -> None:
    begun: list[Reading] = []

    @bus.on("friends.reading", Reading)
    async def handler(topic: str, sender: str, reading: Reading) -> None:
        begun.append(reading)

    ended = Ended(durable=True)
    for payload in (WRONG, GOOD):
        deliver(bus, payload, ended)
    await until(lambda: len(ended) == 2)
    assert [str(result.error) for result in ended] == [REASON, "None"]
    assert (begun, errors) == ([Reading(21.5)], [])
    await bus.close()


def test_others_get_what_one_does_not_take(bus: Bus) -> None:
    heard = [bus.on("friends.>", Heard()), bus.on("friends.*", dict[str, str], Heard())]
    bus.on("friends.reading", Reading, Heard())
    result = deliver(bus, WRONG, Ended())
    assert isinstance(result, Result)
    assert str(result.error) == REASON
    assert [one.payloads for one in heard] == [[WRONG], [WRONG]]


def test_what_nobody_waits_for_is_dropped_and_counted(bus: Bus, errors: Errors) -> None:
    heard = bus.on("friends.reading", Reading, Heard())
    for _ in range(3):
        deliver(bus, WRONG)
    assert (heard, errors, bus.subscribers()[0].unfit) == ([], [], 3)


def test_a_check_that_refuses_in_its_own_words_is_heard(bus: Bus, errors: Errors) -> None:
    @dataclass
    class Strict:
        celsius: float

        def __post_init__(self) -> None:
            raise Refused("too cold")

    bus.on("friends.reading", Strict, Heard())
    result = deliver(bus, GOOD, Ended())
    assert isinstance(result, Result)
    assert str(result.error) == "too cold"


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_the_wrong_payload_does_not_use_up_a_handler_for_one_message(bus: Bus, kind: str) -> None:
    heard, subscribed = Heard(), list[int]()
    bus.subscribed = lambda: subscribed.append(1)

    async def coroutine(topic: str, sender: str, reading: Reading) -> None:
        heard(topic, sender, reading)

    bus.once("friends.reading", Reading, heard if kind == "plain" else coroutine)
    for _ in range(2):
        ended = Ended()
        if (result := deliver(bus, WRONG, ended)) is not None:
            ended(result)
        await until(lambda ended=ended: bool(ended))
        assert str(ended[0].error) == REASON
    assert len(subscribed) == 3, "what is kept for it is handed over once more"
    deliver(bus, GOOD)
    await until(lambda: heard.payloads == [Reading(21.5)])
    assert bus.route("friends", "reading") is None
    await bus.close()


def test_several_types_on_one_topic_and_an_end_by_the_handler(bus: Bus) -> None:
    handler = Heard()
    bus.on("friends.reading", Reading, handler)
    bus.on("friends.reading", dict[str, float], handler)
    bus.on("friends.reading", handler)
    deliver(bus, GOOD)
    assert handler.payloads == [Reading(21.5), GOOD, GOOD]
    assert [bus.off("friends.reading", handler) for _ in range(4)] == [True, True, True, False]


def test_unions_and_plain_types(bus: Bus) -> None:
    heard: Heard = Heard()
    bus.on("friends.reading", Reading | int | None, heard)
    for payload in (GOOD, 5, None):
        deliver(bus, payload)
    assert heard.payloads == [Reading(21.5), 5, None]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((complex, print), {}, TypeError),
        ((Heard, None), {}, TypeError),
        ((Reading, "no function"), {}, TypeError),
        (("Reading", print), {}, TypeError),
        ((print, print), {}, TypeError),
        ((Reading, print), {"raw": True}, ValueError),
    ],
)
def test_what_cannot_be_subscribed(
    bus: Bus, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        bus.on("friends.reading", *arguments, **options)
    assert bus.subscribers() == []


def test_what_has_no_type_is_called_as_it_is(bus: Bus) -> None:
    def handler(topic: str, sender: str, payload: Any) -> None: ...

    bus.on("friends.reading", handler)
    route = bus.route("friends", "reading")
    assert route is not None
    assert route.only is handler
