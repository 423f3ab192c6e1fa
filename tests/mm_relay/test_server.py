"""A whole relay: what it tells the world, how it ends, what keeps it from starting."""

import asyncio
import json
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tls
from mm_relay import health
from mm_relay.server import RelayServer
from mm_transports.relay.protocol import items, signin
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Closed, Data, Deposit, Mail, Open, Pause, Resume, Stored, Taken, Welcome
from mm_transports.relay.websocket import WebSocket, connect
from mmplatform.errors import FolderInUse, LocalError, StorageError, StorageFull, Unreachable
from mmplatform.identity.keys import Identity, raw_key
from tests.support.native_door import Guest, within
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.waiting import until
from tests.support.websocket_ends import settled

ALICE, BOB = (Identity.from_seed(bytes([number]) * 32) for number in (11, 12))
LATER = 2**52


class Relay:
    """One that runs."""

    def __init__(self, server: RelayServer, facts: dict[str, Any], notes: list[str]) -> None:
        self.server, self.facts, self.notes = server, facts, notes
        self.address = parse_relay(facts["address"])
        self.port = int(facts["listening"].rpartition(":")[2])

    async def guest(self, identity: Identity, context: ssl.SSLContext | None = None) -> Guest:
        guests: list[Guest] = []

        def owner_of(socket: WebSocket) -> Guest:
            guests.append(Guest(socket))
            return guests[0]

        await connect(self.address.url, [items.VERSION], owner_of, max_message=items.MAX_MESSAGE, ssl=context)
        guest = guests[0]
        asked = await guest.hears()
        guest.say(signin.answer(identity, asked, raw_key(self.address.key), bytes(32)))
        assert isinstance(await guest.hears(), Welcome)
        return guest

    async def page(self, path: str, port: int = 0) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await within(reader.read())).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return int(head.split()[1]), body


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Relay]]]:
    running: list[RelayServer] = []

    async def make(**settings: Any) -> Relay:
        notes: list[str] = []
        flags = {"listen": "127.0.0.1:0", "data": tmp_path / "relay", "drain": 2} | settings
        server = RelayServer.configure(
            {name.replace("_", "-"): value for name, value in flags.items()}, None, notes.append
        )
        facts = await server.start()
        running.append(server)
        return Relay(server, facts, notes)

    yield make
    for server in running:
        await server.stop()
    await settled()


async def left(*guests: Guest) -> None:
    for guest in guests:
        guest.socket.close()
        await guest.lost()


async def test_frames_and_mail_and_the_same_key_after_a_restart(start: Any, tmp_path: Path) -> None:
    relay = await start()
    assert stat.S_IMODE((tmp_path / "relay" / "identity").stat().st_mode) == 0o600
    alice, bob = await relay.guest(ALICE), await relay.guest(BOB)
    alice.say(Open(BOB.sign_key, 1, b"hello"), Data(BOB.sign_key, 1, b"more"))
    assert await bob.hears() == Open(ALICE.sign_key, 1, b"hello")
    assert await bob.hears() == Data(ALICE.sign_key, 1, b"more")
    await left(bob)
    assert await alice.hears() == Closed(BOB.sign_key, 0, "gone")
    alice.say(Deposit(BOB.sign_key, bytes(16), LATER, b"sealed"))
    assert isinstance(await alice.hears(), Stored)
    assert relay.server.activity()["stored"] == 1
    await relay.server.stop()
    assert await alice.ended() == "draining"

    again = await start()
    assert again.address.key == relay.address.key
    bob = await again.guest(BOB)
    mail = await bob.hears()
    assert isinstance(mail, Mail)
    assert (mail.peer, mail.envelope) == (ALICE.sign_key, b"sealed")
    bob.say(Taken([mail.number]))
    alice = await again.guest(ALICE)
    ended = await alice.hears()
    assert (ended.peer, ended.id, ended.state) == (BOB.sign_key, bytes(16), "delivered")
    await left(alice, bob)


async def test_a_second_process_on_the_same_folder(start: Any) -> None:
    await start()
    with pytest.raises(FolderInUse, match="is in use by process"):
        await start()


