"""One handler of the bus with its queue and its workers: what a slow one can and cannot do to others."""

import asyncio
import functools
import gc
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.errors import QueueFull
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.subscriber import UNHELD
from tests.support.bus import Ended, Heard, Slow, others, turns

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
        await bus.room(route, "me")
        bus.deliver(route, "me", number, Ended())
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
        bus.deliver(route, "me", number, Ended())
        await turns()
    waiting = asyncio.ensure_future(bus.room(route, "me"))
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
        bus.deliver(route, "me", number, Ended())
        await turns()
    waiting = asyncio.ensure_future(bus.room(route, "me"))
    await turns()
    bus.off("self.a", slow)
    await asyncio.wait_for(waiting, 1)
    assert bus.deliver(route, "me", 2, Ended()) is not None, "a stale route reaches nobody"
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
    results = Ended()
    route = bus.route("self", "a")
    assert route is not None
    for number in range(10):
        bus.deliver(route, "me", number, results)
        if number == 0:
            await turns()
    await bus.room(route, "me")
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
        results.append(bus.deliver(route, "me", number, Ended()))
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


async def test_what_waits_for_a_slow_handler_is_no_work_for_the_garbage_collector(bus: Bus) -> None:
    slow = Slow()
    bus.on("friends.a", slow)
    route = bus.route("friends", "a")
    assert route is not None
    end = Ended()
    gc.collect()
    before = len(gc.get_objects())
    for number in range(2000):
        bus.deliver(route, "alice", number, end)
    gc.collect()
    assert len(gc.get_objects()) - before < 200
    await bus.close()
