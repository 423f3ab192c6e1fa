"""What stands around handlers: its order, its two kinds, and that errors, retries and replies are those of handlers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mmplatform.errors import Refused
from mmplatform.message import Message
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.middleware import AROUND_SENDS, check_middleware
from mmplatform.messaging.results import Result
from tests.support.bus import Ended, Errors, Heard
from tests.support.waiting import until

Middleware = Callable[..., Any]


class Steps(list[str]):
    """What happened, in its order; makes middleware and handlers that say so."""

    def plain(self, name: str) -> Middleware:
        def around(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
            self.append(f"{name} {topic} {sender} {payload} {message.id}")
            return following(f"{payload}+{name}")

        return around

    def waiting(self, name: str) -> Middleware:
        async def around(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
            self.append(f"{name} {topic} {sender} {payload} {message.id}")
            await asyncio.sleep(0)
            value = await following(f"{payload}+{name}")
            self.append(f"after {name}")
            return value

        return around

    def handler(self, topic: str, sender: str, payload: Any) -> str:
        self.append(f"handler {payload}")
        return f"reply to {payload}"

    async def coroutine(self, topic: str, sender: str, payload: Any, message: Message) -> str:
        await asyncio.sleep(0)
        return self.handler(topic, sender, payload)


@pytest.fixture
def steps() -> Steps:
    return Steps()


def deliver(bus: Bus, payload: object, topic: str = "a", durable: bool = True) -> Ended:
    route = bus.route("friends", topic)
    assert route is not None
    ended = Ended(durable)
    result = bus.deliver(route, "bob", payload, ended)
    if result is not None:
        ended(result)
    return ended


async def value_of(ended: Ended) -> Any:
    await until(lambda: bool(ended))
    [result] = ended
    assert isinstance(result, Result)
    return result.value if result.error is None else result.error


@pytest.mark.parametrize("handler", ["handler", "coroutine"])
@pytest.mark.parametrize("second", ["plain", "waiting"])
@pytest.mark.parametrize("first", ["plain", "waiting"])
async def test_each_is_called_in_its_order_with_what_the_one_before_made(
    bus: Bus, steps: Steps, first: str, second: str, handler: str
) -> None:
    bus.around_handlers(getattr(steps, first)("one"))
    bus.on("friends.a", getattr(steps, handler))
    bus.around_handlers(getattr(steps, second)("two"))
    assert await value_of(deliver(bus, "x")) == "reply to x+one+two"
    calls = [step for step in steps if not step.startswith("after")]
    assert calls == ["one friends.a bob x 1.2.3@me", "two friends.a bob x+one 1.2.3@me", "handler x+one+two"]
    ends = [name for name, kind in (("two", second), ("one", first)) if kind == "waiting"]
    assert [step for step in steps if step.startswith("after")] == [f"after {name}" for name in ends]
    await bus.close()


def test_plain_ones_around_a_plain_handler_run_at_once(bus: Bus, steps: Steps) -> None:
    bus.around_handlers(steps.plain("one"))
    bus.on("friends.a", steps.handler)
    [result] = deliver(bus, "x")
    assert isinstance(result, Result)
    assert result.value == "reply to x+one"


async def test_it_may_refuse_and_the_handler_is_not_called(bus: Bus, steps: Steps, errors: Errors) -> None:
    @bus.around_handlers
    async def authorise(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        if payload == "no":
            raise Refused("not you")
        return await following(payload)

    bus.on("friends.a", steps.handler)
    refused = await value_of(deliver(bus, "no"))
    assert (type(refused), str(refused)) == (Refused, "not you")
    assert await value_of(deliver(bus, "yes")) == "reply to yes"
    assert steps == ["handler yes"]
    await bus.close()


async def test_what_it_raises_is_tried_again_like_what_a_handler_raises(bus: Bus, steps: Steps, errors: Errors) -> None:
    tries: list[int] = []

    @bus.around_handlers
    def failing(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        tries.append(len(tries))
        if len(tries) < 3:
            raise ValueError("not yet")
        return following(payload)

    bus.on("friends.a", steps.handler, retries=2, backoff=0.0)
    assert await value_of(deliver(bus, "x")) == "reply to x"
    assert (len(tries), errors.topics) == (3, ["friends.a"] * 2)
    await bus.close()


async def test_it_may_call_the_next_one_again(bus: Bus, errors: Errors) -> None:
    tries: list[str] = []

    @bus.around_handlers
    async def again(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        try:
            return await following(payload)
        except ValueError:
            return await following(payload)

    @bus.on("friends.a")
    async def handler(topic: str, sender: str, payload: Any) -> int:
        tries.append(payload)
        if len(tries) == 1:
            raise ValueError("once")
        return len(tries)

    assert await value_of(deliver(bus, "x")) == 2
    assert errors == []
    await bus.close()


@dataclass
class Reading:
    celsius: float


async def test_it_sees_plain_values_and_may_mend_what_a_type_would_refuse(bus: Bus) -> None:
    seen: list[Any] = []

    @bus.around_handlers
    def upgrade(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        seen.append(payload)
        return following({"celsius": payload} if isinstance(payload, float) else payload)

    heard = bus.on("friends.a", Reading, Heard())
    for payload in (2.5, {"celsius": 3.5}, "wrong"):
        deliver(bus, payload)
    assert seen == [2.5, {"celsius": 3.5}, "wrong"]
    assert heard.payloads == [Reading(2.5), Reading(3.5)]
    assert bus.subscribers()[0].unfit == 1


async def test_once_and_off_and_what_it_saves_are_those_of_the_handler(bus: Bus, steps: Steps) -> None:
    @bus.around_handlers
    def noting(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        message.put("seen", payload)
        return following(payload)

    bus.once("friends.a", steps.handler)
    [result] = deliver(bus, "x")
    assert isinstance(result, Result)
    assert result.rows == [("seen", b"\xa1x")]
    assert bus.route("friends", "a") is None
    bus.on("friends.a", steps.handler)
    assert bus.off("friends.a", steps.handler)


def test_control_topics_pass_by(bus: Bus, steps: Steps) -> None:
    bus.around_handlers(steps.plain("one"))
    heard = bus.on("self.transports.online", Heard())
    bus.emit("self", "transports.online", "me", "bob")
    assert (heard.payloads, steps) == (["bob"], [])


@pytest.mark.parametrize("pattern", [">.transports.online", "friends.>.update", "*.>", "friends.*.update"])
def test_wildcards_are_no_way_around_it(bus: Bus, pattern: str) -> None:
    """A topic that peers may send can match them: who refuses strangers would not have been asked."""

    @bus.around_handlers
    def refusing(topic: str, sender: str, payload: Any, message: Message, following: Any) -> Any:
        raise Refused("nobody")

    heard = bus.on(pattern, Heard())
    for topic in ("a.transports.online", "a.b.update", "a.update"):
        bus.emit("friends", topic, "bob", 1)
    assert heard == []


def test_bytes_stay_bytes(bus: Bus, steps: Steps) -> None:
    bus.around_handlers(lambda topic, sender, payload, message, following: following(payload + b"+"))
    heard = bus.on("friends.a", Heard(), raw=True)
    deliver(bus, "not these")
    assert heard.payloads == [b"+"], "the bytes of the message are given, and not the value"


def test_without_any_a_handler_is_called_as_it_is(bus: Bus, steps: Steps) -> None:
    bus.on("friends.a", steps.handler)
    route = bus.route("friends", "a")
    assert route is not None
    assert route.only == steps.handler


async def five(*arguments: Any) -> None: ...


@pytest.mark.parametrize("wrong", ["text", lambda a, b: None, lambda *a, key: None, lambda a, b, c, d: None])
def test_what_cannot_be_called_so_is_refused_when_it_is_registered(bus: Bus, wrong: Any) -> None:
    with pytest.raises(TypeError, match="topic, sender, payload, message, following"):
        bus.around_handlers(wrong)
    with pytest.raises(TypeError, match="topic, destination, payload, kind, following"):
        check_middleware(wrong, AROUND_SENDS)
    check_middleware(five, AROUND_SENDS)
