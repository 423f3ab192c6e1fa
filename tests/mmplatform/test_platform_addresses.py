"""Where strangers make a platform go: nowhere inside, by any transport, and it does not show what is open there."""

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mm_transports.tcp import TCP
from mm_transports.webrtc import attempt
from mm_transports.webrtc.protocol.sdp import Description, IceCandidate
from mm_transports.webrtc.protocol.signalling import CANDIDATE, OFFER, Signal, encode_signal
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import ticket
from tests.support.waiting import stays, until

RELAY_KEY = base64.urlsafe_b64encode(raw_key(Identity.generate().sign_id)).decode().rstrip("=")
INSIDE = (
    "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "localhost",
    "localhost.", "inside.example.org", "sub.localhost.", "metadata.google.internal",
)  # fmt: skip


class Door:
    """Somebody else's service in our network: it counts who comes."""

    def __init__(self) -> None:
        self.came = 0
        self.port = 0

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.transport.abort()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    server = await asyncio.start_server(door, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    six = await asyncio.start_server(door, "::1", door.port)
    yield door
    for each in (server, six):
        each.close()
        await each.wait_closed()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is looked up; every name leads to this host, as one of a hostile DNS server may."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if isinstance(host, str) and host[-1:].isalpha() else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@asynccontextmanager
async def node(**options: Any) -> AsyncIterator[Platform]:
    given: dict[str, Any] = {"connection_info": ["tcp://127.0.0.1:0"], "transports": ["tcp", "relay"]} | options
    async with asyncio.timeout(20), Platform(**given) as platform:
        yield platform


def record(*addresses: str, seq: int = 1) -> NodeInfo:
    return NodeInfo.create(Identity.generate(), addresses, seq, int(time.time()) + 3600)


async def refusal(platform: Platform, info: NodeInfo) -> str:
    """Why the platform does not reach a peer whose record somebody has brought."""
    platform.directory.put(info, "handshake")
    with pytest.raises(Unreachable) as raised:
        await platform.connect(info.sign_id, timeout=0.3)
    return str(raised.value)


@pytest.mark.parametrize("host", INSIDE)
async def test_no_stranger_has_us_dial_inside_by_tcp(door: Door, host: str) -> None:
    async with node() as platform:
        await refusal(platform, record(f"tcp://{host}:{door.port}"))
        assert door.came == 0


@pytest.mark.parametrize("scheme", ["relay+wss", "relay+ws"])
@pytest.mark.parametrize("host", INSIDE)
async def test_no_stranger_has_us_dial_inside_as_a_relay(door: Door, host: str, scheme: str) -> None:
    async with node() as platform:
        await refusal(platform, record(f"{scheme}://{host}:{door.port}/{RELAY_KEY}"))
        assert door.came == 0


@pytest.mark.parametrize(
    "address",
    [
        "relay+ws://8.8.8.8:8080/{key}", "relay+ws://relay.example.org/{key}", "relay+wss://8.8.8.8/admin/reboot/{key}",
        "relay+wss://relay.example.org/latest/meta-data/{key}", "relay+wss://relay.example.org:25/{key}",
        "tcp://8.8.8.8:25", "tcp://relay.example.org:443",
    ],
)  # fmt: skip
async def test_no_stranger_chooses_a_service_a_path_or_plain_http(
    address: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    async def connect(self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        tried.append((host, port))
        raise ConnectionRefusedError

    async with node() as platform:
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect)
        await refusal(platform, record(address.format(key=RELAY_KEY)))
    assert tried == []


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{port}", "tcp://inside.example.org:{port}"])
async def test_a_refusal_tells_nothing_of_what_is_open_inside(door: Door, form: str) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    async with node() as platform:
        said = []
        for where in (form.format(port=door.port), form.format(port=port)):
            info = record(where)
            said.append((await refusal(platform, info)).replace(where, "").replace(info.sign_id, ""))
        assert said[0] == said[1]
        assert door.came == 0


async def test_a_name_is_looked_up_once_and_that_very_address_is_dialled(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DNS server that gives a public address first, and ours when it is asked again, gains nothing."""
    answers, tried = iter(["8.8.8.8", "127.0.0.1", "127.0.0.1"]), []

    def look_up(host: str, port: int, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    async def connect(self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        tried.append((host, options.get("server_hostname")))
        raise ConnectionRefusedError

    async with node() as platform:
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", connect)
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        info = record(f"relay+wss://relay.example.org/{RELAY_KEY}")
        platform.directory.put(info, "handshake")
        with pytest.raises(Unreachable):
            await platform.connect(info.sign_id, timeout=0.05)
    assert tried[0] == ("8.8.8.8", "relay.example.org"), "TLS proves the name"
    assert all(host == "8.8.8.8" for host, _ in tried)


@pytest.mark.parametrize("how", ["friends", "named", "ticket"])
async def test_who_is_known_may_be_anywhere(door: Door, how: str) -> None:
    info = record(f"tcp://127.0.0.1:{door.port}")
    async with node(friends=[info.sign_id] if how == "friends" else ()) as platform:
        if how == "ticket":
            await platform.add(ticket(info))
        if how == "named":
            await platform.add(info.sign_id, name="nas")
        await refusal(platform, info)
        assert door.came > 0


async def test_whose_ticket_was_added_may_have_moved_also_after_a_restart(door: Door, tmp_path: Any) -> None:
    bob = Identity.generate()
    until = int(time.time()) + 3600
    async with node(storage=tmp_path) as platform:
        await platform.add(ticket(NodeInfo.create(bob, ["tcp://127.0.0.1:1"], 1, until)))
    async with node(storage=tmp_path) as platform:
        await refusal(platform, NodeInfo.create(bob, [f"tcp://127.0.0.1:{door.port}"], 2, until))
        assert door.came > 0


async def test_a_link_from_loopback_opens_no_way_there(door: Door) -> None:
    """A bot answers a stranger, which has hung up: it does not dial what the record of that one names (x8_dial)."""
    async with node() as bot, node(connection_info=[]) as stranger:
        await stranger.advertise("me", [f"tcp://127.0.0.1:{door.port}"])
        await stranger.add(bot.ticket())
        heard = asyncio.Event()

        async def answer(topic: str, sender: str, payload: Any) -> None:
            heard.set()
            await stranger.disconnect(bot.sign_id)
            await bot.messaging.send("answer", sender, "hi")

        bot.messaging.on("public.bot", answer)
        await stranger.messaging.send("bot", bot.sign_id, 1)
        await heard.wait()
        await stranger.stop()
        await stays(lambda: door.came == 0, 0.5)


class FakePair:
    """A peer connection that keeps the candidates it is given."""

    given: list[IceCandidate]

    def __init__(self, servers: Any, opened: Any, failed: Any) -> None:
        self.local: Description | None = None

    async def answer(self, offer: Description) -> Description:
        self.given += offer.candidates
        return offer

    async def add(self, candidate: IceCandidate | None) -> None:
        self.given += [candidate] if candidate is not None else []

    async def close(self) -> None: ...


@pytest.mark.parametrize("known", [False, True])
async def test_webrtc_gets_no_candidate_inside_from_a_stranger(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "Pair", FakePair)
    monkeypatch.setattr(FakePair, "given", [], raising=False)
    peer, webrtc = Identity.generate(), WebRTC()
    inside = (
        "10.0.0.1", "192.168.1.1", "172.17.0.2", "100.64.0.1", "fd00::7", "2002:a00:1::1", "64:ff9b::a00:1",
        "2001:0:a00:1::1", "5b0c29d0-27b1-4ad5-9d4e-0b9d8fd8c3a5.local",
    )  # fmt: skip
    hosts = (*inside, "8.8.8.8")
    found = [IceCandidate("1", 5, host, 5000 + n, "host") for n, host in enumerate(hosts)]
    offer = Description("abcd", "a" * 22, ":".join(["AA"] * 32), "actpass", candidates=tuple(found))
    friends = [peer.sign_id] if known else ()
    async with node(transports=[TCP(), webrtc], connection_info=["webrtc:"], friends=friends):
        webrtc.signalled(peer.sign_id, encode_signal(Signal(OFFER, b"1" * 8, offer.text())))
        webrtc.signalled(peer.sign_id, encode_signal(Signal(CANDIDATE, b"1" * 8, found[0].line())))
        await until(lambda: FakePair.given)
        assert {one.host for one in FakePair.given} == ({*hosts} - {"64:ff9b::a00:1"} if known else {"8.8.8.8"})
