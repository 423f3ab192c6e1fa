"""Two implementations against each other: vectors, handshakes and frames both ways, whole nodes over a real relay."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_relay.config.settings import Config
from mm_relay.doors import connections
from mm_relay.server import RelayServer
from mm_transports.relay.transport import Relay
from mm_transports.webrtc.protocol.pieces import PIECE, Assembly, split
from mm_transports.webrtc.protocol.sdp import Description, IceCandidate
from mm_transports.webrtc.protocol.signalling import OFFER, Signal, encode_signal
from mmplatform import Platform, Refused
from mmplatform.codec import decode
from mmplatform.delivery.wire import (
    Ack,
    Again,
    Batch,
    End,
    Event,
    Frame,
    Part,
    Piece,
    Record,
    Reply,
    Request,
    encode_packet,
    tombstone,
)
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import parse_ticket, ticket
from mmplatform.session.cookies import CookieJar
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import Initiator, Responder
from tests.clients.javascript import Counterpart, built
from tests.support.waiting import until

SEED = b"\x01" * 32
OURS = Identity.from_seed(b"\x02" * 32)


def record(identity: Identity) -> bytes:
    return NodeInfo.create(identity, ["tcp://192.0.2.2:1"], 1, int(time.time()) + 1000).encode()


@pytest.mark.slow
def test_vectors() -> None:
    """All of docs/protocol/vectors that a client needs, valid and invalid."""
    built("test")


async def test_we_call(other: Counterpart) -> None:
    await other.do("responder", seed=SEED.hex())
    server = Identity.from_seed(SEED).sign_id
    machine = Initiator(OURS, record(OURS), server, lambda: b"what I hold", os.urandom)
    [[_, cookie]] = await other.do("receive", frame=machine.hello().hex())
    [initiate] = machine.receive(bytes.fromhex(cookie), time.time())
    assert isinstance(initiate, Send)
    assert await other.do("receive", frame=initiate.frame.hex()) == [["identified", OURS.sign_id, b"what I hold".hex()]]
    [[_, ready], _] = await other.do("accept", resume=b"and I".hex())
    [established] = machine.receive(bytes.fromhex(ready), time.time())
    assert isinstance(established, Established)
    assert (established.peer.sign_id, established.resume) == (server, b"and I")
    await exchange(established, other)


async def test_we_are_called(other: Counterpart) -> None:
    machine = Responder(OURS, lambda: record(OURS), CookieJar(os.urandom), os.urandom)
    hello = await other.do("initiator", seed=SEED.hex(), server=OURS.sign_id, resume=(b"r" * 5000).hex())
    [cookie] = machine.receive(bytes.fromhex(hello), time.time())
    assert isinstance(cookie, Send)
    [[_, initiate]] = await other.do("receive", frame=cookie.frame.hex())
    [identified] = machine.receive(bytes.fromhex(initiate), time.time())
    assert isinstance(identified, Identified)
    assert identified.resume == b"r" * 5000
    ready, established = machine.accept(b"")
    assert isinstance(ready, Send)
    assert isinstance(established, Established)
    assert await other.do("receive", frame=ready.frame.hex()) == [["established", OURS.sign_id, ""]]
    await exchange(established, other)


async def exchange(ours: Established, other: Counterpart) -> None:
    """What either seals the other opens; an altered frame is refused."""
    for size in (0, 1, 15, 16, 17, 63, 64, 65, 1000, 262128):
        plain = os.urandom(size)
        assert await other.do("open", frame=ours.session.seal(plain).hex()) == plain.hex()
        assert ours.session.open(bytes.fromhex(await other.do("seal", plaintext=plain.hex()))) == plain
    bad = ours.session.seal(b"hello")
    bad[-1] ^= 1
    with pytest.raises(RuntimeError, match="bad-box"):
        await other.do("open", frame=bad.hex())


async def test_packets_are_the_same_bytes(other: Counterpart) -> None:
    most = 2**53 - 1
    ack = Ack(3, most, 0, [(2, 2), (9, most)], [(1, 2, End.REFUSED, "é" * 200), (3, 3, End.KEPT, "")], [5, 70000])
    batch = Batch(0, 1, 2, [Record(2, most, "a.b", "ms", b"x" * 300), tombstone(3)], [Piece(4, 65536, 2**32, b"p")])
    packets: list[Frame | Part | Again] = [
        Frame(1, 2, [ack], [batch], [Event("𝄞" * 63, "ms", b"")], [Request(1, "t", "p", b"q")], [Reply(1, 2, b"")]),
        Part(0, 1, b"y" * 70000),
        Again(3, most),
    ]
    for packet in packets:
        data = encode_packet(packet)
        assert await other.do("repack", packet=data.hex()) == data.hex()


async def test_tickets(other: Counterpart) -> None:
    info = parse_ticket(await other.do("ticket", seed=SEED.hex()), time.time())
    assert (info.sign_id, info.connection_info) == (Identity.from_seed(SEED).sign_id, ("relay+wss://a.example/x",))
    made = NodeInfo.create(OURS, ["tcp://192.0.2.1:4000"], 7, int(time.time()) + 1000)
    assert await other.do("readTicket", ticket=ticket(made)) == [OURS.sign_id, OURS.box_id, ["tcp://192.0.2.1:4000"]]


async def test_frames_on_a_data_channel(other: Counterpart) -> None:
    """Either puts together what the other cut, and cuts it into the same pieces."""
    for size, most in itertools.product((0, 1, 1199, 1200, 2398, 5000, 100_000), (1200, PIECE)):
        frame = os.urandom(size)
        pieces = list(split(frame, most))
        assert await other.do("split", frame=frame.hex(), size=most) == [piece.hex() for piece in pieces]
        assembled = await other.do("assemble", pieces=[piece.hex() for piece in pieces])
        assert assembled == [None] * (len(pieces) - 1) + [frame.hex()]
        assembly = Assembly()
        assert [bytes(whole) for piece in pieces if (whole := assembly.add(piece)) is not None] == [frame]


async def test_signals_of_a_data_channel(other: Counterpart) -> None:
    candidates = tuple(IceCandidate("f+/", 2**32 - 1, host, 1024, "srflx") for host in ("192.0.2.1", "2001:db8::1"))
    ours = Description("ufrag", "p" * 22, ":".join(["AB"] * 32), "actpass", "a_-", 1, 0, candidates, False)
    assert await other.do("description", sdp=ours.text()) == ours.text()
    signal = encode_signal(Signal(OFFER, os.urandom(8), ours.text()))
    assert await other.do("signal", signal=signal.hex()) == signal.hex()


# Whole nodes, with nothing but a relay between them.


@pytest.fixture
async def python(relay: str) -> AsyncIterator[Platform]:
    async with Platform(identity=OURS, connection_info=[], transports=[Relay()], relays=[relay]) as platform:
        yield platform


async def friends(python: Platform, other: Counterpart, relay: str) -> str:
    """Both know each other; the signId of the other."""
    started = await other.do("start", relays=[relay])
    await python.add(started["ticket"], circle="friends")
    await other.do("add", ticket=python.ticket(), circle="friends")
    return str(started["signId"])


async def heard(other: Counterpart, count: int) -> list[Any]:
    found: list[Any] = []

    async def enough() -> bool:
        found.extend(decode(bytes.fromhex(one)) for one in await other.do("heard"))
        return len(found) >= count

    await until(enough, 60)
    return found


async def test_messages_and_requests_both_ways(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await friends(python, other, relay)
    got: list[Any] = []
    python.messaging.on("friends.chat.>", lambda *message: got.append(message))

    @python.messaging.on("friends.refuse")
    def refuse(*_: object) -> None:
        raise Refused("not today")

    @python.messaging.on("friends.greet")
    async def greet(topic: str, sender: str, payload: Any) -> str:
        return f"hello {payload}"

    python.set_up()  # requests wait for no other handlers
    values = [None, True, 0, -1, 2**53 - 1, -(2**40), 1.5, "é𝄞", b"\0\xff", [1, [2]], {"a": {"b": None}}]
    for value in values:
        await (await python.messaging.send("chat.from.python", peer, value))
    assert await heard(other, len(values)) == [["friends.chat.from.python", OURS.sign_id, value] for value in values]
    for value in [None, True, 0, -1, 2**53 - 1, 1.5, "é𝄞", [1, [2]], {"a": {"b": None}}]:
        await other.do("send", topic="chat.from.js", peer=OURS.sign_id, payloads=[value])
    await other.do("flush", peer=OURS.sign_id)
    assert got[-1] == ("friends.chat.from.js", peer, {"a": {"b": None}})
    assert len(got) == 9

    assert await python.messaging.request("add", peer, [1, 2, 3]) == 6
    assert await other.do("request", topic="greet", peer=OURS.sign_id, payload="you") == "hello you"
    assert "NoResponders" in await other.do("request", topic="nobody", peer=OURS.sign_id, payload=1)
    with pytest.raises(Exception, match="TypeError: no"):
        await python.messaging.request("fail", peer)
    assert await other.do("outcome", topic="refuse", peer=OURS.sign_id, payload=1) == "Refused"
    assert await other.do("ping", peer=OURS.sign_id) < 1000


async def test_control_topics_are_neither_sent_nor_taken(python: Platform, relay: str, other: Counterpart) -> None:
    await friends(python, other, relay)
    with pytest.raises(RuntimeError, match="ControlTopic"):
        await other.do("send", topic="friends.update", peer=OURS.sign_id, payloads=[1])


async def test_the_relay_restarts(tmp_path: Path, other: Counterpart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both come back by themselves, and nothing that was said meanwhile is lost."""
    monkeypatch.setattr(connections, "DRAIN_RETRY", 0.1)
    server = RelayServer(Config(data=tmp_path, listen="127.0.0.1:0", drain=0))
    ready = await server.start()
    async with Platform(connection_info=[], transports=[Relay()], relays=[ready["address"]]) as python:
        peer = await friends(python, other, ready["address"])
        got: list[int] = []
        python.messaging.on("friends.chat.>", lambda topic, sender, payload: got.append(payload))
        await other.do("connect", peer=python.sign_id)
        await server.stop()
        await other.do("send", topic="chat.n", peer=python.sign_id, payloads=list(range(100)))
        for number in range(100):
            await python.messaging.send("chat.n", peer, number)
        server = RelayServer(Config(data=tmp_path, listen=ready["listening"], drain=0))
        await server.start()
        await python.flush(peer, timeout=20)
        await other.do("flush", peer=python.sign_id)
        assert got == list(range(100))
        assert [one[2] for one in await heard(other, 100) if one[0] == "friends.chat.n"] == got
    await server.stop()


