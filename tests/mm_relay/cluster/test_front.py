"""Who answers at the public URL of a relay: another process that is ready, others, or nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import tls
from mm_relay.cluster import front
from mm_relay.cluster.front import Front, ask_front

Answering = Callable[..., Awaitable[str]]
READY = b'HTTP/1.1 200 OK\r\n\r\n{"state": "ready"}\n'


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    """Return a function that answers all with some bytes; it returns host and port."""
    servers: list[asyncio.Server] = []

    async def make(answer: bytes, context: ssl.SSLContext | None = None) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer if head.startswith(b"GET /healthz HTTP/1.1\r\n") else b"HTTP/1.1 404 no\r\n\r\n")
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield make
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_a_process_that_is_ready_serves(answering: Answering) -> None:
    assert await ask_front(f"ws://{await answering(READY)}/") is Front.SERVES


async def test_a_process_that_is_not_and_a_page_of_anybody_do_not_serve(answering: Answering) -> None:
    down = b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"state": "store down"}\n'
    assert await ask_front(f"ws://{await answering(down)}/") is Front.REFUSES
    assert (
        await ask_front(f"ws://{await answering(b'HTTP/1.1 200 OK' + bytes((13, 10)) * 2 + b'hello')}/")
        is Front.REFUSES
    )
    assert await ask_front(f"ws://{await answering(READY)}/elsewhere/") is Front.REFUSES


async def test_a_balancer_that_has_nobody_refuses_or_hangs_up(answering: Answering, unused_tcp_port: int) -> None:
    assert await ask_front(f"ws://127.0.0.1:{unused_tcp_port}/") is Front.REFUSES
    assert await ask_front(f"ws://{await answering(b'')}/") is Front.REFUSES
    assert await ask_front(f"ws://{await answering(b'SSH-2.0')}/") is Front.REFUSES


async def test_where_nothing_is_heard_of_it_is_silent(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await ask_front("ws://no-such-name.invalid/") is Front.SILENT
    monkeypatch.setattr(front, "ASK_WITHIN", 0.05)
    assert await ask_front(f"wss://{await answering(READY)}/") is Front.SILENT


async def test_any_certificate_will_do(answering: Answering, tmp_path: Path) -> None:
    tls.create(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / tls.CERTIFICATE, tmp_path / tls.KEY)
    assert await ask_front(f"wss://{await answering(READY, context)}/") is Front.SERVES
