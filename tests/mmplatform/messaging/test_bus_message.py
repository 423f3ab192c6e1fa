"""Handlers with a fourth parameter: the message they are given, and the rows that are saved with its end."""

from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.errors import LocalError
from mmplatform.message import Message, Retry
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.results import DONE, Result
from tests.support.bus import Ended, Heard, turns
from tests.support.waiting import until


def say(bus: Bus, ended: Ended) -> None:
    route = bus.route("self", "a")
    assert route is not None
    result = bus.deliver(route, "me", 7, ended)
    if result is not None:
        ended(result)


class Keeps(list[Message]):
    """A handler that saves its payload under ``key``, after it failed ``times`` times."""

    def __init__(self, key: str, times: int = 0, error: Exception | None = None) -> None:
        super().__init__()
        self.key, self.times, self.error = key, times, error

    def plain(self, topic: str, sender: str, payload: Any, message: Message) -> None:
        self.append(message)
        message.put(self.key, payload)
        if len(self) <= self.times:
            raise self.error or ValueError("no")

    async def waiting(self, topic: str, sender: str, payload: Any, message: Message) -> None:
        await turns(1)
        self.plain(topic, sender, payload, message)


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "lambda"])


def handler_of(keeps: Keeps, kind: str) -> Any:
    return {"plain": keeps.plain, "async": keeps.waiting, "lambda": lambda t, s, p, m: keeps.waiting(t, s, p, m)}[kind]


@KINDS
async def test_the_rows_of_all_handlers_come_with_the_result(bus: Bus, kind: str) -> None:
    ended, first, second = Ended(durable=True), Keeps("one"), Keeps("two")
    bus.on("self.a", handler_of(first, kind))
    bus.on("self.a", heard := Heard())
    bus.on("self.a", second.plain)
    say(bus, ended)
    await until(lambda: ended)
    assert sorted(ended[0].rows) == [("one", encode(7)), ("two", encode(7))]
    assert (ended[0].value, ended[0].error, len(heard)) == (None, None, 1)
    assert first != second, "each has a message of its own"
    await bus.close()


@KINDS
@pytest.mark.parametrize("error", [None, Retry(0)])
async def test_a_try_that_failed_saves_nothing(bus: Bus, kind: str, error: Exception | None) -> None:
    ended, keeps = Ended(durable=True), Keeps("one", 2, error)
    bus.on("self.a", handler_of(keeps, kind), backoff=0.0)
    say(bus, ended)
    await until(lambda: ended)
    assert (len(keeps), ended[0].rows) == (3, [("one", encode(7))])
    assert ended[0].error is None
    await bus.close()


async def test_rows_beside_a_handler_that_failed_are_kept(bus: Bus) -> None:
    ended = Ended(durable=True)
    bus.on("self.a", Keeps("bad", 9).plain, retries=0)
    bus.on("self.a", Keeps("good").plain)
    say(bus, ended)
    assert (ended[0].rows, type(ended[0].error)) == ([("good", encode(7))], ValueError)


@KINDS
async def test_nothing_is_put_once_the_handler_is_over(bus: Bus, kind: str) -> None:
    ended, keeps = Ended(durable=True), Keeps("one", 1)
    bus.on("self.a", handler_of(keeps, kind), backoff=0.0)
    say(bus, ended)
    await until(lambda: ended)
    for message in keeps:
        with pytest.raises(LocalError, match="the message is handled"):
            message.put("late", 1)
    assert ended[0].rows == [("one", encode(7))]
    await bus.close()


async def test_only_a_fourth_parameter_that_is_required_is_given_the_message(bus: Bus) -> None:
    given: list[Any] = []
    bus.on("self.a", lambda topic, sender, payload, more="default": given.append(more))
    bus.on("self.a", lambda *arguments: given.append(len(arguments)))
    bus.on("self.a", lambda topic, sender, payload, message, more=5: given.append(type(message)))
    ended = Ended()
    say(bus, ended)
    assert given == ["default", 3, Message]
    assert (len(ended.made), ended) == (1, [DONE])


async def test_the_message_is_what_whoever_handed_it_over_makes(bus: Bus) -> None:
    ended, keeps = Ended(), Keeps("one")
    bus.on("self.a", keeps.plain)
    say(bus, ended)
    assert keeps[0] is ended.made[0]


async def test_a_message_of_the_bus_alone(bus: Bus) -> None:
    keeps = Keeps("one")
    bus.on("self.a.b", keeps.plain)
    bus.emit("self", "a.b", "me", 1)
    await bus.request("self", "a.b", "me", 1)
    assert [(m.topic, m.scope, m.sender, m.kind, m.id, m.expires) for m in keeps] == [
        ("a.b", "self", "me", kind, "", 0.0) for kind in ("local", "request")
    ]
    assert keeps[0].time > 1e9


async def test_a_message_that_cannot_be_made_is_a_failure_of_its_handler(bus: Bus) -> None:
    class Broken(Ended):
        def message(self) -> Message:
            raise ValueError("no message")

    ended, keeps = Broken(), Keeps("one")
    bus.on("self.a", keeps.plain)
    bus.on("self.a", keeps.waiting)
    say(bus, ended)
    await until(lambda: ended)
    [result] = ended
    assert isinstance(result, Result)
    assert (str(result.error), keeps) == ("no message", [])
    await bus.close()
