"""One signed-in connection to a relay: what it costs, how it ends, how it comes back, and what it takes from nobody."""

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mm_relay.access import Access
from mm_relay.doors.websocket_server import serve
from mm_transports.relay import client as module
from mm_transports.relay import websocket_session
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import (
    MAX_MESSAGE,
    Bye,
    Challenge,
    Data,
    Deposit,
    Forwarded,
    Item,
    Open,
    Present,
    SignIn,
    Taken,
    Welcome,
)  # fmt: skip
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.relay.websocket import WebSocket
from mmplatform.errors import Unreachable
from tests.support.relay_client import ALICE, BOB, RELAY, client
from tests.support.tiny_relay import LIMITS, Tiny
from tests.support.upgrades import answering
from tests.support.waiting import stays, until
from tests.support.world import identity

pytestmark = pytest.mark.usefixtures("at_once")


NOBODY = identity(3).sign_key


async def test_signs_in_and_says_goodbye(relay: Tiny) -> None:
    async with client(relay.address) as (alice, owner):
        assert not alice.up
        assert alice.open
        await alice.connected(5)
        assert alice.up
        assert alice.reason == ""
        assert alice.limits == relay.limits
        assert alice.skew > 1e9  # our clock stands at 1970
        assert list(relay.sessions) == [ALICE.sign_key]
    assert owner.events == ["up", "closed"]
    assert not alice.tell(Open(BOB.sign_key, 1, b""))
    await until(lambda: not relay.sessions)
    with pytest.raises(Unreachable, match="closed"):
        await alice.connected(5)


async def test_the_first_items_leave_in_one_message_with_the_sign_in(relay: Tiny) -> None:
    async with client(relay.address, BOB) as (bob, heard):
        await bob.connected(5)
        async with client(relay.address) as (alice, _):
            for number in range(3):
                assert alice.tell(Open(BOB.sign_key, number, b"hello"))
            await until(lambda: len(heard.events) == 4)
        assert heard.events[1:4] == [Open(ALICE.sign_key, number, b"hello") for number in range(3)]
        assert sorted(relay.messages.values()) == [1, 2]  # alice's second one is her goodbye


async def test_the_first_of_a_turn_leaves_at_once_and_all_others_in_one_message(relay: Tiny) -> None:
    async with client(relay.address) as (alice, _):
        await alice.connected(5)
        before = relay.messages.total()
        for number in range(100):
            alice.tell(Data(NOBODY, number, b"x"))
        await until(lambda: len(relay.said) == 100)
        assert relay.messages.total() == before + 2


async def test_many_bytes_are_several_messages_in_order(relay: Tiny) -> None:
    async with client(relay.address) as (alice, _):
        await alice.connected(5)
        sizes = [100_000, 200_000, 262_144, 1, 262_144, 5]
        for number, size in enumerate(sizes):
            alice.tell(Data(NOBODY, number, bytes(size)))
        alice.tell(Deposit(NOBODY, bytes(16), 1, bytes(1024 * 1024)))
        alice.tell(Taken(list(range(4096))))
        relay.intercept = lambda session, item: True
        await until(lambda: len(relay.said) == len(sizes) + 2)
        assert [item.link for item in relay.said[:-2]] == list(range(len(sizes)))  # type: ignore[union-attr]


async def test_full_while_more_is_told_than_leaves_and_told_when_that_is_over(relay: Tiny) -> None:
    async with client(relay.address) as (alice, owner):
        await alice.connected(5)
        relay.intercept = lambda session, item: True
        while not alice.full:
            alice.tell(Data(NOBODY, 1, bytes(200_000)))
        assert "writable" not in owner.events
        await until(lambda: "writable" in owner.events)
        assert not alice.full


