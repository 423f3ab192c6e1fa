"""Which door takes a request, by subprotocol, path and order; a door of another kind beside the native one."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.exceptions

from mm_relay.access import Access
from mm_relay.doors import connections as connections_module
from mm_relay.doors.connections import Connections
from mm_relay.doors.door import Door, DoorHost
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.native import NativeDoor
from mm_relay.doors.upgrade import UpgradeRefused, UpgradeRequest
from mm_relay.doors.websocket_server import serve
from mm_relay.metrics import Metrics
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION, Bye, Data, Item, Limits
from mm_transports.relay.websocket import WebSocket
from mmplatform.identity.keys import Identity
from tests.support.native_door import NOW, Core, limits, within
from tests.support.waiting import until

RELAY, PEER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
SECRET = "what a client said"


class QueryDoor(Door):
    """The key stands in the query, unproven; each message is one frame for the peer itself."""

    max_message = 100

    @classmethod
    def takes(cls, request: UpgradeRequest) -> bool:
        if request.path == "/closed":
            raise UpgradeRefused(403, "closed on Sundays")
        return request.path == "/query"

    def __init__(self, socket: WebSocket, host: DoorHost, request: UpgradeRequest) -> None:
        super().__init__(socket, host, request)
        if request.query:
            self.begin_session(bytes.fromhex(request.query))

    def decode(self, message: bytes) -> list[Item]:
        return [Data(self.key or bytes(32), 1, message)]

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        for item in items:
            if isinstance(item, Data):
                yield item.data
            elif isinstance(item, Bye):
                yield item.reason.encode()


class PatientDoor(QueryDoor):
    def sign_in(self, items: list[Item]) -> list[Item]:
        return []


class TextDoor(QueryDoor):
    text = True
    subprotocol = "words"

    @classmethod
    def takes(cls, request: UpgradeRequest) -> bool:
        return cls.subprotocol in request.subprotocols

    def decode(self, message: bytes) -> list[Item]:
        return super().decode(message.decode().upper().encode())


def connections(*kinds: type[Door], limited: Limits | None = None, **options: Any) -> tuple[Connections, Core]:
    core = Core()
    chosen = {
        "access": Access(), "connection_limits": ConnectionLimits(), "metrics": Metrics(), "now": lambda: NOW,
        "random": os.urandom,
    }  # fmt: skip
    return Connections(RELAY, "test", limited or limits(), core, kinds=kinds, **(chosen | options)), core


def request(path: str = "/", *offered: str, query: str = "") -> UpgradeRequest:
    return UpgradeRequest(path, query, {}, offered, "192.0.2.1")


class Served:
    def __init__(self, made: Connections, core: Core, port: int) -> None:
        self.connections, self.core, self.port = made, core, port

    def connect(self, path: str, *subprotocols: Any) -> Any:
        url = f"ws://127.0.0.1:{self.port}{path}"
        return websockets.asyncio.client.connect(url, subprotocols=subprotocols or None, compression=None)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made, core = connections(NativeDoor, QueryDoor, TextDoor)
    server = await serve("127.0.0.1", 0, made.answer, max_message=MAX_MESSAGE)
    yield Served(made, core, server.names[0][1])
    server.close()
    await made.empty(0)
    await asyncio.sleep(0)
    assert not made.doors
    assert made.metrics.connections == made.metrics.signed_in == made.connection_limits.total == 0


async def test_the_first_door_that_takes_a_request_has_it() -> None:
    made, _ = connections(NativeDoor, QueryDoor, TextDoor)
    assert made.answer(request("/query", VERSION))[1:] == (VERSION, False)
    assert made.answer(request("/query"))[1:] == ("", False)
    assert made.answer(request("/", "other", "words"))[1:] == ("words", True)
    other, _ = connections(QueryDoor, NativeDoor)
    assert other.answer(request("/query", VERSION))[1:] == ("", False)


async def test_what_no_door_takes_is_told_what_is_spoken() -> None:
    made, _ = connections(NativeDoor, QueryDoor, TextDoor)
    with pytest.raises(UpgradeRefused, match=f"this relay speaks {VERSION}, words; offered: a, b") as refused:
        made.answer(request("/", "a", "b"))
    assert refused.value.status == 400


async def test_caps_come_before_doors() -> None:
    made, _ = connections(QueryDoor, connection_limits=ConnectionLimits(most=1, total=1))
    with pytest.raises(UpgradeRefused, match="this relay is full") as refused:
        made.answer(request("/closed"))
    assert refused.value.status == 503
    assert made.metrics.refused == {"this relay is full": 1}


async def test_a_door_may_refuse_with_a_status_of_its_own(served: Served) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await served.connect("/closed")
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"closed on Sundays\n")


async def test_a_client_of_another_door_signs_in_with_its_request(served: Served) -> None:
    async with served.connect(f"/query?{PEER.sign_key.hex()}") as client:
        session = await within(served.core.signed.get())
        assert session.key == PEER.sign_key
        assert served.connections.metrics.signed_in == 1
        await client.send(b"out")
        assert await within(served.core.items.get()) == Data(PEER.sign_key, 1, b"out")
        session.tell(Data(PEER.sign_key, 1, b"in"))
        assert await within(client.recv()) == b"in"
    assert await within(served.core.left.get()) is session


async def test_who_is_denied_never_gets_to_the_core() -> None:
    made, core = connections(QueryDoor, access=Access(deny={PEER.sign_key}))
    server = await serve("127.0.0.1", 0, made.answer, max_message=MAX_MESSAGE)
    at = Served(made, core, server.names[0][1])
    async with at.connect(f"/query?{PEER.sign_key.hex()}") as client:
        assert await within(client.recv()) == b"denied"
    assert core.signed.empty()
    assert made.metrics.refused == {"denied": 1}
    server.close()
    await made.empty(1)


async def test_a_door_without_words_before_the_sign_in_takes_none(served: Served) -> None:
    async with served.connect("/query") as client:
        await client.send(b"hello")
        assert await within(client.recv()) == b"bad-sign-in: sign in first"
    assert served.core.items.empty()


async def test_a_proof_that_comes_after_the_end_signs_nobody_in(served: Served) -> None:
    async with served.connect("/query"):
        (door,) = served.connections.doors
    await until(lambda: not served.connections.doors)
    door.begin_session(PEER.sign_key)
    assert not door.signed_in
    assert served.core.signed.empty()


async def test_who_has_not_signed_in_gains_no_time_by_being_too_fast() -> None:
    made, _ = connections(PatientDoor, limited=limits(rate_items=1), sign_in_within=0.3)
    server = await serve("127.0.0.1", 0, made.answer, max_message=MAX_MESSAGE)
    at = Served(made, Core(), server.names[0][1])
    async with at.connect("/query") as client:
        for _ in range(10):
            await client.send(b"not yet")
        assert await within(client.recv()) == b"sign in sooner"
    assert made.metrics.rate_pauses
    server.close()
    await made.empty(1)


async def test_each_door_has_its_own_largest_message(served: Served) -> None:
    async with served.connect(f"/query?{PEER.sign_key.hex()}") as client:
        await client.send(bytes(100))
        await within(served.core.items.get())
        await client.send(bytes(101))
        assert await within(client.recv()) == b"too-large: at most 100 bytes"
    assert served.core.items.empty()


async def test_text_that_is_none_ends_the_connection(served: Served) -> None:
    async with served.connect(f"/?{PEER.sign_key.hex()}", "words") as client:
        assert client.subprotocol == "words"
        session = await within(served.core.signed.get())
        await client.send("loud")
        assert await within(served.core.items.get()) == Data(PEER.sign_key, 1, b"LOUD")
        await client.send(b"\xff", text=True)
        assert await within(client.recv()) == "bad-text: not UTF-8"
        assert await within(served.core.left.get()) is session


class BrokenDoor(QueryDoor):
    """Raises where the query says."""

    @classmethod
    def takes(cls, request: UpgradeRequest) -> bool:
        if request.query == "takes":
            raise ValueError(SECRET)
        if request.query.isdecimal():
            raise UpgradeRefused(int(request.query), "no")
        return True

    def __init__(self, socket: WebSocket, host: DoorHost, request: UpgradeRequest) -> None:
        self.broken = request.query
        Door.__init__(self, socket, host, request)
        self.begin_session(PEER.sign_key)
        if self.broken == "constructor":
            socket.send(b"too early")
            raise ValueError(SECRET)
        if self.broken == "late":
            raise UpgradeRefused(403, SECRET)

    def decode(self, message: bytes) -> list[Item]:
        if self.broken == "decode":
            raise KeyError(message)
        return super().decode(message)

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        if self.broken == "encode":
            raise KeyError(items)
        return super().encode(items)


@pytest.fixture
async def broken(nothing_escapes: list[Any]) -> AsyncIterator[Served]:
    made, core = connections(BrokenDoor)
    server = await serve("127.0.0.1", 0, made.answer, max_message=MAX_MESSAGE)
    yield Served(made, core, server.names[0][1])
    server.close()
    await made.empty(0)


def nothing_is_left(served: Served) -> bool:
    made = served.connections
    counts = made.metrics.connections, made.metrics.signed_in, made.connection_limits.total
    return (len(made.doors), len(made.sockets), *counts) == (0, 0, 0, 0, 0)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "mm_relay.doors"]


@pytest.mark.parametrize("where", ["takes", "499", "101", "constructor", "late"])
async def test_a_door_that_fails_over_a_request_answers_500_and_leaks_nothing(
    broken: Served, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broken.port)
    writer.write(
        f"GET /?{where} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    answer = await within(reader.read())
    writer.close()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"this door is broken\n")
    assert nothing_is_left(broken)
    [text] = told(caplog)
    assert text.startswith("a door failed with ")
    assert SECRET not in text


@pytest.mark.parametrize("where", ["decode", "encode"])
async def test_a_door_that_fails_over_a_message_ends_that_connection_alone(
    broken: Served, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broken.connect(f"/?{where}") as client, broken.connect("/?none") as other:
        session = await within(broken.core.signed.get())
        if where == "decode":
            await client.send(SECRET.encode())
        else:
            session.tell(Data(PEER.sign_key, 1, SECRET.encode()))
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            await within(client.recv())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        await other.send(b"still here")
        assert await within(broken.core.items.get()) == Data(PEER.sign_key, 1, b"still here")
    await until(lambda: nothing_is_left(broken))
    assert broken.connections.metrics.refused == {"door-failed": 1}
    [text] = told(caplog)
    assert text.startswith("BrokenDoor failed with KeyError")
    assert SECRET not in text


async def test_of_many_that_were_told_to_go_and_stay_the_oldest_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever displaces itself again and again would hold a descriptor for each time."""
    monkeypatch.setattr(connections_module, "MOST_LEAVING", 2)
    made, _ = connections(NativeDoor)
    server = await serve("127.0.0.1", 0, made.answer, max_message=MAX_MESSAGE)
    socks = [await asyncio.open_connection("127.0.0.1", server.names[0][1]) for _ in range(5)]
    for _, writer in socks:
        writer.write(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Protocol: {VERSION}\r\n\r\n".encode()
        )
    await until(lambda: len(made.doors) == 5)
    for door in list(made.doors):
        door.end("displaced")
    await until(lambda: len(made.sockets) == 2)
    assert not made.doors
    server.close()
    await made.empty(0)
    for _, writer in socks:
        writer.transport.abort()
    await until(lambda: not made.sockets)
