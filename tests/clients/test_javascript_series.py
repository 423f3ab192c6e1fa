"""Replies as they come between Python and TypeScript, both ways, over links that are cut in the middle."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from mmplatform import NoResponders, Platform, Refused, RequestFailed, RequestTimeout
from mmplatform.identity.keys import SignId
from mmplatform.messaging.series_server import SeriesServer
from tests.clients.javascript import Counterpart
from tests.support.waiting import until

COUNT = 20_000
CUT_EVERY = 2_000


async def closed(other: Counterpart, count: int) -> None:
    """Wait until so many generators of the other have ended."""

    async def enough() -> bool:
        return bool(await other.do("generatorsClosed") >= count)

    await until(enough, 30)


def served(python: Platform) -> int:
    server = python.parts.dispatcher.protocols["ms.series"]
    assert isinstance(server, SeriesServer)
    return len(server._open)


async def test_python_asks_while_links_are_cut(python: Platform, other: Counterpart, peer: SignId) -> None:
    got: list[int] = []
    cuts: list[str] = []
    python.on("disconnected", lambda peer, reason: cuts.append(peer))
    async for reply in python.messaging.request_many("count", peer, COUNT):
        got.append(reply)
        if len(got) % CUT_EVERY == 0:
            await python.disconnect(peer)
    assert got == list(range(COUNT))
    assert len(cuts) >= COUNT // CUT_EVERY - 1
    await closed(other, 1)


async def test_the_client_asks_while_links_are_cut(python: Platform, other: Counterpart, peer: SignId) -> None:
    @python.messaging.on("friends.count")
    async def count(topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        for number in range(payload):
            yield number
            if number % CUT_EVERY == CUT_EVERY // 2:
                await python.disconnect(peer)

    done = await other.do("many", topic="count", peer=python.sign_id, payload=COUNT)
    assert done == {"replies": list(range(COUNT)), "error": ""}
    await until(lambda: not served(python))


async def test_who_leaves_the_loop_ends_the_generator_of_the_other(
    python: Platform, other: Counterpart, peer: SignId
) -> None:
    ended = asyncio.Event()

    @python.messaging.on("friends.count")
    async def count(topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(payload):
                yield number
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    done = await other.do("many", topic="count", peer=python.sign_id, payload=10**9, take=3)
    assert done == {"replies": [0, 1, 2], "error": ""}
    await asyncio.wait_for(ended.wait(), 10)
    ended.clear()
    done = await other.do("many", topic="count", peer=python.sign_id, payload=1, timeout=0.1)
    assert done["error"].startswith("RequestTimeout: no further reply")
    await asyncio.wait_for(ended.wait(), 10)

    async for reply in python.messaging.request_many("count", peer, 10**9):
        if reply == 3:
            break
    await closed(other, 1)
    with pytest.raises(RequestTimeout):
        async for _ in python.messaging.request_many("waits", peer, timeout=0.1):
            pass
    await closed(other, 2)


async def test_it_fails_as_requests_do(python: Platform, other: Counterpart, peer: SignId) -> None:
    @python.messaging.on("friends.fail")
    async def fail(topic: str, sender: str, payload: Any) -> AsyncGenerator[int, None]:
        yield 1
        raise Refused("no more")

    done = await other.do("many", topic="fail", peer=python.sign_id)
    assert done == {"replies": [1], "error": "RequestFailed: no more"}
    assert "NoResponders" in (await other.do("many", topic="nobody", peer=python.sign_id))["error"]
    assert "request_many" in await other.do("request", topic="fail", peer=python.sign_id)
    replies = python.messaging.request_many("count", peer, 1)
    assert await anext(replies) == 0
    with pytest.raises(RequestFailed, match="TypeError: no more"):
        await anext(replies)
    with pytest.raises(NoResponders):
        await anext(python.messaging.request_many("nobody", peer))
    with pytest.raises(RequestFailed, match="request_many"):
        await python.messaging.request("count", peer, 3)
    with pytest.raises(Refused, match="request_many"):
        await (await python.messaging.send("count", peer, 3))
    assert [reply async for reply in python.messaging.request_many("add", peer, [1, 2])] == [3]


async def test_large_replies_and_slow_readers(python: Platform, other: Counterpart, peer: SignId) -> None:
    sizes = [10, 65_536, 1_000_000, 3]

    @python.messaging.on("friends.large")
    async def large(topic: str, sender: str, payload: list[int]) -> AsyncGenerator[bytes, None]:
        for size in payload:
            yield bytes(size)

    assert (await other.do("many", topic="large", peer=python.sign_id, payload=sizes))["replies"] == sizes
    got = [len(reply) async for reply in python.messaging.request_many("large", peer, sizes)]
    assert got == sizes


async def test_a_node_that_stops_ends_its_series(python: Platform, other: Counterpart, peer: SignId) -> None:
    replies = python.messaging.request_many("waits", peer)
    assert await anext(replies) == 0
    following = asyncio.ensure_future(anext(replies))
    await other.do("ping", peer=python.sign_id)
    await other.do("stop")
    with pytest.raises(RequestFailed, match="stopping"):
        await asyncio.wait_for(following, 10)
