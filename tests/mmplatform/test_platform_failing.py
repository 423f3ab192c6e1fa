"""Handlers that fail: tried again, then told to the sender, and kept where a person can see and retry them."""

import asyncio
import collections.abc
import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

from mmplatform import HandlerFailed, Platform, Refused, RequestFailed
from mmplatform.message import DELIVERED, Delivery, Outcome
from mmplatform.storage.memory import MemoryStorage
from tests.support.peers import befriend
from tests.support.waiting import until
from tests.support.world import World, collect, listen_to


def broken(topic: str, sender: str, payload: Any) -> None:
    raise ValueError("not today")


async def outcome(delivery: Delivery) -> Outcome:
    await until(lambda: delivery.done)
    assert delivery.outcome is not None
    return delivery.outcome


# Who is told what.


async def test_a_friend_hears_class_and_text_and_the_message_is_among_the_failed() -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", broken, retries=0)
        delivery = await alice.messaging.send("work", bob.sign_id, {"n": 1})
        with pytest.raises(HandlerFailed, match="ValueError: not today"):
            await delivery
        assert await alice.delivery(delivery.id) == "failed"
        assert (bob.inbox.waiting, bob.inbox.failed) == (0, 1)
        [entry] = [entry async for entry in bob.inbox.entries(failed=True)]
        assert (entry.state, entry.error, entry.topic) == ("failed", "ValueError: not today", "work")


async def test_a_stranger_hears_neither_but_what_is_meant_for_it() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob, asyncio.timeout(20):
        await alice.add(bob.ticket())

        def refusing(topic: str, sender: str, payload: Any) -> None:
            raise Refused("come back on Monday")

        bob.messaging.on("public.work", broken, retries=0)
        bob.messaging.on("public.shop", refusing, retries=0)
        assert await outcome(await alice.messaging.send("work", bob.sign_id, 1)) == Outcome("failed", "")
        refused = await outcome(await alice.messaging.send("shop", bob.sign_id, 1))
        assert (refused.state, "come back on Monday" in refused.reason) == ("refused", True)
        with pytest.raises(RequestFailed, match=r"^failed$"):
            await alice.messaging.request("work", bob.sign_id, 1)
        with pytest.raises(RequestFailed, match="come back on Monday"):
            await alice.messaging.request("shop", bob.sign_id, 1)


async def test_a_friend_that_asks_hears_class_and_text() -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", broken)
        with pytest.raises(RequestFailed, match="ValueError: not today"):
            await alice.messaging.request("work", bob.sign_id, 1)


# Tried again.


async def test_only_the_handler_that_failed_runs_again_and_later_messages_pass() -> None:
    async with World().nodes() as [alice, bob]:
        runs: list[Any] = []

        def once_broken(topic: str, sender: str, payload: Any) -> None:
            runs.append(payload)
            if runs.count(1) < 3 and payload == 1:
                raise ValueError("not yet")

        bob.messaging.on("friends.work", once_broken, retries=3, backoff=0.001)
        sound = collect(bob, "friends.work")
        first, second = [await alice.messaging.send("work", bob.sign_id, number) for number in (1, 2)]
        assert await first == await second == DELIVERED
        assert sorted(runs) == [1, 1, 1, 2]
        assert runs.index(2) < 3, "it passed while the first was tried again"
        assert sound == [1, 2]


async def test_an_ordered_handler_holds_the_later_ones() -> None:
    async with World().nodes() as [alice, bob]:
        runs: list[Any] = []

        @bob.messaging.on("friends.work", retries=3, backoff=0.001, ordered=True)
        def once_broken(topic: str, sender: str, payload: Any) -> None:
            runs.append(payload)
            if len(runs) < 3:
                raise ValueError("not yet")

        sent = [await alice.messaging.send("work", bob.sign_id, number) for number in (1, 2)]
        assert [await delivery for delivery in sent] == [DELIVERED] * 2
        assert runs == [1, 1, 1, 2]


