"""The end of a bus: what runs may end, what does not is left behind, and nothing counts as done that is not."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mmplatform.errors import NotRunning
from mmplatform.message import Retry
from mmplatform.messaging.bus import Bus
from tests.support.bus import Ended, Errors, Heard, Slow, others, turns
from tests.support.waiting import until


def say(bus: Bus, payload: Any, ended: Ended, topic: str = "a") -> None:
    route = bus.route("self", topic)
    assert route is not None
    result = bus.deliver(route, "me", payload, ended)
    if result is not None:
        ended(result)


@pytest.fixture
def ended() -> Ended:
    return Ended(durable=True)


@pytest.fixture
def obstinate() -> Iterator["Obstinate"]:
    made = Obstinate()
    yield made
    made.over = True


class Obstinate:
    """A handler that loses every cancellation until it is told to end."""

    def __init__(self) -> None:
        self.over, self.cancelled = False, 0

    async def handle(self, topic: str, sender: str, payload: Any) -> str:
        while not self.over:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.cancelled += 1
        return "done at last"


async def test_running_handlers_may_end_and_what_they_give_counts(bus: Bus, ended: Ended) -> None:
    slow = Slow()
    bus.on("self.a", slow)
    for number in range(3):
        say(bus, number, ended)
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    assert not ending.done()
    slow.gate.set()
    assert await ending == []
    assert (slow.begun, slow.done, [result.value for result in ended]) == ([0], [0], [0]), "the others stay unfinished"
    assert not others()


async def test_nothing_new_is_taken_in_while_handlers_end(bus: Bus, ended: Ended) -> None:
    slow, heard = Slow(), Heard()
    bus.on("self.a", slow)
    bus.on("self.b", heard)
    bus.on("self.c", heard)
    held = bus.route("self", "b")
    say(bus, 0, ended)
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    assert bus.ending
    assert held is not None
    assert bus.deliver(held, "me", 1, ended) is None, "a route looked up before"
    for topic in "abc":
        say(bus, 1, ended, topic)
        bus.emit("self", topic, "me", 2)
    with pytest.raises(NotRunning):
        await bus.request("self", "b", "me", 3)
    slow.gate.set()
    assert await ending == []
    assert (heard, slow.done, len(ended)) == ([], [0], 1)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("error", [lambda: ValueError("no"), lambda: Retry(1000.0)])
async def test_what_waits_to_be_tried_again_stays_unfinished(
    bus: Bus, ended: Ended, ordered: bool, error: Callable[[], Exception]
) -> None:
    seen: list[Any] = []

    @bus.on("self.a", ordered=ordered, backoff=1000.0)
    def failing(topic: str, sender: str, payload: Any) -> None:
        seen.append(payload)
        raise error()

    for number in range(2):
        say(bus, number, ended)
    await turns()
    assert await bus.end(20.0) == [], "and nobody waits for it"
    assert seen == ([0] if ordered else [0, 1])
    assert ended == []
    assert not others()


@pytest.mark.parametrize("kind", ["not running", "cancelled", "failed"])
async def test_what_a_handler_could_not_do_as_the_node_stops_is_not_done(bus: Bus, ended: Ended, kind: str) -> None:
    gate = asyncio.Event()

    @bus.on("self.a", retries=0 if kind != "failed" else 3)
    async def handler(topic: str, sender: str, payload: Any) -> None:
        await gate.wait()
        errors = {"not running": NotRunning("stopping"), "cancelled": asyncio.CancelledError(), "failed": KeyError()}
        raise errors[kind]

    say(bus, 1, ended)
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    gate.set()
    assert await ending == []
    assert ended == []


async def test_a_last_failure_in_time_counts(bus: Bus, ended: Ended) -> None:
    gate = asyncio.Event()

    @bus.on("self.a", retries=0)
    async def handler(topic: str, sender: str, payload: Any) -> None:
        await gate.wait()
        raise KeyError("no")

    say(bus, 1, ended)
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    gate.set()
    await ending
    assert [type(result.error) for result in ended] == [KeyError]


@pytest.mark.parametrize("answer", ["returns", "raises", "goes on for a while"])
async def test_what_a_cancelled_handler_gives_does_not_count(
    bus: Bus, ended: Ended, errors: Errors, answer: str
) -> None:
    """It was cut short, whatever it makes of that."""

    @bus.on("self.a", retries=0)
    async def handler(topic: str, sender: str, payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if answer == "raises":
                raise KeyError("no") from None
            if answer != "returns":
                await turns(20)

    say(bus, 1, ended)
    await turns()
    assert await bus.end(0.0, 20.0) == []
    assert (ended, errors) == ([], [])
    assert not others()


async def test_handlers_that_do_not_end_are_named_and_left_behind(
    bus: Bus, ended: Ended, errors: Errors, obstinate: "Obstinate"
) -> None:
    bus.on("self.>", obstinate.handle)
    bus.on("self.b", slow := Slow())
    say(bus, 1, ended)
    say(bus, 2, ended, "b")
    await turns()
    assert await bus.end(0.0, 0.01) == ["Obstinate.handle (self.>)"]
    assert obstinate.cancelled == 1
    assert await bus.end(20.0, 20.0) == [], "it is waited for once"
    await bus.close()
    obstinate.over = True
    await until(lambda: not others())
    assert (ended, errors, slow.done) == ([], [], [])


async def test_a_handler_that_ends_the_bus_is_not_waited_for(bus: Bus, ended: Ended) -> None:
    left: list[list[str]] = []

    @bus.on("self.a")
    async def stopping(topic: str, sender: str, payload: Any) -> None:
        left.append(await bus.end(20.0))

    say(bus, 1, ended)
    await until(lambda: left)
    assert left == [[]]
    await turns()
    assert ended == []
    assert not others()


async def test_a_cancelled_end_cancels_the_handlers(bus: Bus, ended: Ended) -> None:
    """Else one could finish its message after the storage is closed."""
    slow = Slow()
    bus.on("self.a", slow)
    say(bus, 1, ended)
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    slow.gate.set()
    await until(lambda: not others())
    assert (slow.done, ended) == ([], [])


async def test_requests_that_were_let_go_end_at_once(bus: Bus) -> None:
    """A handler that waits for one would else use up the grace."""
    slow = Slow()
    bus.on("self.a", slow)
    running, queued = (asyncio.ensure_future(bus.request("self", "a", "me", number)) for number in range(2))
    await turns()
    ending = asyncio.ensure_future(bus.end(20.0))
    await turns()
    assert isinstance(queued.exception(), NotRunning)
    assert not running.done()
    slow.gate.set()
    assert (await running).value == 0
    await ending


async def test_an_end_while_an_ordered_handler_rests_breaks_no_worker(bus: Bus) -> None:
    def fails(topic: str, sender: str, payload: object) -> None:
        raise ValueError

    bus.on("self.a", fails, ordered=True, backoff=60)
    ended = Ended(durable=True)
    route = bus.route("self", "a")
    assert route is not None
    assert bus.deliver(route, "me", 1, ended) is None
    await turns()
    (worker,) = others()
    assert await bus.end(1.0) == []
    assert worker.exception() is None
    assert ended == []