async def test_far_too_much_is_not_taken(relay: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DROP", 1000)
    async with client(relay.address) as (alice, _):
        assert [alice.tell(Data(NOBODY, n, bytes(800))) for n in range(3)] == [True, False, False]


async def test_comes_back_after_a_loss(relay: Tiny) -> None:
    async with client(relay.address) as (alice, owner):
        await alice.connected(5)
        await relay.stop()
        await until(lambda: len(owner.events) > 1)
        assert not alice.tell(Open(BOB.sign_key, 1, b""))
        assert alice.reason
        with pytest.raises(Unreachable, match="relay"):
            await alice.connected(0.05)
        await relay.start()
        await alice.connected(5)
        assert owner.events[0] == owner.events[-1] == "up"


async def test_without_keep_one_connection_is_all(relay: Tiny) -> None:
    async with client(relay.address, keep=False) as (alice, owner):
        await alice.connected(5)
        relay.connections[0].abort()
        await until(lambda: not alice.open)
        with pytest.raises(Unreachable):
            await alice.connected(5)
        assert len(owner.events) == 2


async def test_the_relay_says_how_long_to_stay_away(relay: Tiny) -> None:
    async with client(relay.address) as (alice, owner):
        await alice.connected(5)
        began = asyncio.get_running_loop().time()
        relay.sessions[ALICE.sign_key].end("draining", 0.3)
        await until(lambda: owner.events[1:] == ["draining", "up"])
        assert 0.3 <= asyncio.get_running_loop().time() - began < 2


async def test_who_is_taken_over_does_not_fight(relay: Tiny) -> None:
    async with client(relay.address) as (old, owner):
        await old.connected(5)
        async with client(relay.address) as (new, _):
            await new.connected(5)
            await until(lambda: len(owner.events) == 2)
            assert owner.events[1].startswith("taken-over: another node")
            assert not old.open
            assert websocket_session.SUSPICION >= 60
            await stays(lambda: new.up and not old.open, 0.05)  # far above the backoff of these tests


async def test_a_key_that_is_not_welcome(relay: Tiny) -> None:
    relay.host.access = Access(deny={ALICE.sign_key})
    async with client(relay.address, keep=False) as (alice, owner):
        with pytest.raises(Unreachable, match="denied: the relay does not serve this key"):
            await alice.connected(5)
        assert len(owner.events) == 1


async def test_another_relay_at_the_address(relay: Tiny) -> None:
    wrong = format_relay(parse_relay(relay.address).url, BOB.sign_id)
    async with client(wrong) as (alice, owner):
        alice.tell(Open(BOB.sign_key, 1, b"for the right one only"))
        await until(lambda: owner.events)
        assert owner.events[0].startswith("wrong-relay: another relay answers")
        assert not relay.said
        assert not relay.sessions


async def test_nobody_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with client(format_relay(f"ws://127.0.0.1:{port}/", RELAY.sign_id), keep=False) as (alice, _):
            with pytest.raises(Unreachable, match=rf"127.0.0.1:{port}.*Errno"):
                await alice.connected(5)


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    async with client(format_relay("ws://relay.invalid/", RELAY.sign_id), keep=False) as (alice, _):
        with pytest.raises(Unreachable, match="not known; check the name in the address"):
            await alice.connected(5)


async def test_no_relay_of_this_version() -> None:
    server = await serve("127.0.0.1", 0, answering(Script([]).open, ["mm-relay.99"]), max_message=MAX_MESSAGE)
    port = server.names[0][1]
    async with client(format_relay(f"ws://127.0.0.1:{port}/", RELAY.sign_id), keep=False) as (alice, _):
        with pytest.raises(Unreachable, match="mm-relay"):
            await alice.connected(5)
    server.close()


async def test_websockets_is_not_installed(relay: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mm_transports.relay.websocket", None)
    import mm_transports.relay as package

    monkeypatch.delattr(package, "websocket")
    async with client(relay.address, keep=False) as (alice, _):
        with pytest.raises(Unreachable, match="pip install websockets"):
            await alice.connected(5)


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "relay.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=relay.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    tiny = await Tiny(RELAY).start(ssl=context)
    yield tiny.address.replace("relay+ws:", "relay+wss:")
    await tiny.stop()


async def test_tls_with_an_authority_of_its_own(secure: str, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    async with client(secure, ssl_context=trusting) as (alice, _):
        await alice.connected(5)


async def test_a_certificate_nobody_trusts(secure: str) -> None:
    async with client(secure, keep=False) as (alice, _):
        with pytest.raises(Unreachable, match=r"not trusted here.*SSL_CERT_FILE"):
            await alice.connected(5)


async def test_ssl_cert_file_names_an_authority(secure: str, certificate: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.support.relay_client import client\n"
        "async def main():\n"
        "    async with client(sys.argv[1]) as (alice, _):\n"
        "        await alice.connected(5)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, secure,
        env={"SSL_CERT_FILE": f"{certificate}.crt", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert await process.wait() == 0


async def test_no_tls_at_the_other_end(relay: Tiny) -> None:
    async with client(relay.address.replace("+ws:", "+wss:"), keep=False) as (alice, _):
        with pytest.raises(Unreachable, match=r"relay\+ws://"):
            await alice.connected(5)


# Relays that misbehave.


class Script:
    """The owner of a hostile relay's sockets: ``replies[n]`` answers the n-th message, the first one nobody's."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.heard: list[Item] = []
        self.asked = signin.challenge(RELAY, "evil", bytes(32))

    def open(self, socket: WebSocket) -> "Script":
        self.socket = socket
        self._reply(None)
        return self

    def message_received(self, message: bytes) -> None:
        items = decode_items(message)
        self.heard += items
        self._reply(items[0])

    def _reply(self, item: Any) -> None:
        if self.replies:
            said = self.replies.pop(0)
            said = said(self, item) if not isinstance(said, bytes | list) else said
            self.socket.send(said if isinstance(said, bytes) else encode_items(said))

    def connection_lost(self, reason: str) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


def ask(script: Script, _: Any) -> list[Item]:
    return [script.asked]


def welcome(script: Script, given: SignIn) -> list[Item]:
    return [signin.welcome(RELAY, script.asked, given, 0, LIMITS)]


def false_welcome(script: Script, given: SignIn) -> list[Item]:
    return [Welcome(bytes(64), 0, LIMITS)]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([b"\xc1"], "bad-item"),
        ([b""], "bad-item"),
        ([[Present(NOBODY)]], "begins with its challenge"),
        ([[Welcome(bytes(64), 0, LIMITS)]], "begins with its challenge"),
        ([lambda s, _: [s.asked, s.asked]], "before its welcome"),
        ([ask, [Present(NOBODY)]], "before its welcome"),
        ([ask, false_welcome], "wrong-relay"),
        ([ask, lambda s, g: welcome(s, g) * 2], "after the sign-in"),
        ([ask, lambda s, g: [*welcome(s, g), s.asked]], "after the sign-in"),
        ([ask, lambda s, g: [*welcome(s, g), g]], "after the sign-in"),
        ([ask, lambda s, g: [*welcome(s, g), Present(NOBODY)]], "not that"),
        ([lambda s, _: encode_items([Challenge(bytes(32), RELAY.sign_key, "n")] * 5000)], "bad-item"),
        ([ask, lambda s, g: [*welcome(s, g), Bye("enough"), Present(NOBODY)]], "enough"),
        ([[Bye("", 2**52)]], "goodbye"),
    ],
)
async def test_hostile_relays(replies: list[Any], reason: str) -> None:
    script = Script(*replies)
    server = await serve("127.0.0.1", 0, answering(script.open), max_message=MAX_MESSAGE)
    address = format_relay(f"ws://127.0.0.1:{server.names[0][1]}/", RELAY.sign_id)
    async with client(address) as (alice, owner):
        owner.forbidden = Present
        async with asyncio.timeout(5):
            await until(lambda: [event for event in owner.events if event != "up"])
        assert reason in next(event for event in owner.events if event != "up")
        assert not alice.open
        assert not script.replies
        assert alice._task is not None
        assert not alice._task.done()  # it will come back, after a long while
    server.close()


async def test_a_relay_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_session, "SIGN_IN_TIMEOUT", 0.05)
    for script in (Script([]), Script(ask, [])):
        server = await serve("127.0.0.1", 0, answering(script.open), max_message=MAX_MESSAGE)
        address = format_relay(f"ws://127.0.0.1:{server.names[0][1]}/", RELAY.sign_id)
        async with client(address, keep=False) as (alice, _):
            with pytest.raises(Unreachable, match="does not answer the sign-in"):
                await alice.connected(5)
        server.close()


async def test_a_half_open_connection_is_noticed(relay: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay's host vanishes: its pings of silence go unanswered."""
    from mm_transports.relay import websocket

    monkeypatch.setattr(websocket, "PING_EVERY", 0.02)
    connect = websocket.connect
    monkeypatch.setattr(websocket, "connect", lambda *a, **o: connect(*a, **o, ping_every=0.02))
    async with client(relay.address) as (alice, owner):
        await alice.connected(5)
        relay.connections[0].pause_reading()
        relay.connections[0]._transport.pause_reading()  # type: ignore[union-attr]
        relay.connections[0]._timer.cancel()  # type: ignore[union-attr]  # not even a sign of life
        await until(lambda: len(owner.events) > 1)
        assert "ping" in owner.events[1]


async def test_close_while_connecting_and_while_resting(relay: Tiny) -> None:
    async with client(relay.address) as (alice, owner):
        pass
    assert owner.events == ["closed"]
    await relay.stop()
    async with client(relay.address) as (alice, owner):
        await until(lambda: owner.events and not alice.open)
    assert len(owner.events) >= 1
    await relay.start()


async def test_a_relay_s_own_sign_in_says_where_it_is(relay: Tiny) -> None:
    async with client(relay.address, BOB, role=1, own_address="relay+ws://x/k") as (lane, _):
        await until(lambda: lane.up or lane.reason.startswith("denied") or not lane.open)
        lane.tell(Forwarded(NOBODY, NOBODY, Present(NOBODY)))
