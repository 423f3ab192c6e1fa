"""MulticastDNS on loopback: found by key alone, missed when gone, and untouched by what strangers send."""

import asyncio
import random
import socket
import time
from typing import Any

import pytest

from mm_services.mdns import MulticastDNS, announcement, interfaces
from mm_services.mdns import service as module
from mm_services.mdns.multicast import Multicast
from mm_services.mdns.neighbours import AskingTiming
from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.waiting import until
from tests.support.world import collect

pytestmark = pytest.mark.usefixtures("multicast")


def node(**options: Any) -> Platform:
    return Platform(**({"connection_info": ["tcp://127.0.0.1:0"], "services": ["mdns"]} | options))


def service(of: Platform) -> MulticastDNS:
    [found] = of.services
    assert isinstance(found, MulticastDNS)
    return found


def heard(by: Platform, topic: str, *, of: Platform) -> list[Any]:
    """What ``by`` is told of ``of``."""
    found: list[Any] = []

    def note(topic: str, sender: str, payload: Any) -> None:
        if payload["signId"] == of.sign_id:
            found.append(payload)

    by.messaging.on(f"self.transports.{topic}", note)
    return found


async def test_a_key_is_enough_and_whoever_leaves_is_missed() -> None:
    async with asyncio.timeout(20), node() as alice:
        bob = node()
        got = collect(alice, "public.chat")
        found, bootstrap, gone = (heard(alice, t, of=bob) for t in ("nodeInfo", "nodeInfoBootstrap", "nodeInfoGone"))
        async with bob:
            await until(lambda: service(alice)._multicast._info is not None)
            await (await bob.messaging.send("chat", alice.sign_id, "hi"))
            assert got == ["hi"]
            assert bob.directory.found_by(alice.sign_id) == "mdns"
            await until(lambda: found and bootstrap)
            assert found[0]["foundBy"] == "mdns"
            assert NodeInfo.from_payload(found[0], time.time()) == bob.directory.own_record
        await until(lambda: gone)
        assert gone == [{"signId": bob.sign_id, "foundBy": "mdns"}]
        assert service(alice).trouble == ""


async def test_a_renewed_record_is_announced() -> None:
    async with asyncio.timeout(20), node() as alice, node() as bob:
        found = heard(alice, "nodeInfo", of=bob)
        await until(lambda: found)
        await bob.advertise("kad", ["kad://127.0.0.1:4000"])
        await until(lambda: "kad://127.0.0.1:4000" in found[-1]["connectionInfo"])


async def test_an_address_without_a_record_is_dialled_and_the_handshake_proves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcement, "MAX_TXT", 0)
    async with asyncio.timeout(20), node() as alice, node() as bob:
        named = heard(bob, "addresses", of=alice)
        await until(lambda: named)
        assert bob.directory.known(alice.sign_id) is None
        await bob.connect(alice.sign_id)
        assert bob.directory.found_by(alice.sign_id) == "handshake"


async def test_who_asks_again_is_told_again() -> None:
    async with asyncio.timeout(20), node() as alice, node() as bob:
        found = heard(alice, "nodeInfo", of=bob)
        await until(lambda: found)
        alice.directory._forget(bob.sign_id)
        assert await alice.directory.find(bob.sign_id) == bob.directory.own_record
        bootstrap = heard(alice, "nodeInfoBootstrap", of=bob)
        await alice.messaging.send("transports.requestBootstrapNodeInfo", "local", {})
        assert len(bootstrap) == 1


async def test_a_question_about_a_stranger_goes_to_everybody_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    async def look(self: Multicast) -> None:
        looks.append(1)

    async with asyncio.timeout(20), node() as alice:
        await until(lambda: service(alice)._multicast._info is not None)
        monkeypatch.setattr(Multicast, "look", look)
        service(alice)._looked = -100.0
        for _ in range(3):
            await (await alice.messaging.send("transports.requestNodeInfo", "local", Identity.generate().sign_id))
    assert looks == [1]


async def test_a_host_that_does_not_answer_is_missed_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = MulticastDNS(AskingTiming(period=0.05, second_try=0.01))
    dead: set[int] = set()

    async def probe(host: str, port: int) -> bool | None:
        return None if port in dead else True

    monkeypatch.setattr(module, "_probe", probe)
    async with asyncio.timeout(20), node(services=[quick]) as alice, node() as bob:
        found, gone = heard(alice, "nodeInfo", of=bob), heard(alice, "nodeInfoGone", of=bob)
        await until(lambda: found)
        await alice.messaging.send("transports.requestNodeInfo", "local", bob.sign_id)  # something here wants it
        await until(lambda: len(found) == 2)
        assert bob.directory.own_record is not None
        dead.add(int(bob.directory.own_record.connection_info[0].rpartition(":")[2]))
        await until(lambda: gone)
        assert alice.directory.known(bob.sign_id) is None
        dead.clear()
        await until(lambda: len(found) == 3)


