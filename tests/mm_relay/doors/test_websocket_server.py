"""What strangers do to the port of a relay: floods of frames, silence, half a message. Others notice nothing of it."""

import asyncio
import gc
import ssl
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.http11 import Request

from mm_relay.config.settings import Config
from mm_relay.doors import connections, websocket_server
from mm_relay.doors.arrivals import Arrivals
from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import Accepted, UpgradeRequest
from mm_relay.doors.websocket_server import ListenerLimits
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import Unreachable
from tests.support import websocket_ends
from tests.support.waiting import until
from tests.support.websocket_ends import UPGRADE, End, Host, closed, dial, hosting, settled, stranger

EMPTY = b"\x82\x80mask"  # a message without bytes
PING = b"\x89\x80mask"
HALF_FRAGMENT = b"\x02\xfe" + (60_000).to_bytes(2) + b"mask" + bytes(60_000)  # the first of a message
HALF = b"\x82\xff" + (1_000_000).to_bytes(8) + b"mask"  # the beginning of a large one


class Counting(End):
    """Counts its messages by turns of the loop."""

    def __init__(self, socket: WebSocket, greeting: bytes = b"") -> None:
        super().__init__(socket, greeting)
        self.turn = 0
        self.by_turn: Counter[int] = Counter()

    def message_received(self, message: bytes) -> None:
        if not self.by_turn[self.turn]:
            asyncio.get_running_loop().call_soon(self.next_turn)
        self.by_turn[self.turn] += 1
        super().message_received(message)

    def next_turn(self) -> None:
        self.turn += 1


class NoTime(LoopTurns):
    """Turns in which there is time for nobody."""

    def has_time(self) -> bool:
        return False


class Taking(asyncio.Transport):
    """Takes what is sent, as TLS does: until it is closed, and it cannot close one half."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.9", 4000)})
        self.said, self.over = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += b"" if self.over else bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    def abort(self) -> None:
        self.over = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class CountingHost(Host):
    def owner_of(self, socket: WebSocket) -> End:
        end = Counting(socket)
        self.ends.append(end)
        self.came.put_nowait(end)
        return end


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Whether the server has ended the connection; what it said before does not matter."""
    with suppress(ConnectionError, TimeoutError):
        await asyncio.wait_for(reader.read(), 2)
        return True
    return reader.at_eof() or reader.exception() is not None


async def gets_in(host: Host, **options: ssl.SSLContext) -> bool:
    try:
        await closed(await dial(host, **options))
    except Unreachable:
        return False
    return True


async def test_a_turn_handles_two_steps_of_64_frames_of_one_read_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_ends, "Host", CountingHost)
    async with hosting() as host, stranger(host, UPGRADE + "\r\n") as (_, writer):
        end = await host.end()
        assert isinstance(end, Counting)
        writer.write(EMPTY * 5000)
        for _ in range(5000):
            assert await end.heard() == b""
        assert max(end.by_turn.values()) <= 128


async def test_who_comes_while_another_floods_waits_for_no_more_than_a_turn_or_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_ends, "Host", CountingHost)
    async with hosting() as host, stranger(host, UPGRADE + "\r\n") as (_, writer):
        flooding = await host.end()
        ours = await dial(host)
        theirs = await host.end()
        writer.write(EMPTY * 20_000)
        await flooding.heard()
        ours.socket.send(b"hello")
        assert await theirs.heard() == b"hello"
        assert flooding.messages.qsize() < 20_000 - 1
        await closed(ours)


