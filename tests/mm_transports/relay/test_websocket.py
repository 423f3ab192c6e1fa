"""Both ends of a WebSocket on real sockets: with each other, with the library's own two, with strangers."""

import asyncio
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

from benchmarks import tls
from mm_relay.doors.upgrade import Accepted, UpgradeRefused, UpgradeRequest
from mm_relay.doors.websocket_server import serve
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION
from mm_transports.relay.websocket import HIGH_WATER, WebSocket, connect
from mmplatform.errors import LocalError, Unreachable
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
    host.port = server.sockets[0].getsockname()[1]
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


async def test_messages_both_ways_in_order(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    assert ours.socket.subprotocol == theirs.socket.subprotocol == VERSION
    assert theirs.socket.remote.startswith("127.0.0.1:")
    chance = random.Random(1)
    sent = [chance.randbytes(size) for size in (0, 1, 125, 126, 65_535, 65_536, 300_000, MAX_MESSAGE)]
    for message in sent:
        ours.socket.send(message)
        theirs.socket.send(message)
    assert [await theirs.heard() for _ in sent] == sent
    assert [await ours.heard() for _ in sent] == sent
    await closed(ours, theirs)


async def test_what_the_server_says_at_once_comes_with_the_answer_to_the_upgrade(host: Host) -> None:
    host.greeting = b"challenge"
    async with stranger(host, UPGRADE + "\r\n") as (reader, _):
        assert (await asyncio.wait_for(reader.read(1 << 16), PATIENCE)).endswith(b"\r\n\r\n\x82\x09challenge")


async def test_a_close_in_order_tells_both_sides(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    theirs.socket.send(b"last")
    theirs.socket.close(1001, "draining")
    theirs.socket.send(b"too late")
    assert await ours.heard() == b"last"
    assert await ours.lost() == "closed by the other end: draining"
    assert await theirs.lost() == "closed here: draining"
    assert ours.messages.empty()
    ours.socket.send(b"nothing happens")
    ours.socket.close()
    ours.socket.pause_reading()
    ours.socket.resume_reading()
    assert ours.socket.buffered == 0


async def test_an_abort_is_a_loss_at_the_other_end(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    ours.socket.abort()
    assert (await theirs.lost()).startswith("lost")
    assert await ours.lost() == "closed here"


async def test_a_reason_that_is_too_long_is_cut(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    ours.socket.close(1000, "ü" * 200)
    assert await theirs.lost() == "closed by the other end: " + "ü" * 61
    await ours.lost()


async def test_nothing_is_received_after_a_close_from_within(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    keep = theirs.message_received
    theirs.message_received = lambda message: (keep(message), theirs.socket.close(1000, "enough"))  # type: ignore[method-assign]
    for number in range(3):
        ours.socket.send(bytes([number]))
    assert await ours.lost() == "closed by the other end: enough"
    await theirs.lost()
    assert theirs.messages.qsize() == 1


async def test_the_highest_version_both_know_is_spoken() -> None:
    async with hosting(subprotocols=("mm-relay.3", "mm-relay.2")) as host:
        end = await dial(host, ("mm-relay.1", "mm-relay.2", "mm-relay.3"))
        assert end.socket.subprotocol == "mm-relay.3"
        await closed(end)
        end = await dial(host, ("mm-relay.1", "mm-relay.2"))
        assert end.socket.subprotocol == "mm-relay.2"
        await closed(end)


@pytest.mark.parametrize("offered", [["mm-relay.9"], ["chat", "superchat"]])
async def test_no_version_in_common_names_those_of_the_server(host: Host, offered: list[str]) -> None:
    with pytest.raises(Unreachable, match=rf"HTTP 400 .*this relay speaks {VERSION}; offered: {', '.join(offered)}"):
        await dial(host, offered)
    assert (await answer_page(host, UPGRADE.replace(VERSION, "") + "\r\n")).startswith(b"HTTP/1.1 400")


async def test_every_address_of_a_name_is_tried(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at 127.0.0.2 and 127.0.0.3."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", host.port)) for last in (2, 1, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    url = f"ws://relay.example:{host.port}/"
    socket_here = await connect(url, [VERSION], End, max_message=MAX_MESSAGE)
    assert socket_here.ip == "127.0.0.1"
    socket_here.abort()
    del found[1]
    with pytest.raises(Unreachable, match=r"127\.0\.0\.3"):
        await connect(url, [VERSION], End, max_message=MAX_MESSAGE)


async def test_a_server_that_names_no_version_is_no_relay() -> None:
    async def nothing(socket: Any) -> None:
        await socket.wait_closed()

    async with websockets.asyncio.server.serve(nothing, "127.0.0.1", 0) as server:
        host = Host()
        host.port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(Unreachable, match="agrees to no version"):
            await dial(host)


# The library's own client and server, as peers that know nothing of ours.


async def test_the_librarys_client(host: Host) -> None:
    async with websockets.asyncio.client.connect(host.url, subprotocols=[VERSION], compression="deflate") as client:  # type: ignore[list-item]
        theirs = await host.end()
        await client.send(b"whole")
        await client.send([b"in ", b"", b"three ", b"parts"])
        assert await theirs.heard() == b"whole"
        assert await theirs.heard() == b"in three parts"
        theirs.socket.send(b"answer")
        assert await client.recv() == b"answer"
        await (await client.ping())
        theirs.socket.close(1000, "done")
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1000, "done")
        await theirs.lost()


async def test_the_librarys_server() -> None:
    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, subprotocols=[VERSION], max_size=None) as server:  # type: ignore[list-item]
        host = Host()
        host.port = next(iter(server.sockets)).getsockname()[1]
        ours = await dial(host, ping_every=0.01)
        for message in (b"", b"x" * 70_000):
            ours.socket.send(message)
            assert await ours.heard() == message
        ours.socket.close(1000, "bye")
        await ours.lost()


async def test_a_text_is_not_for_relays(host: Host) -> None:
    async with websockets.asyncio.client.connect(host.url, subprotocols=[VERSION]) as client:  # type: ignore[list-item]
        theirs = await host.end()
        await client.send("text")
        with pytest.raises(websockets.exceptions.ConnectionClosedError, match="binary messages only"):
            await client.recv()
        await theirs.lost()
        assert theirs.messages.empty()


async def test_where_texts_are_spoken_bytes_end_the_connection() -> None:
    async with (
        hosting(text=True) as host,
        websockets.asyncio.client.connect(host.url, subprotocols=[VERSION]) as client,  # type: ignore[list-item]
    ):
        theirs = await host.end()
        await client.send(["in ", "pieces: \N{SNOWMAN}"])
        assert await theirs.heard() == "in pieces: \N{SNOWMAN}".encode()
        theirs.socket.send("an answer: \N{SNOWMAN}".encode())
        assert await client.recv() == "an answer: \N{SNOWMAN}"
        await client.send(b"bytes")
        with pytest.raises(websockets.exceptions.ConnectionClosedError, match="text messages only"):
            await client.recv()
        await theirs.lost()
        assert theirs.messages.empty()


async def test_the_answer_sees_path_query_and_headers() -> None:
    seen: list[UpgradeRequest] = []

    def answer(request: UpgradeRequest) -> Accepted:
        seen.append(request)
        raise UpgradeRefused(401, "no such token")

    server = await serve("127.0.0.1", 0, answer, max_message=MAX_MESSAGE)
    host = Host()
    host.port = server.sockets[0].getsockname()[1]
    request = UPGRADE.replace("GET / ", "GET /a%20b?token=1?2 ") + "X-Twice: one\r\nx-twice: two\r\n\r\n"
    page = await answer_page(host, request)
    assert page.startswith(b"HTTP/1.1 401 ")
    assert page.endswith(b"\r\n\r\nno such token\n")
    (one,) = seen
    assert (one.path, one.query, one.ip, one.subprotocols) == ("/a%20b", "token=1?2", "127.0.0.1", (VERSION,))
    assert one.headers["x-twice"] == "one, two"
    server.close()


@pytest.mark.parametrize("parts", [[bytes(MAX_MESSAGE + 1)], [bytes(MAX_MESSAGE), b"x"]])
async def test_a_message_that_is_too_large_ends_the_connection(host: Host, parts: list[bytes]) -> None:
    async with websockets.asyncio.client.connect(host.url, subprotocols=[VERSION]) as client:  # type: ignore[list-item]
        theirs = await host.end()
        with suppress(websockets.exceptions.ConnectionClosedError):
            await client.send(parts)
        assert "limit" in await theirs.lost()
        assert theirs.messages.empty()


async def test_what_is_half_sent_is_bounded_over_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_relay.doors.websocket_server.MAX_HALF_SENT", 300_000)
    half = b"\x82\xff" + (1_000_000).to_bytes(8) + b"mask" + bytes(200_000)
    async with (
        hosting() as host,
        stranger(host, UPGRADE + "\r\n") as (_, first),
        stranger(host, UPGRADE + "\r\n") as (_, second),
    ):
        ends = await host.end(), await host.end()
        ours = await dial(host)
        theirs = await host.end()
        first.write(half)
        second.write(half)
        await asyncio.wait([end.gone for end in ends], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert [await end.lost() for end in ends if end.gone.done()] == ["too much is half sent"]
        ours.socket.send(b"untouched")
        assert await theirs.heard() == b"untouched"
        await closed(ours, theirs)


async def test_random_bytes_end_the_connection_and_nothing_else(host: Host) -> None:
    chance = random.Random(7)
    for _ in range(40):
        async with stranger(host, UPGRADE + "\r\n") as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            theirs = await host.end()
            writer.write(chance.randbytes(chance.randrange(1, 200)))
            writer.write_eof()
            await asyncio.wait_for(reader.read(), PATIENCE)
            await theirs.lost()
    await closed(await dial(host))


# Who comes in.


async def test_plain_requests_are_answered_on_the_same_port() -> None:
    pages = {"/healthz": (200, "application/json", b"{}\n")}
    async with hosting(http=pages.get) as host:
        got = await answer_page(host, "GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\n{}\n")
        got = await answer_page(host, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Length: 3" in got
        assert got.endswith(b"\r\n\r\n")
        assert (await answer_page(host, "GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert (await answer_page(host, "DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    "said", ["", "\x16\x03\x01 tls?", "GET\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
async def test_what_is_no_request_is_not_answered(host: Host, said: str) -> None:
    async with stranger(host, said) as (reader, writer):
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    assert host.came.empty()


@pytest.mark.parametrize(("said", "status"), [("GET /" + "x" * 9000, b"414"), (UPGRADE + "X: " + "x" * 9000, b"431")])
async def test_a_request_that_is_too_long(host: Host, said: str, status: bytes) -> None:
    assert (await answer_page(host, said + "\r\n\r\n")).startswith(b"HTTP/1.1 " + status)


async def test_a_request_that_never_ends_is_cut_off() -> None:
    async with hosting(upgrade_timeout=0.05) as host, stranger(host, UPGRADE) as (reader, _):
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert host.came.empty()


async def test_too_many_without_a_request_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_relay.doors.websocket_server.MAX_UPGRADING", 1)
    async with hosting() as host, stranger(host, UPGRADE) as (reader, writer):
        await settled()
        with pytest.raises(Unreachable):
            await dial(host)
        writer.write(b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        await closed(await dial(host))


async def test_admission_is_asked_with_the_address() -> None:
    asked: list[str] = []

    def admit(ip: str) -> str:
        asked.append(ip)
        return "" if len(asked) == 1 else "this relay is full"

    async with hosting(admit=admit) as host:
        await closed(await dial(host))
        with pytest.raises(Unreachable, match="HTTP 503 this relay is full"):
            await dial(host)
    assert asked == ["127.0.0.1"] * 2


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (["127.0.0.0/8"], ["203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8"], ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["1.2.3.4, 203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["203.0.113.7", "10.0.0.1"], "203.0.113.7"),
        (["127.0.0.0/8"], ["2001:db8::7"], "2001:db8::7"),
        (["127.0.0.0/8"], ["nonsense"], "127.0.0.1"),
        (["127.0.0.0/8"], [], "127.0.0.1"),
        (["10.0.0.0/8"], ["203.0.113.7"], "127.0.0.1"),
        ([], ["203.0.113.7"], "127.0.0.1"),
    ],
)
async def test_forwarded_addresses_count_from_proxies_only(proxies: list[str], forwarded: list[str], seen: str) -> None:
    asked: list[str] = []
    admit: Callable[[str], str] = lambda ip: asked.append(ip) or "no"  # type: ignore[func-returns-value]  # noqa: E731
    async with hosting(admit=admit, proxies=[ip_network(name) for name in proxies]) as host:
        lines = "".join(f"X-Forwarded-For: {line}\r\n" for line in forwarded)
        assert (await answer_page(host, UPGRADE + lines + "\r\n")).startswith(b"HTTP/1.1 503")
    assert asked == [seen]


# Keep-alive and pauses.


async def test_a_silent_connection_is_pinged_and_lives(host: Host) -> None:
    async with hosting(ping_every=0.01) as quick:
        ours = await dial(quick)
        theirs = await quick.end()
        await asyncio.wait([theirs.gone], timeout=0.2)
        assert not theirs.gone.done()
        await closed(ours, theirs)


def test_a_pong_within_the_millisecond_of_its_ping_counts() -> None:
    """Relays run on uvloop, whose clock has whole milliseconds: on loopback nearly every pong is that quick."""
    uvloop = pytest.importorskip("uvloop")

    async def idle() -> None:
        async with hosting(ping_every=0.02) as quick:
            pairs = [(await dial(quick), await quick.end()) for _ in range(4)]
            await asyncio.wait([theirs.gone for _, theirs in pairs], timeout=0.3, return_when=asyncio.FIRST_COMPLETED)
            assert not [theirs.gone.result() for _, theirs in pairs if theirs.gone.done()]
            for pair in pairs:
                await closed(*pair)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(idle())


async def test_a_half_open_connection_is_found() -> None:
    """The other end took the upgrade and never says anything again, as behind a NAT that has forgotten it."""
    started = asyncio.get_running_loop().time()
    async with hosting(ping_every=0.02) as host, stranger(host, UPGRADE + "\r\n") as (reader, _):
        theirs = await host.end()
        assert await theirs.lost() == "it answers no pings"
        took = asyncio.get_running_loop().time() - started
        assert took >= 0.06, "12 s each: 36 s in earnest"
        with suppress(ConnectionResetError):
            assert (await reader.read()).count(b"\x89\x00") == 2


async def test_who_reads_nothing_is_not_half_open_for_it() -> None:
    async with hosting(ping_every=0.02) as host:
        ours = await dial(host, ping_every=0.02)
        theirs = await host.end()
        theirs.socket.pause_reading()
        ours.socket.send(b"later")
        await asyncio.wait([theirs.gone, ours.gone], timeout=0.3)
        assert not theirs.gone.done()
        assert not ours.gone.done(), "the one that pauses shows that it is there"
        assert theirs.messages.empty()
        theirs.socket.resume_reading()
        assert await theirs.heard() == b"later"
        await closed(ours, theirs)


async def test_a_reader_that_is_slow_pauses_the_writer(host: Host) -> None:
    ours = await dial(host)
    theirs = await host.end()
    ours.socket.pause_reading()
    message, sent = bytes(MAX_MESSAGE), 0
    while "pause" not in theirs.calls:
        theirs.socket.send(message)
        sent += 1
    assert theirs.socket.buffered > HIGH_WATER
    ours.socket.resume_reading()
    for _ in range(sent):
        assert await ours.heard() == message
    ours.socket.send(b"all read")
    await theirs.heard()
    assert theirs.calls == ["pause", "resume"]
    await closed(ours, theirs)


async def test_a_close_that_cannot_be_sent_is_cut_off(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm_transports.relay.websocket.CLOSE_TIMEOUT", 0.05)
    ours = await dial(host)
    theirs = await host.end()
    ours.socket.pause_reading()
    while "pause" not in theirs.calls:
        theirs.socket.send(bytes(MAX_MESSAGE))
    theirs.socket.close(1000, "draining")
    assert await theirs.lost() == "closed here: draining"
    ours.socket.abort()
    await ours.lost()


async def test_who_pings_and_reads_nothing_is_cut_off(host: Host) -> None:
    async with stranger(host, UPGRADE + "\r\n") as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        theirs = await host.end()
        while "pause" not in theirs.calls:
            theirs.socket.send(bytes(MAX_MESSAGE))
        writer.write(b"\x89\x80mask" * 17)
        assert await theirs.lost() == "it pings and reads nothing"


# TLS, and servers that are not there.


async def test_tls_both_ways(tmp_path: Path) -> None:
    tls.create(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / tls.CERTIFICATE, tmp_path / tls.KEY)
    async with hosting(ssl=context) as host:
        ours = await dial(host, ssl=tls.client_context(tmp_path))
        theirs = await host.end()
        message = os.urandom(300_000)
        ours.socket.send(message)
        theirs.socket.send(message)
        assert await ours.heard() == await theirs.heard() == message
        theirs.socket.close(1000, "over TLS, too")
        assert await ours.lost() == "closed by the other end: over TLS, too"
        await theirs.lost()
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await dial(host)


async def test_servers_that_are_not_there(host: Host) -> None:
    with pytest.raises(LocalError, match=rf"cannot listen on 127\.0\.0\.1:{host.port}: .*in use"):
        await serve("127.0.0.1", host.port, answering(host.owner_of), max_message=MAX_MESSAGE)
    for url in ("http://x/", "ws://", "nonsense"):
        with pytest.raises(Unreachable):
            await connect(url, [VERSION], End, max_message=MAX_MESSAGE)
    async with other_server(ends=True) as (url, _):
        with pytest.raises(Unreachable, match=url):
            await connect(url, [VERSION], End, max_message=MAX_MESSAGE)
    with pytest.raises(Unreachable, match=url):
        await connect(url, [VERSION], End, max_message=MAX_MESSAGE)


async def test_a_server_that_does_not_answer_in_time() -> None:
    async with other_server() as (url, came):
        with pytest.raises(Unreachable, match="no answer"):
            await connect(url, [VERSION], End, max_message=MAX_MESSAGE, timeout=0.05)
        (await came.get()).close()
        dialling = asyncio.create_task(connect(url, [VERSION], End, max_message=MAX_MESSAGE))
        came.put_nowait(await came.get())
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


@pytest.mark.parametrize(
    "answered",
    [
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "nonsense\r\n\r\n",
        "\x16\x03",
    ],
)
async def test_a_server_that_is_no_relay(answered: str) -> None:
    async with other_server(answered, ends=True) as (url, _):
        with pytest.raises(Unreachable):
            await connect(url, [VERSION], End, max_message=MAX_MESSAGE)
