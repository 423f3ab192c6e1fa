"""Faults that are real, one at a time: the right one is named, and no other is claimed."""

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_services.kademlia.service import Kademlia
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform, diagnosis
from mmplatform.diagnosis import examine, folder
from mmplatform.diagnosis.causes import worst
from mmplatform.errors import LocalError, StorageFull
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import probe
from mmplatform.plugins.check import Check, CheckState, Diagnosable
from tests.netns import stun as stun_server
from tests.support.running_relays import Running
from tests.support.waiting import until
from tests.support.world import identity

BASELINE = "no-relay"  # of a node on loopback without one


def claimed(checks: Iterable[Check]) -> set[str]:
    """Words of faults and warnings; each says what to do."""
    found = [check for check in checks if check.state in (CheckState.FAULT, CheckState.WARNING)]
    assert all(check.text and check.remedy and check.word for check in found)
    return {check.word for check in found}


def said(checks: Iterable[Check], word: str) -> Check:
    return next(check for check in checks if check.word == word)


def shifted(seconds: float) -> Callable[[], float]:
    """A clock that is wrong."""
    return lambda: time.time() + seconds


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        yield stack


async def node(stack: AsyncExitStack, number: int, **options: Any) -> Platform:
    defaults: dict[str, Any] = {
        "identity": identity(number), "connection_info": ["tcp://127.0.0.1:0"], "transports": [TCP(), Relay()],
    }  # fmt: skip
    return await stack.enter_async_context(Platform(**(defaults | options)))


async def relay(stack: AsyncExitStack, folder: Path, **settings: Any) -> Running:
    running = await Running(folder, **settings).start()
    stack.push_async_callback(running.stop)
    return running


def closed_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def record(number: int, *addresses: str) -> NodeInfo:
    return NodeInfo.create(identity(number), addresses, 1, int(time.time()) + 3600)


