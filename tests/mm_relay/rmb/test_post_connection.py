"""What strangers do to the door at which other relays post: half of a body, crumbs, forgeries without end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from mm_relay.doors.websocket_server import LIMITS
from mm_relay.rmb.post_connection import FORGED_ITEMS
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest, encode_envelope
from tests.support.rmb_world import RmbRelay
from tests.support.waiting import stays, until

PATIENCE = 10.0
LARGEST = 1024 * 1024


@asynccontextmanager
async def connected(relay: RmbRelay) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*relay.host.split(":"))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def head(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


def forged(relay: RmbRelay, uid: str) -> bytes:
    """Return the post of an envelope that its source has not signed."""
    body = encode_envelope(RmbEnvelope(
        uid=uid, message=RmbRequest("calc.add"), timestamp=int(relay.clock()), expiration=300,
        source=TwinAddress(10), destination=TwinAddress(30), signature=b"e" + bytes(64),
    ))  # fmt: skip
    return head(len(body)) + body


def posts(relay: RmbRelay) -> list[Any]:
    """Return the connections that post."""
    return list(relay.server._rmb._posts._open)  # type: ignore[union-attr]


@pytest.fixture
async def relay(rmb: Callable[..., Awaitable[RmbRelay]]) -> RmbRelay:
    return await rmb()


async def test_bodies_that_have_no_end_are_counted_with_all_that_is_half_sent(relay: RmbRelay) -> None:
    """One address held 64 MiB, for half a minute each: as many connections as it may have, of a megabyte less one."""
    async with AsyncExitStack() as stack:
        for _ in range(12):
            _, writer = await stack.enter_async_context(connected(relay))
            writer.write(head(LARGEST) + bytes(LARGEST - 1))
        await until(lambda: len(posts(relay)) <= 8 and held(relay) > 7 * LARGEST)
        await stays(lambda: held(relay) <= LIMITS.half_sent_address, 0.1)
    await until(lambda: posts(relay) == [])


def held(relay: RmbRelay) -> int:
    return sum(each._http.held for each in posts(relay))


@pytest.mark.parametrize(
    "headers", [b"Transfer-Encoding: chunked\r\n", b"", b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n"]
)
async def test_whoever_does_not_say_how_much_it_posts_is_sent_away(relay: RmbRelay, headers: bytes) -> None:
    """A body in chunks of a byte took some 10 us a byte: ten seconds for one envelope of a megabyte."""
    async with connected(relay) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + b"1\r\nx\r\n" * 100)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 411 ")


async def test_forgeries_are_charged_to_who_posts_them(rmb: Callable[..., Awaitable[RmbRelay]]) -> None:
    """Two thousand a second of one address were verified twice each: most of the time of a relay."""
    relay = await rmb(**{"rate-items": FORGED_ITEMS, "rate-address-items": FORGED_ITEMS})
    async with connected(relay) as (reader, writer):
        writer.write(b"".join(forged(relay, f"{number}") for number in range(50)))
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        await until(lambda: relay.server.metrics.rmb_posts[401] >= 4)
        await stays(lambda: relay.server.metrics.rmb_posts[401] <= 10, 0.5)


async def test_posts_behind_one_another_are_all_answered_in_order(relay: RmbRelay) -> None:
    async with connected(relay) as (reader, writer):
        writer.write((forged(relay, "one") + head(3) + b"\xff\xff\xff") * 10)
        writer.write_eof()
        said = (await asyncio.wait_for(reader.read(), PATIENCE)).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in said] == [b"401", b"400"] * 10