async def test_frames_that_are_no_messages_are_counted(host: Host) -> None:
    sizes: list[int] = []
    async with stranger(host, UPGRADE + "\r\n") as (_, writer):
        theirs = await host.end()
        theirs.socket.counted = sizes.append
        writer.write(PING * 3 + b"\x02\x81mask\x00" + b"\x00\x80mask" * 2 + b"\x80\x81mask\x00" + EMPTY)
        assert len(await theirs.heard()) == 2
        assert await theirs.heard() == b""
    assert sizes == [0, 0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("behind", [b"", b"more \xff"])
async def test_who_asks_for_a_page_and_hangs_up_in_a_busy_turn_gets_it(behind: bytes) -> None:
    """TLS tells the end of a stream even while nobody reads."""
    entrance = websocket_server._Entrance(
        lambda request: pytest.fail("no upgrade"), lambda path: (200, "text/plain", b"a page"), (), 1000, 12.0, 3.0,
        Arrivals(9), HalfSent(1000, 1000), NoTime(),
    )  # fmt: skip
    served, transport = websocket_server._Served(entrance), Taking()
    served.connection_made(transport)
    served.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + behind)
    assert not transport.said
    served.eof_received()
    assert transport.said.startswith(b"HTTP/1.1 200")
    assert transport.said.endswith(b"a page")
    await settled()
    served.connection_lost(None)


async def test_who_leaves_before_a_door_has_begun_to_look_it_up_leaves_no_complaint() -> None:
    """Of a flood of requests that hang up the log had a line each: nobody had waited for what the door began."""
    asked: list[UpgradeRequest] = []

    async def look_up(request: UpgradeRequest) -> Accepted:
        asked.append(request)
        return Accepted(lambda socket: pytest.fail("it has left"))

    entrance = websocket_server._Entrance(
        look_up, lambda path: None, (), 1000, 12.0, 3.0, Arrivals(9), HalfSent(1000, 1000), LoopTurns()
    )
    served = websocket_server._Served(entrance, f"{UPGRADE}\r\n".encode())
    served.connection_made(Taking())
    served.data_received(b"")
    served.connection_lost(None)
    await settled()
    assert len(asked) == 1


@pytest.mark.parametrize("behind", ["", "X-Long: " + "y" * 8000 + "\r\n"])
async def test_nothing_of_a_request_stays_with_its_connection(host: Host, behind: str) -> None:
    """Tokens of 2 KB and headers of 16 KB stayed with each connection: the library's parser kept them."""
    gc.collect()
    before = {id(request) for request in gc.get_objects() if isinstance(request, Request)}
    async with stranger(host, UPGRADE.replace("GET /", "GET /?token") + behind + "\r\n"):
        await host.end()
        kept = [one for one in gc.get_objects() if isinstance(one, Request) and id(one) not in before]
        assert [(request.path, len(request.headers)) for request in kept] == [("", 0)]


async def test_what_is_paused_stays_unread_frame_by_frame_and_in_order(host: Host) -> None:
    async with stranger(host, UPGRADE + "\r\n") as (_, writer):
        theirs = await host.end()
        heard: list[bytes] = []

        def pause(message: bytes) -> None:
            heard.append(message)
            theirs.socket.pause_reading()

        theirs.message_received = pause  # type: ignore[method-assign]
        writer.write(b"".join(b"\x82\x81" + bytes(4) + bytes([number]) for number in range(9)))
        for number in range(9):
            await until(lambda number=number: len(heard) > number)
            await settled()
            assert heard == [bytes([each]) for each in range(number + 1)]
            theirs.socket.resume_reading()


async def test_a_message_whose_end_comes_during_a_pause_is_handled_after_it(host: Host) -> None:
    async with stranger(host, UPGRADE + "\r\n") as (_, writer):
        theirs = await host.end()
        writer.write(b"\x82\x82" + bytes(4) + b"a")
        await until(lambda: _started(theirs))
        theirs.socket.pause_reading()
        theirs.socket.data_received(b"b")  # was read already, by TLS say
        await settled()
        assert theirs.messages.empty()
        theirs.socket.resume_reading()
        assert await theirs.heard() == b"ab"


def _started(end: End) -> bool:
    return bytes(end.socket._protocol.reader.buffer) == b"a"


# Silence.


async def test_the_oldest_that_sends_no_request_gives_way_to_the_next() -> None:
    async with (
        hosting(limits=ListenerLimits(upgrading=2)) as host,
        stranger(host, UPGRADE) as (first, _),
        stranger(host, "") as (_, writer),
    ):
        await settled()
        assert await gets_in(host)
        assert await is_cut(first)
        writer.write((UPGRADE + "\r\n").encode())
        assert await host.end()