async def test_nothing_is_wrong(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    alice, bob = [await node(stack, number, relays=[home.address]) for number in (1, 2)]
    await alice.add(bob.ticket(), name="bob")
    await alice.ping(bob.sign_id)
    checks = await examine(alice, bob.sign_id)
    assert claimed(checks) == set()
    assert worst(checks) is CheckState.OK
    assert {"record of bob", "links to bob", "messages for bob", "clock"} <= {c.subject for c in checks}
    assert next(c for c in checks if c.subject == "UDP").state is CheckState.UNCHECKED


# Relays.


async def test_relay_down(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await Running(tmp_path).start()
    await home.stop()
    checks = await examine(await node(stack, 1, relays=[home.address]))
    assert claimed(checks) == {"relay-down"}
    assert home.address in said(checks, "relay-down").subject


async def test_relay_that_is_killed_while_the_node_runs(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await Running(tmp_path).start()
    alice = await node(stack, 1, relays=[home.address])
    await until(lambda: alice.relays[home.address] == "")
    await home.stop()
    await until(lambda: alice.relays[home.address])
    assert claimed(await examine(alice)) == {"relay-down"}


async def test_relay_whose_name_nobody_knows(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    address = f"relay+ws://relay.invalid/{another_key()}"
    checks = await examine(await node(stack, 1, relays=[address], connection_info=[], transports=[Relay()]))
    assert claimed(checks) == {"relay-name"}


async def test_relay_with_another_key(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    wrong = home.address.rpartition("/")[0] + "/" + another_key()
    assert claimed(await examine(await node(stack, 1, relays=[wrong]))) == {"wrong-key"}


async def test_relay_that_does_not_serve_this_key(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path, allow=(identity(9).sign_key,))
    assert claimed(await examine(await node(stack, 1, relays=[home.address]))) == {"relay-denied"}


async def test_relay_that_can_keep_no_mail(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    home.server._health.reason = "full: no room is left"
    checks = await examine(await node(stack, 1, relays=[home.address]))
    assert claimed(checks) == {"relay-store"}
    assert any("full: no room is left" in check.text for check in checks)


async def test_something_else_than_a_relay(stack: AsyncExitStack) -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(web, "127.0.0.1", 0))
    address = f"relay+ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/{another_key()}"
    assert claimed(await examine(await node(stack, 1, relays=[address]))) == {"relay-version"}


async def test_relay_without_tls(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    address = home.address.replace("relay+ws:", "relay+wss:")
    assert claimed(await examine(await node(stack, 1, relays=[address]))) == {"relay-tls"}


async def test_no_relay(stack: AsyncExitStack) -> None:
    assert claimed(await examine(await node(stack, 1))) == {"no-relay"}
    checks = await examine(await node(stack, 2, connection_info=[]))
    assert said(checks, "no-relay").state is CheckState.FAULT


# Clocks.


async def test_clock_of_this_host(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    bob = await node(stack, 2, relays=[home.address])
    alice = await node(stack, 1, now=shifted(-3600.0), relays=[home.address])
    await alice.add(bob.ticket())
    checks = await examine(alice, bob.sign_id)
    assert claimed(checks) == {"clock-skew"}
    assert "this host is 3600 s behind" in said(checks, "clock-skew").text
    assert said(checks, "clock-skew").state is CheckState.FAULT


async def test_clock_of_a_peer(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    bob, carol = await node(stack, 2, now=shifted(600.0)), await node(stack, 3)
    alice = await node(stack, 1, relays=[home.address])
    for peer in (bob, carol):
        await alice.add(peer.ticket())
        await alice.connect(peer.sign_id)
    checks = await examine(alice)
    assert claimed(checks) == {"clock-skew"}
    assert said(checks, "clock-skew").subject == f"clock of {bob.sign_id}"


# Peers.


async def test_another_node_is_where_the_peer_was(stack: AsyncExitStack) -> None:
    alice, carol = await node(stack, 1), await node(stack, 3)
    assert carol.directory.own_record is not None
    alice.directory.put(record(2, *carol.directory.own_record.connection_info), "ticket")
    assert claimed(await examine(alice, identity(2).sign_id)) == {"wrong-key", BASELINE}


async def test_nobody_is_where_the_peer_was(stack: AsyncExitStack) -> None:
    alice = await node(stack, 1)
    address = f"tcp://127.0.0.1:{closed_port()}"
    alice.directory.put(record(2, address), "ticket")
    checks = await examine(alice, identity(2).sign_id)
    assert claimed(checks) == {"peer-unreachable", BASELINE}
    tried = next(check for check in checks if address in check.subject)
    assert tried.state is CheckState.UNCHECKED
    assert "Connect call failed" in tried.text


async def test_a_peer_that_takes_the_connection_and_is_silent(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "ANSWER_TIMEOUT", 0.1)
    monkeypatch.setattr(diagnosis, "FIRST_LINK", 0.1)
    alice = await node(stack, 1)
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(silent, "127.0.0.1", 0))
    stack.callback(gone.set)
    alice.directory.put(record(2, f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "ticket")
    assert claimed(await examine(alice, identity(2).sign_id)) == {"peer-unreachable", BASELINE}


async def test_a_peer_that_is_not_at_its_relay(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    alice = await node(stack, 1, relays=[home.address])
    alice.directory.put(record(2, home.address), "ticket")
    await alice.messaging.send("chat", identity(2).sign_id, "hi")
    checks = await examine(alice, identity(2).sign_id)
    assert claimed(checks) == {"peer-absent"}
    assert worst(checks) is CheckState.WARNING
    assert "1 waits" in next(check for check in checks if check.subject.startswith("messages")).text


async def test_mail_that_is_declined(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path, recipient_bytes=1)
    alice = await node(stack, 1, relays=[home.address])
    bob = identity(2).sign_id
    alice.directory.put(record(2, home.address), "ticket")
    await alice.messaging.send("chat", bob, "hi")
    await until(
        lambda: (
            alice.parts.outbox.queue(bob).why
            or any(lane_queue.why for lane_queue in alice.parts.outbox.queue(bob).lanes)
        )
    )
    assert claimed(await examine(alice, bob)) == {"peer-absent", "mail-declined"}


async def test_a_peer_whose_relay_is_down(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await Running(tmp_path).start()
    await home.stop()
    alice = await node(stack, 1, relays=[home.address])
    alice.directory.put(record(2, home.address), "ticket")
    assert claimed(await examine(alice, identity(2).sign_id)) == {"relay-down"}


async def test_a_peer_of_whom_nothing_is_known(stack: AsyncExitStack) -> None:
    alice = await node(stack, 1)
    assert claimed(await examine(alice, identity(2).sign_id)) == {"record-missing", BASELINE}


async def test_a_record_that_has_expired(stack: AsyncExitStack) -> None:
    alice = await node(stack, 1)
    alice.directory.put(NodeInfo.create(identity(2), ["tcp://127.0.0.1:1"], 1, int(time.time()) + 1), "ticket")
    alice.directory._now = lambda: time.time() + 10
    assert claimed(await examine(alice, identity(2).sign_id)) == {"record-expired", BASELINE}


async def test_a_record_that_expired_while_the_node_was_away(stack: AsyncExitStack, tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=[]) as before:
        before.directory.put(NodeInfo.create(identity(2), ["tcp://127.0.0.1:1"], 1, int(time.time()) + 2), "ticket")
        await before.directory.set_name(identity(2).sign_id, "bob")
    later = Platform(tmp_path, connection_info=["tcp://127.0.0.1:0"], now=shifted(10.0))
    alice = await stack.enter_async_context(later)
    assert claimed(await examine(alice, identity(2).sign_id)) == {"record-expired", BASELINE}


# UDP, STUN, DHT.


async def test_dht_whose_seeds_are_gone(stack: AsyncExitStack) -> None:
    seed = f"kad://127.0.0.1:{closed_port(socket.SOCK_DGRAM)}"
    alice = await node(stack, 1, services=[Kademlia(["kad://127.0.0.1:0"], bootstrap=[seed], first_meeting=0.3)])
    checks = await examine(alice)
    assert claimed(checks) == {"dht-empty", BASELINE}
    assert said(checks, "dht-empty").state is CheckState.FAULT


async def test_dht_of_a_first_node(stack: AsyncExitStack) -> None:
    alice = await node(stack, 1, services=[Kademlia(["kad://127.0.0.1:0"], first_meeting=0.3)])
    checks = await examine(alice)
    assert said(checks, "dht-empty").state is CheckState.WARNING
    assert alice.directory.own_record is not None
    bob = await node(stack, 2, services=[Kademlia(
        ["kad://127.0.0.1:0"],
        bootstrap=[a for a in alice.directory.own_record.connection_info if a.startswith("kad:")],  # type: ignore[union-attr]
    )])  # fmt: skip
    assert claimed(await examine(bob)) == {BASELINE}


async def test_stun_server_that_is_gone(stack: AsyncExitStack) -> None:
    url = f"stun:127.0.0.1:{closed_port(socket.SOCK_DGRAM)}"
    checks = await examine(await node(stack, 1), servers=[url])
    assert claimed(checks) == {"stun-unreachable", BASELINE}
    assert next(check for check in checks if check.subject == "UDP").state is CheckState.OK


async def test_stun_server_of_the_webrtc_transport(stack: AsyncExitStack) -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(stun_server.answer(data, *addr), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    stack.callback(transport.close)
    url = f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    alice = await node(stack, 1, transports=[TCP(), WebRTC(stun=[url])])
    checks = await examine(alice, servers=[url])
    assert claimed(checks) == {BASELINE}
    assert [check.state for check in checks if check.subject == f"STUN server {url}"] == [CheckState.OK]


async def test_udp_that_is_dropped_while_tcp_is_not(stack: AsyncExitStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{deaf.getsockname()[1]}"
        assert claimed(await examine(await node(stack, 1), servers=[url])) == {"udp-blocked", BASELINE}


# The data folder.


async def test_folder_that_is_sound(tmp_path: Path) -> None:
    assert claimed(await folder.without_node(tmp_path / "new")) == set()
    async with Platform(tmp_path / "node", connection_info=[]):
        pass
    checks = await folder.without_node(tmp_path / "node")
    assert claimed(checks) == set()
    assert "database" in {check.subject for check in checks}


async def test_folder_in_use(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=[]):
        assert claimed(await folder.without_node(tmp_path)) == {"folder-in-use"}


@pytest.mark.parametrize("where", [100, 8192])
async def test_database_that_is_damaged(tmp_path: Path, where: int) -> None:
    async with Platform(tmp_path, connection_info=[]) as platform:
        await platform.storage.write([(bytes([n]) * 50, bytes(500)) for n in range(60)])
    with (tmp_path / "data.db").open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 4096)
    assert claimed(await folder.without_node(tmp_path)) == {"database-damaged"}


async def test_key_that_others_can_read(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=[]):
        pass
    (tmp_path / "identity").chmod(0o644)
    assert claimed(await folder.without_node(tmp_path)) == {"key-unusable"}


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "folder-read-only"), (errno.EIO, "storage")]
)
async def test_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str) -> None:
    def refuse(_: Path) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(folder, "_write", refuse)
    assert claimed(await folder.without_node(tmp_path)) == {word}
    async with Platform(tmp_path / "node", connection_info=["tcp://127.0.0.1:0"]) as platform:
        assert claimed(await examine(platform)) == {word, BASELINE}


async def test_storage_of_a_running_node_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Platform(tmp_path, connection_info=["tcp://127.0.0.1:0"]) as platform:
        with monkeypatch.context() as patched:

            def full(*_: Any, **__: Any) -> Any:
                raise StorageFull("no space")

            patched.setattr(platform.storage, "write", full)
            assert claimed(await examine(platform)) == {"disk-full", BASELINE}


async def test_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LITTLE", 2**70)
    assert claimed(await folder.without_node(tmp_path)) == {"disk-nearly-full"}


async def test_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder.os, "access", lambda *_: False)
    assert claimed(await folder.without_node(tmp_path / "a" / "b")) == {"folder-read-only"}


async def test_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        platform = Platform(connection_info=[f"tcp://127.0.0.1:{taken.getsockname()[1]}"], transports=[TCP()])
        with pytest.raises(LocalError) as caught:
            await platform.start()
    assert folder.explained(caught.value).word == "port-in-use"


async def test_port_of_the_last_run_in_use(stack: AsyncExitStack, tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=["tcp://127.0.0.1:0"]) as before:
        assert before.directory.own_record is not None
        port = int(before.directory.own_record.connection_info[0].rpartition(":")[2])
    taken = stack.enter_context(socket.socket())
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    alice = await stack.enter_async_context(Platform(tmp_path, connection_info=["tcp://127.0.0.1:0"]))
    checks = await examine(alice)
    assert claimed(checks) == {"port-in-use", BASELINE}
    assert str(port) in said(checks, "port-in-use").text


def test_other_reasons_why_a_node_does_not_start() -> None:
    assert folder.explained(LocalError("cannot listen on tcp://192.0.2.1:1: no such address")).word == "cannot-listen"
    assert folder.explained(StorageFull("x")).word == "disk-full"
    assert folder.explained(LocalError("hm")).word == "cannot-start"


async def test_a_plugin_whose_checks_fail(stack: AsyncExitStack) -> None:
    class Broken(TCP, Diagnosable):
        async def checks(self) -> list[Check]:
            raise ValueError("no")

    checks = await examine(await node(stack, 1, transports=[Broken()]))
    assert claimed(checks) == {BASELINE}
    assert next(check for check in checks if check.subject == "Broken").state is CheckState.UNCHECKED


def another_key() -> str:
    """The key of no relay there is, as an address has it."""
    return format_relay("ws://x/", identity(200).sign_id).rpartition("/")[2]
