"""Other threads use a platform by ``platform.threadsafe``: the same calls, which block."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from mmplatform import (
    Cancelled,
    Expired,
    InvalidTopic,
    NoResponders,
    NotRunning,
    Platform,
    RequestTimeout,
    WrongLoop,
    threadsafe,
)
from mmplatform.threadsafe import BlockingDelivery, result
from tests.support.waiting import pace, until, wait_until
from tests.support.world import World, collect, identity

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: int


@pytest.fixture
async def alice() -> AsyncIterator[Platform]:
    world = World()
    async with world.node(2) as bob, world.node(1) as node:
        bob.messaging.on("public.double", lambda topic, sender, payload: payload * 2)
        bob.messaging.on("public.point", lambda topic, sender, payload: {"x": payload, "y": 0})
        bob.messaging.on("public.hang", lambda topic, sender, payload: asyncio.Event().wait())
        bob.set_up()  # else a request to nobody waits for a handler to come
        await node.add(bob.ticket(), name="bob")
        yield node


async def elsewhere(call: Callable[[], T]) -> T:
    return await asyncio.to_thread(call)


async def test_what_is_sent_is_saved_and_its_end_can_be_waited_for(alice: Platform) -> None:
    def use() -> tuple[Any, ...]:
        delivery = alice.threadsafe.send("double", "bob", 1)
        assert "@" in repr(delivery)
        delivery.received(5)
        return delivery.wait(5).state, delivery.done, delivery.outcome, delivery.id, delivery.peer, delivery.state

    state, done, outcome, name, peer, last = await elsewhere(use)
    assert (state, done, last) == ("delivered", True, "delivered")
    assert outcome is not None
    assert peer == alice.peer("bob")
    assert await alice.delivery(name) == "delivered"


async def test_several_are_waited_for_as_one(alice: Platform) -> None:
    await alice.contacts.lists.make("@all", "bob")
    delivery = await elsewhere(lambda: alice.threadsafe.send("double", "@all", 1))
    assert (await elsewhere(lambda: delivery.wait(5))).state == "delivered"
    assert list(delivery.deliveries) == [alice.peer("bob")]


async def test_each_of_several_is_waited_for_in_a_thread_too(alice: Platform) -> None:
    await alice.contacts.lists.make("@all", "bob")
    delivery = await elsewhere(lambda: alice.threadsafe.send("double", "@all", 1))
    (one,) = delivery.deliveries.values()
    assert isinstance(one, BlockingDelivery)
    assert (await elsewhere(lambda: one.wait(5))).state == "delivered"


async def test_a_message_is_taken_back_from_a_thread(alice: Platform) -> None:
    peer = identity(9).sign_id
    delivery = await elsewhere(lambda: alice.threadsafe.send("n", peer, 1))
    assert hasattr(delivery, "cancel")
    assert await elsewhere(delivery.cancel) == [peer]
    assert delivery.state == "cancelled"
    with pytest.raises(Cancelled):
        await elsewhere(lambda: delivery.wait(5))
    assert await elsewhere(delivery.cancel) == []


async def test_who_waits_too_briefly_is_told_and_the_message_goes_on(alice: Platform) -> None:
    delivery = await elsewhere(lambda: alice.threadsafe.send("n", identity(9).sign_id, 1))
    with pytest.raises(TimeoutError, match="it goes on"):
        await elsewhere(lambda: delivery.wait(0.01))
    assert delivery.state == "waiting"
    waiting = asyncio.ensure_future(elsewhere(delivery.wait))
    await until(lambda: delivery.delivery._waiter is not None)
    alice.parts.outbox.expiry._now = lambda: 1e12
    alice.parts.outbox.expiry.look()
    with pytest.raises(Expired):
        await waiting


async def test_requests_give_what_the_handler_gives_and_raise_the_same_errors(alice: Platform) -> None:
    ask = alice.threadsafe.request
    assert await elsewhere(lambda: ask("double", "bob", 21)) == 42
    assert await elsewhere(lambda: ask("point", "bob", 3, returns=Point)) == Point(3, 0)
    with pytest.raises(RequestTimeout):
        await elsewhere(lambda: ask("hang", "bob", timeout=0.05))
    with pytest.raises(NoResponders):
        await elsewhere(lambda: ask("nobody", "bob"))
    with pytest.raises(InvalidTopic):
        await elsewhere(lambda: alice.threadsafe.send("a b", "bob"))


async def test_ctrl_c_in_a_series_is_not_hidden_by_a_handler_that_ends_slowly_or_raises(alice: Platform) -> None:
    steps: list[str] = []

    @alice.messaging.on("self.replies")
    async def replies(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
        try:
            yield 1
            steps.append("waits")
            await asyncio.Event().wait()
        finally:
            await pace(0.05)
            steps.append("ended")
            raise ValueError("at the end")

    pressed: list[bool] = []

    def interrupted(future: Future[Any], timeout: float | None = None) -> Any:
        """Be :func:`result`, and a Ctrl-C, once, when the handler waits."""
        if not pressed:
            wait_until(lambda: future.done() or steps == ["waits"])
        if pressed or future.done():
            return result(future, timeout)
        pressed.append(True)
        future.cancel()  # as result() does, which is interrupted
        raise KeyboardInterrupt

    def read() -> list[Any]:
        try:
            return list(alice.threadsafe.request_many("replies", timeout=60))
        except BaseException as error:
            return [type(error).__name__, *steps]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threadsafe, "result", interrupted)
        assert await elsewhere(read) == ["KeyboardInterrupt", "waits", "ended"]


async def test_any_call_can_be_made_in_the_loop_blocking_or_not(alice: Platform) -> None:
    await elsewhere(lambda: alice.threadsafe.call(alice.contacts.rename, "bob", "robert"))
    assert await elsewhere(lambda: alice.threadsafe.call(alice.contacts.name, alice.peer("robert"))) == "robert"
    heard: list[Any] = []
    handler = lambda topic, sender, payload: heard.append(payload)  # noqa: E731
    await elsewhere(lambda: alice.threadsafe.call(alice.messaging.on, "self.n", handler))
    await alice.messaging.send("n", payload=1)
    assert heard == [1]
    future: Future[float] = await elsewhere(lambda: alice.threadsafe.submit(alice.ping, "robert", timeout=5.0))
    assert 0 < await elsewhere(lambda: future.result(5)) < 5
    delivery = await alice.messaging.send("n", payload=2)
    assert await elsewhere(lambda: alice.threadsafe.call(lambda: delivery)) is delivery


async def test_a_call_that_is_given_up_is_cancelled(alice: Platform) -> None:
    cancelled = asyncio.Event()

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    future: Future[None] = await elsewhere(lambda: alice.threadsafe.submit(long))
    with pytest.raises(TimeoutError):
        await elsewhere(lambda: result(future, 0.01))
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_the_thread_of_the_platform_is_told_that_it_would_wait_for_itself(alice: Platform) -> None:
    for call in (alice.threadsafe.send, alice.threadsafe.request):
        with pytest.raises(WrongLoop, match="await the call itself"):
            call("double", "bob", 1)


def test_nobody_waits_for_a_platform_that_does_not_run_or_whose_loop_ends() -> None:
    node = Platform(transports=[], connection_info=())
    with pytest.raises(NotRunning):
        node.threadsafe.send("n")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            node.threadsafe.call(asyncio.Event().wait)
        except NotRunning as error:
            raised.append(error)

    thread = threading.Thread(target=wait)

    async def main() -> None:
        async with node:
            thread.start()
            await until(lambda: len(asyncio.all_tasks()) > 1)

    asyncio.run(main())
    thread.join(5)
    assert len(raised) == 1
    with pytest.raises(NotRunning):
        node.threadsafe.send("n")


async def test_many_threads_send_side_by_side(alice: Platform) -> None:
    heard = collect(alice, "self.n")

    def send(first: int) -> None:
        for number in range(first, first + 20):
            alice.threadsafe.send("n", payload=number)

    await asyncio.gather(*(elsewhere(lambda first=first: send(first)) for first in range(0, 200, 20)))
    assert sorted(heard) == list(range(200))
