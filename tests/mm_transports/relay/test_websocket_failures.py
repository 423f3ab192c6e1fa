"""Servers that are not there, or no relays, and TLS."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from benchmarks import tls
from mm_relay.doors.websocket_server import serve
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION
from mm_transports.relay.websocket import connect
from mmplatform.errors import LocalError, Unreachable
from tests.support.upgrades import answering
from tests.support.websocket_ends import (
    End,
    Host,
    dial,
    hosting,
    other_server,
)

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