async def test_a_handler_that_never_succeeds_runs_as_often_as_it_says() -> None:
    async with World().nodes() as [alice, bob]:
        runs: list[Any] = []

        @bob.messaging.on("friends.work", retries=2, backoff=0.001)
        def counting(topic: str, sender: str, payload: Any) -> None:
            runs.append(payload)
            raise KeyError("x")

        with pytest.raises(HandlerFailed, match="KeyError"):
            await (await alice.messaging.send("work", bob.sign_id, 1))
        assert runs == [1, 1, 1]


async def test_a_failed_message_is_retried_after_a_restart_and_its_sender_hears_no_more() -> None:
    world, storage = World(), MemoryStorage()
    async with world.node(1) as alice, asyncio.timeout(20):
        async with world.node(2, storage=storage) as bob:
            await befriend(alice, bob)
            bob.messaging.on("friends.work", broken, retries=0)
            delivery = await alice.messaging.send("work", bob.sign_id, 7)
            with pytest.raises(HandlerFailed):
                await delivery
        bob = world.node(2, storage=storage)
        heard = collect(bob)
        async with bob:
            [entry] = [entry async for entry in bob.inbox.entries(failed=True)]
            assert heard == []
            assert await bob.inbox.retry(entry.id)
            await until(lambda: heard == [7] and bob.inbox.failed == bob.inbox.waiting == 0)
            assert await alice.delivery(delivery.id) == "failed"


# Odd handlers.


class Panic(BaseException):
    """As a panic of another language, or the outcome of a test framework."""


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_panic_fails_its_message_and_harms_no_other(is_async: bool) -> None:
    async with World().nodes() as [alice, bob]:
        events, heard = listen_to(bob), []

        def handle(topic: str, sender: str, payload: Any) -> None:
            heard.append(payload)
            if payload == 1:
                raise Panic("boom")

        async def handle_later(topic: str, sender: str, payload: Any) -> None:
            await asyncio.sleep(0)
            handle(topic, sender, payload)

        bob.messaging.on("friends.x", handle_later if is_async else handle, retries=0)
        sent = [await alice.messaging.send("x", bob.sign_id, number) for number in range(1, 6)]
        assert [(await outcome(delivery)).state for delivery in sent] == ["failed", *["delivered"] * 4]
        assert heard == [1, 2, 3, 4, 5]
        with pytest.raises(RequestFailed, match="Panic"):
            await alice.messaging.request("x", bob.sign_id, 1)
        assert [event for event in events if event[0] == "disconnected"] == []


class Compiled(collections.abc.Coroutine[Any, Any, Any]):
    """What compilers of Python return for an async function."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator that everybody writes."""

    @functools.wraps(function)
    def wrapper(topic: str, sender: str, payload: Any) -> Any:
        return function(topic, sender, payload)

    return wrapper


@pytest.mark.parametrize("kind", ["decorated", "gathered", "compiled", "task", "mock"])
async def test_what_is_awaited_is_done_once_and_before_it_is_acknowledged(kind: str) -> None:
    async with World().nodes() as [alice, bob]:
        gate, done = asyncio.Event(), []

        async def work(topic: str, sender: str, payload: Any) -> None:
            await gate.wait()
            done.append(payload)

        handlers: dict[str, Callable[..., Any]] = {
            "decorated": logged(work),
            "gathered": lambda *given: asyncio.gather(work(*given)),
            "compiled": lambda *given: Compiled(work(*given)),
            "task": lambda *given: asyncio.ensure_future(work(*given)),
            "mock": AsyncMock(side_effect=work),
        }
        bob.messaging.on("friends.x", handlers[kind])
        sent = [await alice.messaging.send("x", bob.sign_id, number) for number in range(3)]
        await until(lambda: _at_work(bob) == 3)
        assert not any(delivery.done for delivery in sent)
        gate.set()
        assert [await delivery for delivery in sent] == [DELIVERED] * 3
        assert done == [0, 1, 2]


def _at_work(node: Platform) -> int:
    return node.parts.handled.unfinished