@pytest.mark.parametrize("federate", ["none", "any"])
async def test_the_peer_is_at_another_relay(tmp_path: Path, other: Counterpart, federate: str) -> None:
    """Its own relay does not lead there (it would not dial one of this machine in any case), so it is a guest there."""
    async with AsyncExitStack() as stack:
        addresses = []
        for name in ("a", "b"):
            server = RelayServer(Config(data=tmp_path / name, listen="127.0.0.1:0", drain=0, federate=federate))
            addresses.append((await server.start())["address"])
            stack.push_async_callback(server.stop)
        ours, theirs = addresses
        python = Platform(connection_info=[], transports=[Relay()], relays=[ours])
        await stack.enter_async_context(python)
        peer = await friends(python, other, theirs)
        await other.do("connect", peer=python.sign_id)
        assert await python.messaging.request("add", peer, [1, 2]) == 3
        await other.do("stop")


async def test_mail_both_ways(relay: str, tmp_path: Path, other: Counterpart) -> None:
    """The two are never there at the same time, but to become friends."""

    def python() -> Platform:
        return Platform(tmp_path / "python", connection_info=[], transports=[Relay()], relays=[relay])

    async with python() as first:
        peer = await friends(first, other, relay)
        ours = first.sign_id
        await other.do("connect", peer=ours)
        await other.do("stop")
        for number in range(20):
            delivery = await first.messaging.send("chat.mail", peer, number)

        async def relayed() -> bool:
            return await first.delivery(delivery.id) == "relayed"

        await until(relayed, 60)
    await other.do("start", relays=[relay])
    assert [one[2] for one in await heard(other, 20)] == list(range(20))
    await other.do("send", topic="chat.back", peer=ours, payloads=list(range(30)))
    await other.do("mailed", peer=ours)
    await other.do("stop")
    got: list[int] = []
    all_came = asyncio.Event()

    async with python() as second:

        @second.messaging.on("friends.chat.back")
        def take(topic: str, sender: str, payload: int) -> None:
            got.append(payload)
            if len(got) == 30:
                all_came.set()

        await all_came.wait()
        await second.flush(peer, timeout=10)
        assert got == list(range(30))
        await other.do("start", relays=[relay])
        await other.do("flush", peer=ours)
        assert await second.messaging.request("add", peer, [1, 2]) == 3
    assert got == list(range(30))
    assert await other.do("heard") == []