async def test_health_and_pages(start: Any) -> None:
    relay = await start(name="the test")
    assert await relay.page("/healthz") == (200, b'{"state": "ready"}\n')
    assert await relay.page("/") == (200, b"mm relay the test\n")
    assert (await relay.page("/metrics"))[0] == 404
    alice = await relay.guest(ALICE)
    alice.socket.pause_reading()  # it does not notice the end, and the port stays open
    stopping = asyncio.create_task(relay.server.stop())
    await settled()
    assert await relay.page("/healthz") == (503, b'{"state": "draining"}\n')
    with pytest.raises(Unreachable, match="HTTP 503 draining"):
        await relay.guest(BOB)
    alice.socket.resume_reading()
    await within(stopping)
    with pytest.raises(OSError, match="onnect"):
        await relay.page("/healthz")
    await alice.lost()


async def test_metrics_on_the_same_port_and_on_one_of_their_own(
    start: Any, tmp_path: Path, unused_tcp_port: int
) -> None:
    same = await start(metrics="same")
    status, page = await same.page("/metrics")
    assert (status, b"mm_relay_signed_in 0.0" in page) == (200, True)
    apart = await start(metrics=f"127.0.0.1:{unused_tcp_port}", data=tmp_path / "other")
    assert (await apart.page("/metrics"))[0] == 404
    assert (await apart.page("/metrics", unused_tcp_port))[0] == 200
    with pytest.raises(Unreachable, match="no WebSockets here"):
        await connect(f"ws://127.0.0.1:{unused_tcp_port}/", [items.VERSION], Guest, max_message=items.MAX_MESSAGE)


