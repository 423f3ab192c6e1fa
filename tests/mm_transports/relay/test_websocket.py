"""Both ends of a WebSocket on real sockets: with each other, with the library's own two, with TLS."""

import asyncio
import random
import socket
from contextlib import suppress
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

from mm_relay.doors.upgrade import Accepted, UpgradeRefused, UpgradeRequest
from mm_relay.doors.websocket_server import ListenerLimits, serve
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION
from mm_transports.relay.websocket import connect, without_secrets
from mmplatform.errors import Unreachable
from tests.support.websocket_ends import (
    PATIENCE,
    UPGRADE,
    End,
    Host,
    answer_page,
    closed,
    dial,
    hosting,
    stranger,
)


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


async def test_messages_between_the_loss_and_the_word_of_it_are_written_nowhere(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    ours = await dial(host)
    theirs = await host.end()
    assert ours.socket._transport is not None
    plain = ours.socket._transport.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    ours.socket.abort()  # with a reset
    await ours.lost()
    for _ in range(20):  # as a sender does that has much to say in one turn of the loop
        theirs.socket.send(b"message")
    await theirs.lost()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


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
    host.port = server.names[0][1]
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


async def test_what_is_half_sent_is_bounded_over_all_connections() -> None:
    half = b"\x82\xff" + (1_000_000).to_bytes(8) + b"mask" + bytes(200_000)
    async with (
        hosting(limits=ListenerLimits(half_sent=300_000)) as host,
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


async def test_an_error_of_a_dial_tells_no_secret_of_the_url() -> None:
    """A token of RMB is the query; the library quotes the whole URL that it cannot read."""
    for url in (
        "ws:///host/?eyJ0b2tlbg",
        "http://me:secret@relay.example/?eyJ0b2tlbg",
        "ws://me:secret@127.0.0.1:1/?eyJ",
    ):
        with pytest.raises(Unreachable) as caught:
            await connect(url, (), End, max_message=1)
        assert "eyJ" not in str(caught.value)
        assert "secret" not in str(caught.value)
    assert without_secrets("wss://me:secret@relay.example:1/a@b?c") == "wss://relay.example:1/a@b"
