"""Posting to other relays: where it goes, what is kept, and what comes of relays that are no relays."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mm_relay.rmb import post_client
from mm_relay.rmb.post_client import PostClient, place_of
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.errors import Unreachable
from tests.support.waiting import until

Serve = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that answers everything with the same bytes; returns its name as the npm client writes it."""
    servers: list[asyncio.Server] = []

    async def start(answer: bytes) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if not answer:
                await reader.read()
            writer.close()

        servers.append(await asyncio.start_server(handle, "127.0.0.1", 0))
        return f"ws:/127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("relay.example", ("relay.example", 443, True)), ("relay.example:8443", ("relay.example", 8443, True)),
        ("ws:/127.0.0.1:80", ("127.0.0.1", 80, False)), ("ws:/localhost", ("localhost", 80, False)),
        ("[::1]:5", ("::1", 5, True)), ("[::1]", ("::1", 443, True)),
    ],
)  # fmt: skip
def test_a_name_says_where_a_relay_is(name: str, place: tuple[str, int, bool]) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize("name", ["", ":1", "host:", "host:x", "host:0", "host:65536", "ws:/"])
def test_what_is_no_name_leads_nowhere(name: str) -> None:
    with pytest.raises(Unreachable, match="HOST"):
        place_of(name)


async def test_a_connection_that_ended_is_not_used_again(serve: Serve) -> None:
    relay = await serve(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    client = PostClient(ANYWHERE)
    for _ in range(3):
        assert (await client.post(relay, b"one")).status == 202
        await until(lambda: all(connection.lost for idle in client._idle.values() for connection in idle))
    client.close()


@pytest.mark.parametrize(
    "answer", [b"\r\n\r\n", b"HTTP/1.1 20", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(9000)]
)
async def test_what_answers_with_no_http_is_not_reached(serve: Serve, answer: bytes) -> None:
    client = PostClient(ANYWHERE)
    with pytest.raises(Unreachable):
        await client.post(await serve(answer), b"one")
    client.close()


async def test_who_answers_nothing_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_client, "WITHIN", 0.05)
    client = PostClient(ANYWHERE)
    with pytest.raises(Unreachable, match="no answer within"):
        await client.post(await serve(b""), b"one")
    client.close()


async def test_a_name_leads_into_no_network_of_the_relay(serve: Serve) -> None:
    relay = await serve(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    client = PostClient(Reach())
    with pytest.raises(Unreachable):
        await client.post(relay, b"one")
    client.close()