@pytest.mark.slow
async def test_large_messages_travel_in_pieces(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await friends(python, other, relay)
    got: list[Any] = []
    python.messaging.on("friends.chat.>", lambda topic, sender, payload: got.append(payload))
    await other.do("send", topic="chat.large", peer=OURS.sign_id, payloads=[1, 2], size=3_000_000)
    big = os.urandom(6_000_000)
    await (await python.messaging.send("chat.large", peer, big))
    assert await heard(other, 1) == [["friends.chat.large", OURS.sign_id, big]]
    await other.do("flush", peer=OURS.sign_id)
    assert [(one["payload"], len(one["fill"])) for one in got] == [(1, 3_000_000), (2, 3_000_000)]
    assert await other.do("request", topic="nobody", peer=OURS.sign_id, payload="x" * 2_000_000) is not None


@pytest.mark.slow
async def test_nothing_is_lost_when_links_are_cut_and_the_node_restarts(
    python: Platform, relay: str, other: Counterpart
) -> None:
    """2,000 messages go each way meanwhile."""
    peer = await friends(python, other, relay)
    got: list[int] = []
    python.messaging.on("friends.chat.>", lambda topic, sender, payload: got.append(payload))
    count, step = 2000, 250
    found: list[Any] = []
    for start in range(0, count, step):
        numbers = list(range(start, start + step))
        for number in numbers:
            await python.messaging.send("chat.n", peer, number)
        await other.do("send", topic="chat.n", peer=OURS.sign_id, payloads=numbers)
        if start // step % 2:
            await python.disconnect(peer)
        else:
            await other.do("stop")
            await other.do("start", relays=[relay])
    await other.do("flush", peer=OURS.sign_id)
    await python.flush(peer, timeout=20)
    found += [decode(bytes.fromhex(one)) for one in await other.do("heard")]
    assert [payload for name, _, payload in found if name == "friends.chat.n"] == list(range(count))
    assert got == list(range(count))