async def test_no_connection_is_opened_to_strangers_that_nobody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger may announce whatever it likes, by the dozen: addresses of others, too."""
    quick = MulticastDNS(AskingTiming(period=0.01, second_try=0.01, farewell=0.01))
    probed: list[int] = []

    async def probe(host: str, port: int) -> bool | None:
        probed.append(port)
        return True

    monkeypatch.setattr(module, "_probe", probe)
    async with asyncio.timeout(20), node(services=[quick]) as alice:
        for number in range(1, 101):
            key = Identity.generate().sign_id.encode()
            quick._heard(f"{number}._mm._tcp.local.", {b"v": b"1", b"id": key}, [f"tcp://127.0.0.1:{number}"])
        friend = Identity.generate().sign_id
        alice.contacts.friends.add(friend)
        quick._heard("f._mm._tcp.local.", {b"v": b"1", b"id": friend.encode()}, ["tcp://127.0.0.1:1234"])
        await until(lambda: len(probed) >= 10)
        assert set(probed) == {1234}
        names = [f"{name}._mm._tcp.local." for name in (*range(1, 101), "f")]
        assert quick._neighbours._all.keys() >= set(names)  # and other nodes of this host


async def test_a_stranger_has_us_ask_no_door_but_those_of_this_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record announced here names services, other networks and other spellings: nobody is asked there."""
    asked: list[tuple[str, int]] = []

    async def probe(host: str, port: int) -> bool | None:
        if port in {22, 80, 4000}:  # other nodes of this host announce themselves, too
            asked.append((host, port))
        return True

    monkeypatch.setattr(module, "_probe", probe)
    for addresses, expected in (
        (["tcp://127.0.0.1:22", "tcp://127.1:4000", "tcp://0.0.0.0:4000", "tcp://[::1]:80"], []),
        (["tcp://10.9.8.7:4000", "tcp://169.254.169.254:4000", "tcp://127.0.0.1:4000"], [("127.0.0.1", 4000)]),
    ):
        asked.clear()
        async with asyncio.timeout(20), node() as alice:
            mdns = service(alice)
            await until(lambda mdns=mdns: mdns._multicast._info is not None)  # type: ignore[misc]
            info = NodeInfo.create(Identity.generate(), addresses, 1, int(time.time()) + 3600)
            said = announcement.Announcement(info.sign_id, info, info.connection_info)
            mdns._neighbours.heard("evil", said, mdns._now())
            await mdns._ask(next(iter(mdns._neighbours._all.values())))
        assert asked == expected


async def test_probes() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await module._probe("127.0.0.1", port) is True
    server.close()
    await server.wait_closed()
    assert await module._probe("127.0.0.1", port) is False
    assert await module._probe("no such host.", 1) is None


async def test_without_multicast_it_says_so_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRY_AGAIN", 0.01)
    monkeypatch.setattr(interfaces, "hears_itself", lambda interface: False)
    opened = Multicast.open
    tries: list[int] = []

    async def broken(self: Multicast, chosen: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("no such device")
        await opened(self, chosen)

    monkeypatch.setattr(Multicast, "open", broken)
    async with asyncio.timeout(20), node() as alice:
        await until(lambda: "no such device" in service(alice).trouble)
        await until(lambda: "do not come back" in service(alice).trouble)


async def test_a_node_without_an_address_here_has_nothing_to_announce() -> None:
    options = {"transports": [Memory(Network())], "connection_info": ["memory://0"]}
    async with asyncio.timeout(20), node(**options) as alice:
        await until(lambda: "none of our addresses" in service(alice).trouble)


async def test_stopped_before_it_began() -> None:
    async with node():
        pass


async def test_garbage_on_the_wire_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Random datagrams, mutations of true announcements, and announcements of nonsense, all to the mDNS group."""
    generator = random.Random(1)
    async with asyncio.timeout(60), node() as alice, node() as bob:
        await until(lambda: bob.directory.known(alice.sign_id) and alice.directory.known(bob.sign_id))
        info = service(bob)._multicast._info
        assert info is not None
        engine = service(bob)._multicast._zeroconf
        assert engine is not None
        [true] = engine.zeroconf.generate_service_broadcast(info, None).packets()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sock.bind(("127.0.0.1", 5353))
            for number in range(5000):
                sock.sendto(_mutated(true, generator) if number % 4 else generator.randbytes(64), ("224.0.0.251", 5353))
                if number % 100 == 0:
                    await asyncio.sleep(0)
        assert len(service(alice)._neighbours) <= 256
        assert len(service(alice)._multicast._resolving) <= 32
        got = collect(alice, "public.chat")
        await (await bob.messaging.send("chat", alice.sign_id, "still here"))
        assert got == ["still here"]


def _mutated(packet: bytes, generator: random.Random) -> bytes:
    """A few bytes changed, or the end missing, or a piece repeated; never a goodbye of the true name."""
    data = bytearray(packet)
    for _ in range(generator.randint(1, 6)):
        data[generator.randrange(12, len(data))] = generator.randrange(256)
    kind = generator.randrange(3)
    if kind == 1:
        del data[generator.randrange(len(data)) :]
    elif kind == 2:
        start = generator.randrange(len(data))
        data[start:start] = data[start : start + generator.randrange(64)]
    return bytes(data)
