"""Ends of WebSockets that write down what comes; servers of ours and of the library; strangers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mm_relay.doors.websocket_server import serve
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION
from mm_transports.relay.websocket import WebSocket, connect
from tests.support.upgrades import answering

PATIENCE = 10.0


UPGRADE = (
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {VERSION}\r\n"
)


class End:
    """The owner of one end; ``greeting`` is said as soon as it is there."""

    def __init__(self, socket: WebSocket, greeting: bytes = b"") -> None:
        self.socket = socket
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.calls: list[str] = []
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if greeting:
            socket.send(greeting)

    def message_received(self, message: bytes) -> None:
        self.messages.put_nowait(message)

    def connection_lost(self, reason: str) -> None:
        self.gone.set_result(reason)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    async def heard(self) -> bytes:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def lost(self) -> str:
        return await asyncio.wait_for(self.gone, PATIENCE)


class Host:
    """A server and the ends it has made."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.came: asyncio.Queue[End] = asyncio.Queue()
        self.greeting = b""
        self.port = 0
        self.scheme = "ws"

    def owner_of(self, socket: WebSocket) -> End:
        end = End(socket, self.greeting)
        self.ends.append(end)
        self.came.put_nowait(end)
        return end

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    async def end(self) -> End:
        return await asyncio.wait_for(self.came.get(), PATIENCE)


@asynccontextmanager
async def hosting(
    *,
    subprotocols: Sequence[str] = (VERSION,),
    admit: Callable[[str], str] = lambda ip: "",
    text: bool = False,
    **options: Any,
) -> AsyncIterator[Host]:
    host = Host()
    answer = answering(host.owner_of, subprotocols, admit, text=text)
    server = await serve("127.0.0.1", 0, answer, max_message=MAX_MESSAGE, **options)
    host.port = server.names[0][1]
    host.scheme = "wss" if options.get("ssl") else "ws"
    try:
        yield host
    finally:
        server.close()
        for end in host.ends:
            end.socket.abort()
        await settled()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosting() as made:
        yield made


async def dial(host: Host, subprotocols: Sequence[str] = (VERSION,), **options: Any) -> End:
    ends: list[End] = []

    def owner_of(socket: WebSocket) -> End:
        ends.append(End(socket))
        return ends[0]

    await connect(host.url, subprotocols, owner_of, max_message=MAX_MESSAGE, **options)
    return ends[0]


@asynccontextmanager
async def stranger(host: Host, said: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection that has said this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    writer.write(said.encode("latin-1"))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await settled()


async def answer_page(host: Host, said: str) -> bytes:
    """All that the server says to raw bytes until it closes."""
    async with stranger(host, said) as (reader, _):
        return await asyncio.wait_for(reader.read(), PATIENCE)


@asynccontextmanager
async def other_server(
    said: str = "", ends: bool = False
) -> AsyncIterator[tuple[str, "asyncio.Queue[asyncio.StreamWriter]"]]:
    """One that is no relay: its URL, and the connections that came."""
    came: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.put_nowait(writer)
        writer.write(said.encode("latin-1"))
        if ends:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", came
    server.close()
    while not came.empty():
        came.get_nowait().transport.abort()
    await settled()


async def settled() -> None:
    """What the loop has in hand is done."""
    for _ in range(10):
        await asyncio.sleep(0)


async def closed(*ends: End) -> None:
    for end in ends:
        end.socket.close()
    for end in ends:
        await end.lost()
