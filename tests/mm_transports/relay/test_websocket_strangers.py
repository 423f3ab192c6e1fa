"""What comes in at the port of a WebSocket server: plain requests, nonsense, too much of it; keep-alive and pauses."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network

import pytest

from mm_transports.relay import websocket
from mm_transports.relay.protocol.items import MAX_MESSAGE
from mm_transports.relay.websocket import HIGH_WATER
from mmplatform.errors import Unreachable
from tests.support.websocket_ends import (
    PATIENCE,
    UPGRADE,
    Host,
    answer_page,
    closed,
    dial,
    hosting,
    stranger,
)

# Who comes in.


async def test_plain_requests_are_answered_on_the_same_port() -> None:
    pages = {"/healthz": (200, "application/json", b"{}\n")}
    async with hosting(http=pages.get) as host:
        got = await answer_page(host, "GET /healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\n{}\n")
        got = await answer_page(host, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Type: application/json\r\n" in got
        assert got.endswith(b"\r\n\r\n")
        assert (await answer_page(host, "GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert (await answer_page(host, "DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize("said", ["", "GET\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"])
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
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.05)
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


async def test_a_request_of_many_headers_is_cut_off_before_they_take_memory() -> None:
    header = "X-Long: " + "y" * 4000 + "\r\n"
    async with hosting() as host, stranger(host, UPGRADE + 5 * header + "\r\n") as (reader, _):
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        assert host.came.empty()
    async with hosting() as host, stranger(host, UPGRADE + 3 * header + "\r\n") as (reader, _):
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 101 ")