async def test_a_silent_tls_handshake_gives_way_like_a_silent_request(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    async with (
        hosting(ssl=server, limits=ListenerLimits(upgrading=2)) as host,
        stranger(host, "") as (first, _),
        stranger(host, ""),
    ):
        await settled()
        assert await gets_in(host, ssl=client)
        assert await is_cut(first)


async def test_tls_begins_when_a_connection_says_something(tmp_path: Path) -> None:
    """What TLS keeps of a silent connection is a hundred times its socket."""
    server, client = contexts(tmp_path)
    async with hosting(ssl=server) as host, stranger(host, ""), stranger(host, ""):
        await settled()
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "mm relay newcomer"] == []
        assert await gets_in(host, ssl=client)


async def test_a_silent_tls_connection_is_cut_in_time(tmp_path: Path) -> None:
    server, _ = contexts(tmp_path)
    async with hosting(ssl=server, upgrade_timeout=0.05) as host, stranger(host, "") as (reader, _):
        assert await is_cut(reader)


def test_who_has_proven_nothing_takes_less_than_half_of_the_usual_descriptors() -> None:
    assert ListenerLimits().upgrading + Config().max_unproven <= 448


async def test_what_comes_with_the_end_of_a_tls_handshake_is_not_lost(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    async with hosting(ssl=server) as host:
        for _ in range(20):
            ours = await dial(host, ssl=client)
            theirs = await host.end()
            ours.socket.send(b"hello")
            assert await theirs.heard() == b"hello"
            await closed(ours, theirs)


def test_tls_on_the_loop_of_a_relay_loses_no_handshake(tmp_path: Path) -> None:
    """It reads a new connection at once (uvloop)."""
    uvloop = pytest.importorskip("uvloop")
    server, client = contexts(tmp_path)

    async def come() -> None:
        async with hosting(ssl=server) as host:
            for _ in range(5):
                assert await gets_in(host, ssl=client)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(come())


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server with a certificate of its own, and of clients that trust it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=relay.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=certificate)


def test_a_sign_in_has_three_seconds_for_each_step() -> None:
    assert connections.SIGN_IN_WITHIN <= 3
    assert getattr(websocket_server, "UPGRADE_WITHIN", 10) <= 3


# Half a message.


async def test_who_holds_half_a_message_is_cut_and_not_who_sends_the_next() -> None:
    async with (
        hosting(limits=ListenerLimits(half_sent=1_100_000)) as host,
        stranger(host, UPGRADE + "\r\n") as (holding, first),
        stranger(host, UPGRADE + "\r\n") as (_, second),
    ):
        ends = await host.end(), await host.end()
        first.write(HALF + bytes(800_000))
        await until(lambda: len(ends[0].socket._protocol.reader.buffer) == 800_000)
        second.write(HALF + bytes(400_000))
        assert await is_cut(holding)
        second.write(bytes(600_000))
        assert len(await ends[1].heard()) == 1_000_000


async def test_a_connection_that_is_cut_leaves_nothing_of_its_half_message() -> None:
    """It and its parser refer to each other, and would keep megabytes until the collector comes."""
    gc.disable()
    try:
        async with hosting() as host, stranger(host, UPGRADE + "\r\n") as (_, writer):
            end = await host.end()
            held = end.socket
            writer.write(HALF_FRAGMENT + HALF + bytes(100_000))
            await until(lambda: len(held._protocol.reader.buffer) >= 100_000)
            held.abort("too much is half sent")
            await end.lost()
            await settled()
            assert (len(held._partial), len(held._protocol.reader.buffer)) == (0, 0)
    finally:
        gc.enable()


def test_an_address_holds_eight_megabytes_of_half_messages() -> None:
    limits = ListenerLimits()
    assert limits.half_sent_address <= 8 * 1024 * 1024
    assert limits.half_sent <= 32 * 1024 * 1024
