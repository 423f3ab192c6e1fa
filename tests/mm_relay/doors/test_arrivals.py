"""A connection that has not made a whole request is a socket, and one begins in a turn of the loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from mm_relay.doors import websocket_server
from mm_relay.doors.turns import LoopTurns
from tests.support.waiting import until
from tests.support.websocket_ends import PATIENCE, UPGRADE, Host, dial, hosting, stranger

PAGE = "GET /healthz HTTP/1.1\r\nHost: x\r\n"


class Noting(LoopTurns):
    """Notes who waits for a turn, and how many begin in each."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: list[str] = []
        self.begun = [0]

    def newcomer(self, network: str, step: object) -> None:
        self.queues.append(network)

        def counted() -> object:
            self.begun[-1] += 1
            return step()  # type: ignore[operator]

        super().newcomer(network, counted)

    def _let_in(self) -> None:
        self.begun.append(0)
        super()._let_in()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The WebSockets that were made."""
    found: list[object] = []
    usual = websocket_server._Served.__init__

    def noted(self: object, *given: object) -> None:
        found.append(self)
        usual(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(websocket_server._Served, "__init__", noted)
    return found


@pytest.fixture
async def turns() -> Noting:
    return Noting()


@pytest.fixture
async def host(turns: Noting) -> AsyncIterator[Host]:
    async with hosting(turns=turns, http=lambda path: (200, "text/plain", b"well\n")) as found:
        yield found


async def cut(reader: asyncio.StreamReader) -> None:
    """Wait until the server has cut the connection off, without a word."""
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_no_websocket_is_made_of_half_a_request(host: Host, made: list[object]) -> None:
    async with stranger(host, UPGRADE) as (_, writer):
        await dial(host)
        assert len(made) == 1, "that of the other one"
        for byte in b"\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
        await until(lambda: len(made) == 2)
        await host.end()
        assert await host.end()


@pytest.mark.parametrize("said", ["\x16\x03\x01\x02\x00", "\x00", UPGRADE + "X: " + "y" * 16_384])
async def test_what_is_no_request_or_too_long_a_one_is_cut_off(host: Host, made: list[object], said: str) -> None:
    async with stranger(host, said) as (reader, _):
        await cut(reader)
    assert made == []


async def test_who_hangs_up_before_the_end_leaves_nothing(host: Host, made: list[object], turns: Noting) -> None:
    async with stranger(host, UPGRADE) as (reader, writer):
        writer.write_eof()
        await cut(reader)
    assert (made, turns.queues) == ([], [])


@pytest.mark.parametrize("request_", [PAGE, UPGRADE])
async def test_who_does_not_wait_for_the_answer_leaves_nothing(host: Host, turns: Noting, request_: str) -> None:
    """Its system refuses the answer before the end of the stream is written, which the system then refuses, too."""
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", host.port)) as hasty:
            hasty.sendall((request_ + "\r\n").encode())
        async with stranger(host, PAGE + "\r\n") as (reader, _):
            assert b"well" in await asyncio.wait_for(reader.read(), PATIENCE)
    assert len(turns.queues) == 6


async def test_pages_do_not_wait_behind_those_who_want_a_websocket(host: Host, turns: Noting) -> None:
    async with stranger(host, UPGRADE + "\r\n"), stranger(host, PAGE + "\r\n") as (reader, _):
        assert b"well" in await asyncio.wait_for(reader.read(), PATIENCE)
        await host.end()
    assert len(set(turns.queues)) == 2


async def test_one_websocket_begins_in_a_turn(host: Host, turns: Noting) -> None:
    ends = await asyncio.gather(*(dial(host) for _ in range(20)))
    assert len(ends) == 20
    assert max(turns.begun) == 1


async def test_what_came_with_the_request_is_heard_in_order(host: Host) -> None:
    frame = b"\x82\x85mask" + bytes(a ^ b for a, b in zip(b"hello", b"maskm", strict=True))
    async with stranger(host, UPGRADE + "\r\n" + frame.decode("latin-1")) as (_, writer):
        writer.write(frame)
        end = await host.end()
        assert [await end.heard(), await end.heard()] == [b"hello", b"hello"]
