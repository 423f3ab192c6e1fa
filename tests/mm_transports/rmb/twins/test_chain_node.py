"""A node that misbehaves gives way to the next URL; whoever asks hears why there is no answer."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from mm_transports.rmb.twins.chain_node import CALLS, ERRORS, ChainNode
from mmplatform.errors import Unreachable
from tests.support.waiting import until

Answer = Callable[[dict[str, Any]], str | bytes | None]


def result(call: dict[str, Any], value: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": value})


def error(call: dict[str, Any], words: Any = "no") -> str:
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": words}})


class Node:
    """A node of a chain that says what a test wants."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.methods: list[str] = []
        self.connections: list[ServerConnection] = []
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for text in connection:
            assert isinstance(text, str)
            call = json.loads(text)
            self.methods.append(call["method"])
            if call["method"] == "system_health":
                said: str | bytes | None = result(call, {"isSyncing": False, "peers": 1})
            else:
                said = self.answer(call)
            if said is not None:
                await connection.send(said)


@pytest.fixture
async def nodes() -> AsyncIterator[Callable[[Answer], Awaitable[Node]]]:
    async with AsyncExitStack() as stack:

        async def start(answer: Answer) -> Node:
            node = Node(answer)
            server = await stack.enter_async_context(serve(node.serve, "127.0.0.1", 0))
            node.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            return node

        yield start


@pytest.fixture
async def link() -> AsyncIterator[Callable[..., ChainNode]]:
    links: list[ChainNode] = []

    def make(*nodes: Node | str, timeout: float = 5.0) -> ChainNode:
        urls = [node if isinstance(node, str) else node.url for node in nodes]
        made = ChainNode(urls, time.monotonic, timeout, 0.01)
        made.open()
        links.append(made)
        return made

    yield make
    for one in links:
        await one.close()


async def test_calls_are_in_flight_side_by_side(nodes: Any, link: Any) -> None:
    waiting: list[dict[str, Any]] = []
    node = await nodes(lambda call: waiting.append(call))
    chain = link(node)
    calls = [asyncio.ensure_future(chain.call("get", [n])) for n in range(CALLS)]
    await until(lambda: len(waiting) == CALLS)
    with pytest.raises(Unreachable, match="in flight"):
        await chain.call("get", [CALLS])
    for call in reversed(waiting):
        await node.connections[0].send(result(call, call["params"][0]))
    assert await asyncio.gather(*calls) == list(range(CALLS))


async def test_the_next_url_is_asked_when_the_first_is_not_there(nodes: Any, link: Any) -> None:
    node = await nodes(lambda call: result(call, 1))
    assert await link("ws://127.0.0.1:1", node).call("get", []) == 1


async def test_nobody_there_is_said_at_once_and_tried_again(nodes: Any, link: Any) -> None:
    chain = link("ws://127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await chain.call("get", [])


async def test_a_node_that_is_behind_is_left(nodes: Any, link: Any) -> None:
    behind = await nodes(lambda call: result(call, "old"))
    other = await nodes(lambda call: result(call, "new"))

    async def serve_behind(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(result(json.loads(text), {"isSyncing": True}))

    async with serve(serve_behind, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert await link(f"ws://127.0.0.1:{port}", other).call("get", []) == "new"
    assert not behind.methods


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        "[]",
        '"x"',
        "[" * 50_000,
        '{"id": 2}',
        '{"id": 2, "result": 1, "error": 2}',
        b"binary",
        "x" * 1_100_000,
    ],
)
async def test_what_is_no_answer_ends_the_connection_and_another_node_is_asked(
    nodes: Any, link: Any, said: str | bytes
) -> None:
    bad, good = await nodes(lambda call: said), await nodes(lambda call: result(call, 1))
    chain = link(bad, good)
    with pytest.raises(Unreachable):
        await chain.call("get", [])
    assert await chain.call("get", []) == 1


async def test_a_call_that_is_not_answered_ends_the_connection(nodes: Any, link: Any) -> None:
    silent, good = await nodes(lambda call: None), await nodes(lambda call: result(call, 1))
    chain = link(silent, good, timeout=0.2)
    with pytest.raises(Unreachable, match=r"no answer within 0.2 s"):
        await chain.call("get", [])
    assert await chain.call("get", []) == 1


async def test_an_error_is_told_and_errors_only_end_the_connection(nodes: Any, link: Any) -> None:
    bad, good = await nodes(lambda call: error(call, "bad\x1b[31m")), await nodes(lambda call: result(call, 1))
    chain = link(bad, good)
    for _ in range(ERRORS):
        with pytest.raises(Unreachable, match="the node says: bad") as told:
            await chain.call("get", [])
        assert "\x1b" not in str(told.value)
    assert await chain.call("get", []) == 1


async def test_a_lost_connection_fails_what_is_in_flight_and_comes_back(nodes: Any, link: Any) -> None:
    asked = asyncio.Event()

    def answer(call: dict[str, Any]) -> str | None:
        asked.set()
        return result(call, 1) if call["params"] else None

    node = await nodes(answer)
    chain = link(node)
    call = asyncio.ensure_future(chain.call("get", []))
    await asked.wait()
    await node.connections[0].close()
    with pytest.raises(Unreachable):
        await call
    assert await until_answered(chain) == 1
    assert len(node.connections) == 2


async def test_answers_that_nobody_asked_for_are_passed_over(nodes: Any, link: Any) -> None:
    node = await nodes(lambda call: result(call, call["params"][0]))
    chain = link(node)
    assert await chain.call("get", [1]) == 1
    for stray in ('{"id": 999, "result": 5}', '{"id": "2", "result": 5}', '{"id": true, "result": 5}'):
        await node.connections[0].send(stray)
    assert await chain.call("get", [2]) == 2


async def test_opening_and_closing_wait_for_nobody(link: Any) -> None:
    chain = ChainNode(["ws://127.0.0.1:1"], time.monotonic)
    await chain.close()
    chain.open()
    await chain.close()


async def until_answered(chain: ChainNode) -> Any:
    found: list[Any] = []

    async def answered() -> bool:
        with suppress(Unreachable):
            found.append(await chain.call("get", [1]))
        return bool(found)

    await until(answered)
    return found[0]
