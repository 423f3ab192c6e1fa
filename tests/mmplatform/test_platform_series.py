"""Replies as they come, between whole platforms."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest

from mmplatform import NoResponders, Platform, Refused, RequestFailed, RequestTimeout, Unreachable
from mmplatform.messaging.series_server import SeriesServer
from mmplatform.peers import requests
from tests.support.peers import acquainted, befriend, peer_of
from tests.support.waiting import until
from tests.support.world import World


@dataclass
class Reading:
    at: int
    tags: set[str]


class Pair:
    """Alice asks, bob replies."""

    def __init__(self) -> None:
        self.alice, self.bob = Platform(), Platform()
        self.closed = 0
        self.gate = asyncio.Event()
        self.bob.messaging.on("friends.count", self.count)
        self.bob.messaging.on("friends.wait", self.wait)

    async def count(self, topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(payload):
                yield number
        finally:
            self.closed += 1

    async def wait(self, topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        try:
            yield 0
            await self.gate.wait()
            yield 1
        finally:
            self.closed += 1

    def ask(self, topic: str, payload: Any = None, **options: Any) -> AsyncGenerator[Any, None]:
        return self.alice.messaging.request_many(topic, self.bob.sign_id, payload, **options)

    @property
    def served(self) -> int:
        server = self.bob.parts.dispatcher.protocols["ms.series"]
        assert isinstance(server, SeriesServer)
        return len(server._open)


@pytest.fixture
async def pair() -> AsyncGenerator[Pair, None]:
    pair = Pair()
    async with pair.alice, pair.bob:
        await befriend(pair.alice, pair.bob)
        pair.bob.set_up()
        await acquainted(pair.alice, pair.bob)
        yield pair


async def test_many_thousand_replies_come_once_and_in_order(pair: Pair) -> None:
    assert [reply async for reply in pair.ask("count", 20_000)] == [*range(20_000)]
    assert (pair.closed, pair.served) == (1, 0)


async def test_a_reply_arrives_before_the_next_is_made(pair: Pair) -> None:
    replies = pair.ask("wait")
    assert await anext(replies) == 0
    pair.gate.set()
    assert await anext(replies) == 1
    assert [reply async for reply in replies] == []


async def test_who_leaves_the_loop_closes_the_generator_of_the_peer(pair: Pair) -> None:
    async for reply in pair.ask("count", 10**9):
        if reply == 10:
            break
    await until(lambda: pair.closed == 1 and pair.served == 0)
    with pytest.raises(RequestTimeout):
        async for _ in pair.ask("wait", timeout=0.05):
            pass
    await until(lambda: pair.closed == 2 and pair.served == 0)


async def test_a_series_goes_on_over_the_next_link(pair: Pair) -> None:
    replies = pair.ask("wait")
    assert await anext(replies) == 0
    [link] = pair.alice.parts.peers.peer(pair.bob.sign_id)._links
    link.connection.abort()
    pair.gate.set()
    assert await asyncio.wait_for(anext(replies), 10) == 1
    assert [reply async for reply in replies] == []


async def test_it_fails_as_requests_do(pair: Pair) -> None:
    @pair.bob.messaging.on("friends.fail")
    async def fail(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        yield 1
        raise Refused("no more")

    replies = pair.ask("fail")
    assert await anext(replies) == 1
    with pytest.raises(RequestFailed, match="no more"):
        await anext(replies)
    with pytest.raises(NoResponders):
        await anext(pair.ask("nothere"))
    with pytest.raises(RequestFailed, match="request_many"):
        await pair.alice.messaging.request("count", pair.bob.sign_id, 3)
    with pytest.raises(ValueError, match="timeout"):
        pair.ask("count", 3, timeout=0)
    with pytest.raises(Refused, match="request_many"):
        await (await pair.alice.messaging.send("count", pair.bob.sign_id, 3))


async def test_a_peer_that_stops_ends_it_with_the_reason(pair: Pair) -> None:
    replies = pair.ask("wait")
    assert await anext(replies) == 0
    ended = asyncio.ensure_future(anext(replies))
    await pair.bob.stop()
    with pytest.raises((RequestFailed, Unreachable)):
        await asyncio.wait_for(ended, 10)
    assert pair.closed == 1


@pytest.mark.parametrize("error", [ConnectionResetError("cut"), None])
async def test_a_series_outlasts_an_outage_that_is_shorter_than_its_time_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """A request fails when no attempt reaches the peer for a second; a series that has begun goes on. A proxy, or the
    system of a program that was killed, ends a connection without an error."""
    monkeypatch.setattr(requests, "PATIENCE", 0.01)
    world, gate = World(), asyncio.Event()
    async with world.nodes() as [alice, bob]:

        @bob.messaging.on("friends.wait")
        async def wait(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
            yield 0
            await gate.wait()
            yield 1

        replies = alice.messaging.request_many("wait", bob.sign_id, timeout=20)
        assert await anext(replies) == 0
        following = asyncio.ensure_future(anext(replies))
        world.network.up = False
        for link in list(peer_of(alice, bob)._links):
            link.connection_lost(error)
        world.cut(alice, bob)
        with pytest.raises(Unreachable):
            await alice.messaging.request("wait", bob.sign_id, timeout=20)
        world.network.up = True
        gate.set()
        assert await asyncio.gather(following, return_exceptions=True) == [1]


async def test_replies_have_types(pair: Pair) -> None:
    @pair.bob.messaging.on("friends.readings")
    async def readings(topic: str, sender: str, payload: Any) -> AsyncGenerator[Any, None]:
        yield Reading(1, {"attic"})
        yield {"at": "late"}

    replies = pair.ask("readings", returns=Reading)
    assert await anext(replies) == Reading(1, {"attic"})
    with pytest.raises(RequestFailed, match="does not fit"):
        await anext(replies)
    await until(lambda: pair.served == 0)


async def test_middleware_stands_around_both_sides(pair: Pair) -> None:
    kinds: list[str] = []

    @pair.alice.messaging.around_sends
    async def outgoing(topic: str, destination: str, payload: Any, kind: str, following: Any) -> Any:
        kinds.append(kind)
        return await following(payload + 1)

    @pair.bob.messaging.around_handlers
    async def incoming(topic: str, sender: str, payload: Any, message: Any, following: Any) -> Any:
        kinds.append(message.kind)
        return await following(payload)

    assert [reply async for reply in pair.ask("count", 2)] == [0, 1, 2]
    assert kinds == ["request_many", "request"]


async def test_a_handler_of_this_process(pair: Pair) -> None:
    pair.alice.messaging.on("self.count", pair.count)
    assert [reply async for reply in pair.alice.messaging.request_many("count", payload=3)] == [0, 1, 2]
    async for _ in pair.alice.messaging.request_many("count", pair.alice.sign_id, 10):
        break
    await until(lambda: pair.closed == 2)