async def test_a_store_that_does_not_answer_is_told_to_balancers(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_AT_STORE", "LOOK_WHILE_DOWN"):
        monkeypatch.setattr(health, name, 0.01)
    relay = await start()
    works = relay.server.core.store.check

    async def fails() -> Any:
        raise StorageFull("/var/mm/mail.db: no space left")

    relay.server.core.store.check = fails
    await until(lambda: relay.server.trouble[0] == "store down")
    status, page = await relay.page("/healthz")
    assert status == 503
    assert json.loads(page)["state"] == "store down"
    assert json.loads(page)["reason"].startswith("full: no room")
    assert b"/var" not in page  # strangers see it
    relay.server.core.store.check = works
    await until(lambda: not relay.server.trouble[0])
    assert [note.partition(":")[0].partition(",")[0] for note in relay.notes] == [
        "the store of mail fails",
        "the store of mail works again",
    ]
    relay.server.metrics.store_errors += 1
    await until(lambda: bool(relay.server.trouble[0]))


async def test_a_renewed_certificate_is_shown_to_those_who_come(start: Any, tmp_path: Path) -> None:
    tls.create(tmp_path)
    files = {"tls_certificate": str(tmp_path / tls.CERTIFICATE), "tls_key": str(tmp_path / tls.KEY)}
    relay = await start(**files)
    assert relay.address.url.startswith("wss://")
    old = tls.client_context(tmp_path)
    alice = await relay.guest(ALICE, old)
    tls.create(tmp_path)
    new = tls.client_context(tmp_path)
    relay.server.reload()
    assert relay.notes == ["the certificate and the lists were read again"]
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await relay.guest(BOB, old)
    bob = await relay.guest(BOB, new)
    (tmp_path / tls.KEY).write_text("half a fi")
    relay.server.reload()
    assert "nothing has changed" in relay.notes[-1]
    again = await relay.guest(ALICE, new)
    assert await alice.ended() == "taken-over"
    await left(again, bob)


async def test_lists_are_read_again(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f'data = "{tmp_path / "relay"}"\nlisten = "127.0.0.1:0"\n')
    notes: list[str] = []
    server = RelayServer.configure({}, file, notes.append)
    relay = Relay(server, await server.start(), notes)
    alice, bob = await relay.guest(ALICE), await relay.guest(BOB)
    with file.open("a") as more:
        more.write(f'deny = ["{ALICE.sign_id}"]\n')
    server.reload()
    assert await alice.ended() == "denied"
    file.write_text("deny = 1")
    server.reload()
    assert "deny: 1 is not a list; nothing has changed" in notes[-1]
    await left(bob)
    await server.stop()


@pytest.mark.parametrize("missing", [tls.CERTIFICATE, tls.KEY])
async def test_certificates_that_cannot_be_used(start: Any, tmp_path: Path, missing: str) -> None:
    tls.create(tmp_path)
    files = {"tls_certificate": str(tmp_path / tls.CERTIFICATE), "tls_key": str(tmp_path / tls.KEY)}
    (tmp_path / missing).write_text("no PEM")
    with pytest.raises(LocalError, match=f"{missing} holds no (certificate|key) in PEM"):
        await start(**files)
    (tmp_path / missing).unlink()
    with pytest.raises(LocalError, match=f"{missing}: No such file"):
        await start(**files)


async def test_a_port_in_use_leaves_nothing_behind(start: Any, tmp_path: Path) -> None:
    relay = await start()
    with pytest.raises(LocalError, match=r"cannot listen on .* in use"):
        await start(data=tmp_path / "other", listen=relay.facts["listening"])
    await start(data=tmp_path / "other")


async def test_redis_that_is_away(start: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"redis at .*start it or check the address"):
        await start(store=f"unix://{tmp_path}/nobody")
    await start()


async def test_without_the_library_of_redis_the_remedy_is_named(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mm_relay.cluster.cluster", None)
    with pytest.raises(LocalError, match=r"pip install 'mm-platform\[relay\]'"):
        await start(store="redis://127.0.0.1:1")


async def test_who_obeys_a_pause_overflows_nothing(start: Any) -> None:
    relay = await start(rate_bytes=0, rate_items=0)
    alice, bob = await relay.guest(ALICE), await relay.guest(BOB)
    bob.socket.pause_reading()
    alice.say(Open(BOB.sign_key, 1, b""))
    sent = 0
    while alice.told.empty():
        alice.say(*[Data(BOB.sign_key, 1, sent.to_bytes(100))] * 200)
        sent += 1
        await asyncio.sleep(0)
    assert await alice.hears() == Pause(BOB.sign_key)
    bob.socket.resume_reading()
    assert isinstance(await bob.hears(), Open)
    for number in range(sent):
        for _ in range(200):
            item = await bob.hears()
            assert isinstance(item, Data)
            assert int.from_bytes(item.data) == number
    assert await alice.hears() == Resume(BOB.sign_key)
    assert not relay.server.metrics.dropped
    await left(alice, bob)


@needs_redis
async def test_two_processes_are_one_relay(start: Any, tmp_path: Path) -> None:
    redis = RedisServer().start()
    try:
        await redis.started()
        key = tmp_path / "shared"
        one = await start(store=redis.url, identity=key, data=tmp_path / "one")
        two = await start(store=redis.url, identity=key, data=tmp_path / "two")
        assert one.address.key == two.address.key
        alice, bob = await one.guest(ALICE), await two.guest(BOB)
        alice.say(Open(BOB.sign_key, 1, b"across"))
        assert await bob.hears() == Open(ALICE.sign_key, 1, b"across")
        bob.say(Data(ALICE.sign_key, 1, b"and back"))
        assert await alice.hears() == Data(BOB.sign_key, 1, b"and back")
        alice.say(Deposit(BOB.sign_key, bytes(16), LATER, b"sealed"))
        assert isinstance(await alice.hears(), Stored)
        mail = await bob.hears()
        assert isinstance(mail, Mail)
        bob.say(Taken([mail.number]))
        assert (await alice.hears()).state == "delivered"
        newer = await one.guest(BOB)
        assert await bob.ended() == "taken-over"
        await left(alice, newer)
    finally:
        for server in (one.server, two.server):
            await server.stop()
        redis.kill()


async def test_plain_listening_beyond_this_machine_is_noted(start: Any) -> None:
    relay = await start(listen="0.0.0.0:0", public_url="ws://127.0.0.1:1/")
    assert relay.notes
    assert "without TLS" in relay.notes[0]
    assert json.loads(json.dumps(relay.facts))["address"].startswith("relay+ws://127.0.0.1:1/")
