"""Strangers and liars against a real node over TCP (SECURITY.rst): every attack has its name here.

Each ends in a typed close; nothing escapes (conftest.py), memory stays flat, and an honest pair talks all the while.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from mm_transports.tcp import TCP, parse_address
from mmplatform import Platform
from mmplatform.codec import encode
from mmplatform.delivery.wire import (
    Ack,
    Batch,
    Event,
    Frame,
    Part,
    Piece,
    Ping,
    Record,
    Reply,
    Request,
    Resume,
    decode_packet,
    encode_packet,
    tombstone,
)
from mmplatform.errors import ProtocolError, Unreachable
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import factory as links_module
from mmplatform.links import link as link_module
from mmplatform.links.link import Link
from mmplatform.peers import exchange as exchange_module
from mmplatform.plugins.transport import LENGTH_LIMIT, Connection
from mmplatform.session.cookies import CookieJar
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import Initiator, Responder
from mmplatform.session.session import Session
from tests.support.world import World, collect, identity, until

FRAME = Frame(0, 1, [], [], [], [], [])


class Victim:
    """A node that listens, everybody who ever connected to it, and an honest friend who never stops talking to it."""

    def __init__(self, node: Platform, honest: Platform) -> None:
        self.node, self.honest = node, honest
        self.links: deque[Link] = deque(maxlen=100)
        self.came = 0
        accept = node.parts.links.accept

        def watched(connection: Connection) -> Link:
            self.came += 1
            self.links.append(accept(connection))
            return self.links[-1]

        node.parts.listener._accept = node.parts.links.accept = watched  # type: ignore[method-assign]
        self.heard = collect(node, "friends.honest")
        self.public = collect(node, "public.>")
        self.sent = 0
        self.slowest = 0.0
        self._stop = False

    @property
    def address(self) -> tuple[str, int]:
        assert self.node.directory.own_record is not None
        return parse_address(self.node.directory.own_record.connection_info[0])

    async def talk(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop:
            begun = loop.time()
            await (await self.honest.messaging.send("honest", self.node.sign_id, self.sent))
            self.slowest = max(self.slowest, loop.time() - begun)
            self.sent += 1
            await asyncio.sleep(0.001)

    async def was_unaffected(self, talking: asyncio.Task[None]) -> None:
        count = self.sent
        await until(lambda: self.sent > count + 2)
        self._stop = True
        await talking
        assert self.heard == list(range(self.sent))
        link = self.honest.parts.peers.peer(self.node.sign_id).link
        assert link is self.link
        assert self.slowest < 3
        assert self.public == []

    async def closed(self, count: int = 1) -> list[str]:
        """Why the last ``count`` who connected were closed."""
        last = list(self.links)[-count:]
        await until(lambda: all(link.error is not None for link in last))
        await until(lambda: all(link not in self.node.parts.links._open for link in last))
        return [getattr(link.error, "reason", str(link.error)) for link in last]


@pytest.fixture
async def victim() -> AsyncIterator[Victim]:
    world = World("tcp")
    async with world.node(2) as node, world.node(1) as honest:
        victim = Victim(node, honest)
        # The node listens already: what it calls for each connection is replaced where the server keeps it.
        await node.parts.plugins.transports[0].close()
        [address] = await TCP.listen(node.parts.plugins.transports[0], "tcp://127.0.0.1:0", node.parts.links.accept)  # type: ignore[arg-type]
        await node.parts.own_record.advertise("tcp", [address])
        await honest.add(node.ticket(), circle="friends")
        await node.add(honest.ticket(), circle="friends")
        await honest.connect(node.sign_id)
        victim.link = honest.parts.peers.peer(node.sign_id).link  # type: ignore[attr-defined]
        talking = asyncio.create_task(victim.talk())
        yield victim
        await victim.was_unaffected(talking)
        await until(lambda: len(node.parts.links._open) == 1)


class Attacker:
    """A bare socket, and the honest half of the protocol to depart from where it hurts."""

    def __init__(self, victim: Victim, who: Identity) -> None:
        self.victim, self.identity = victim, who
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.session: Session
        self.frames: dict[str, bytes] = {}
        self.machine = self.new_machine()

    def new_machine(self) -> Initiator:
        now = int(self.victim.node.parts.now())
        record = NodeInfo.create(self.identity, (), now, now + 1000).encode()
        resume = encode_packet(Resume(7, 0, []))
        return Initiator(self.identity, record, self.victim.node.sign_id, lambda: resume, random.randbytes)

    async def connect(self) -> "Attacker":
        count = self.victim.came
        self.reader, self.writer = await asyncio.open_connection(*self.victim.address)
        await until(lambda: self.victim.came > count)
        return self

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(len(frame).to_bytes(4) + frame for frame in frames))

    async def receive(self) -> bytes:
        size = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), 5))
        return await self.reader.readexactly(size)

    async def hello(self) -> "Attacker":
        await self.connect()
        self.frames["HELLO"] = self.machine.hello()
        return self

    async def cookie(self) -> "Attacker":
        await self.hello()
        self.send(self.frames["HELLO"])
        self.frames["COOKIE"] = await self.receive()
        [answer] = self.machine.receive(self.frames["COOKIE"], self.victim.node.parts.now())
        assert isinstance(answer, Send)
        self.frames["INITIATE"] = answer.frame
        return self

    async def established(self) -> "Attacker":
        await self.cookie()
        self.send(self.frames["INITIATE"])
        self.frames["READY"] = await self.receive()
        [done] = self.machine.receive(self.frames["READY"], self.victim.node.parts.now())
        assert isinstance(done, Established)
        self.session = done.session
        return self

    def sealed(self, packet: Any) -> bytes:
        return self.session.seal(packet if isinstance(packet, bytes) else encode_packet(packet))

    async def packets(self) -> AsyncIterator[Any]:
        while True:
            yield decode_packet(self.session.open(await self.receive()))

    async def gone(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def attacker(victim: Victim) -> AsyncIterator[Callable[[], Attacker]]:
    made: list[Attacker] = []

    def another(number: int = 66) -> Attacker:
        made.append(Attacker(victim, identity(number)))
        return made[-1]

    yield another
    for one in made:
        if hasattr(one, "writer"):
            await one.gone()


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


# Before anything is proven.


async def test_replayed_hello(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    recorded = await attacker().cookie()
    replayer = await attacker().connect()
    replayer.send(recorded.frames["HELLO"])
    answer = await replayer.receive()
    assert answer != recorded.frames["COOKIE"]  # fresh keys: the recorded INITIATE does not fit it
    replayer.send(recorded.frames["INITIATE"])
    assert await victim.closed() == ["bad-cookie"]
    again = await attacker().connect()
    again.send(*[recorded.frames["HELLO"]] * 4)
    assert await victim.closed() == ["too-many-hellos"]
    assert identity(66).sign_id not in victim.node.parts.peers.by_id


async def test_replayed_initiate(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    recorded = await attacker().established()
    replayer = await attacker().connect()
    replayer.send(recorded.frames["HELLO"])
    await replayer.receive()
    replayer.send(recorded.frames["INITIATE"])
    assert await victim.closed() == ["bad-cookie"]
    bare = await attacker().connect()
    bare.send(recorded.frames["INITIATE"])
    assert await victim.closed() == ["bad-cookie"]
    recorded.send(recorded.frames["INITIATE"])
    await until(lambda: isinstance(victim.links[1].error, ProtocolError) or victim.links[0].error)
    assert len([peer for peer in victim.node.parts.peers.by_id if peer == identity(66).sign_id]) <= 1


@pytest.mark.parametrize("name", ["COOKIE", "READY"])
async def test_replayed_answers_of_a_server(victim: Victim, name: str) -> None:
    """The victim dials somebody who answers with what it recorded from its own earlier handshake."""
    now = int(victim.node.parts.now())
    liar = identity(77)
    jar = CookieJar(random.randbytes)
    recorded: dict[int, bytes] = {}
    calls = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        responder = Responder(liar, lambda: record.encode(), jar, random.randbytes)
        try:
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
                events = responder.receive(frame, victim.node.parts.now())
                if isinstance(events[0], Identified):
                    events = responder.accept(encode_packet(Resume(1, 0, [])))
                answer = next(event.frame for event in events if isinstance(event, Send))
                kind = {1: "COOKIE", 3: "READY"}[frame[3]]
                answer = recorded.setdefault(frame[3], answer) if kind == name else answer
                writer.write(len(answer).to_bytes(4) + answer)
                if frame[3] == 3 and calls == 1:
                    break
        except (asyncio.IncompleteReadError, ProtocolError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    record = NodeInfo.create(liar, (f"tcp://127.0.0.1:{port}",), now, now + 1000)
    victim.node.directory.put(record, "ticket")
    await victim.node.connect(liar.sign_id)
    await until(lambda: victim.node.parts.peers.peer(liar.sign_id).link is None)
    with pytest.raises(Unreachable, match="bad-box"):
        await victim.node.connect(liar.sign_id, timeout=0.5)
    assert calls > 1
    server.close()
    await server.wait_closed()


FLIPS = [
    ("HELLO", 0),
    ("HELLO", 4),
    ("HELLO", 40),
    ("HELLO", 223),
    ("INITIATE", 4),
    ("INITIATE", 40),
    ("INITIATE", 187),
]


@pytest.mark.parametrize(("name", "where"), [*FLIPS, ("INITIATE", 400), ("INITIATE", -1)])
async def test_a_flipped_bit_in_the_handshake(
    victim: Victim, attacker: Callable[..., Attacker], name: str, where: int
) -> None:
    one = await (attacker().hello() if name == "HELLO" else attacker().cookie())
    frame = bytearray(one.frames[name])
    frame[where] ^= 4
    one.send(bytes(frame))
    [reason] = await victim.closed()
    assert reason in ("wrong-magic", "bad-box", "bad-cookie", "bad-key", "bad-content", "bad-signature")


@pytest.mark.parametrize("name", ["HELLO", "INITIATE"])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 100, -1])
async def test_a_truncated_frame_of_the_handshake(
    victim: Victim, attacker: Callable[..., Attacker], name: str, size: int
) -> None:
    one = await (attacker().hello() if name == "HELLO" else attacker().cookie())
    one.send(one.frames[name][:size])
    [reason] = await victim.closed()
    assert reason in ("too-short", "bad-box")


async def test_a_connection_that_ends_in_the_middle_of_a_frame(
    victim: Victim, attacker: Callable[..., Attacker]
) -> None:
    one = await attacker().hello()
    one.writer.write((224).to_bytes(4) + one.frames["HELLO"][:100])
    await one.gone()
    assert await victim.closed() == ["closed by the peer"]


@pytest.mark.parametrize("version", [0, 2, 255])
async def test_a_wrong_version(victim: Victim, attacker: Callable[..., Attacker], version: int) -> None:
    one = await attacker().hello()
    one.send(one.frames["HELLO"][:2] + bytes([version]) + one.frames["HELLO"][3:])
    assert await victim.closed() == ["wrong-version"]


@pytest.mark.parametrize("kind", [0, 2, 4, 5, 200])
async def test_a_wrong_type(victim: Victim, attacker: Callable[..., Attacker], kind: int) -> None:
    one = await attacker().hello()
    one.send(one.frames["HELLO"][:3] + bytes([kind]) + one.frames["HELLO"][4:])
    assert await victim.closed() == ["wrong-type"]


@pytest.mark.parametrize("size", [LENGTH_LIMIT + 1, 2**31, 2**32 - 1])
async def test_an_oversized_length(victim: Victim, attacker: Callable[..., Attacker], size: int) -> None:
    before = resident()
    one = await attacker().connect()
    one.writer.write(size.to_bytes(4) + bytes(1000))
    assert await victim.closed() == ["too-long"]
    assert resident() - before < 20_000_000


async def test_an_oversized_handshake_frame(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    one = await attacker().hello()
    one.send(one.frames["HELLO"] + bytes(LENGTH_LIMIT - 224))
    assert await victim.closed() == ["too-long"]


async def test_a_hundred_thousand_random_frames(victim: Victim) -> None:
    chance = random.Random(1)
    loop = asyncio.get_running_loop()

    async def volley(frames: int) -> None:
        data = bytearray()
        for _ in range(frames):
            start = chance.choice((b"", b"mm", b"mm\x01", b"mm\x01\x01", b"mm\x01\x03"))
            frame = start + chance.randbytes(chance.choice((0, 1, 50, 220, 500)))
            data += len(frame).to_bytes(4) + frame
        reader, writer = await asyncio.open_connection(*victim.address)
        writer.write(data)
        await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    victim.links = deque(maxlen=10)  # a link that is kept keeps its buffer
    await volley(500)
    before, begun = resident(), loop.time()
    for _ in range(199):
        await volley(500)
    for _ in range(50):
        await asyncio.gather(*(volley(10) for _ in range(10)))
    assert resident() - before < 20_000_000
    assert loop.time() - begun < 60
    assert set(await victim.closed(10)) <= {
        "wrong-magic", "wrong-version", "wrong-type", "too-short", "too-long", "bad-box", "bad-key", "bad-cookie",
    }  # fmt: skip
    assert not victim.node.parts.links._unproven


async def test_half_open_connections_by_the_hundred_keep_nobody_out(victim: Victim) -> None:
    before = resident()
    sockets = [await asyncio.open_connection(*victim.address) for _ in range(400)]
    await until(lambda: victim.came == 401)
    await until(lambda: len(victim.node.parts.links._open) == 1 + links_module.MAX_UNPROVEN)
    assert victim.node.parts.links.refused == 400 - links_module.MAX_UNPROVEN
    newcomer = await Attacker(victim, identity(5)).established()
    newcomer.send(newcomer.sealed(Ping(1)))
    async for packet in newcomer.packets():
        if not isinstance(packet, Frame):
            break
    assert resident() - before < 40_000_000
    await newcomer.gone()
    for _, writer in sockets:
        writer.transport.abort()


async def test_slow_loris(victim: Victim, attacker: Callable[..., Attacker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, never a handshake."""
    monkeypatch.setattr(link_module, "HANDSHAKE_TIMEOUT", 0.05)
    one = await attacker().hello()
    stream = len(one.frames["HELLO"]).to_bytes(4) + one.frames["HELLO"]
    for byte in stream:
        one.writer.write(bytes([byte]))
        if victim.links[-1].error is not None:
            break
        await asyncio.sleep(0.001)
    assert await victim.closed() == ["the handshake took too long"]
    waiting = await attacker().cookie()
    assert await victim.closed() == ["the handshake took too long"]
    waiting.send(waiting.frames["INITIATE"])


async def test_a_stranger_with_our_own_key(victim: Victim) -> None:
    one = await Attacker(victim, victim.node.identity).cookie()
    one.send(one.frames["INITIATE"])
    assert await victim.closed() == ["own-key"]
    await one.gone()


# From somebody who proved who it is.


async def test_replayed_data(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    one = await attacker().established()
    heard = collect(victim.node, "public.x")
    event = one.sealed(Frame(0, 1, [], [], [Event("x", "ms", encode(1))], [], []))
    one.send(event, event)
    assert await victim.closed() == ["bad-box"]
    assert heard == [1]
    victim.public.clear()


async def test_a_flipped_bit_in_data(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    one = await attacker().established()
    frame = bytearray(one.sealed(Frame(0, 1, [], [], [Event("x", "ms", encode(1))], [], [])))
    frame[20] ^= 1
    one.send(bytes(frame))
    assert await victim.closed() == ["bad-box"]


async def test_truncated_reflected_and_reordered_data(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    one = await attacker().established()
    one.send(one.sealed(Ping(1))[:-1])
    assert await victim.closed() == ["bad-box"]
    two = await attacker(67).established()
    two.send(two.sealed(Ping(1)))
    two.send(await two.receive())
    assert await victim.closed() == ["bad-box"]
    three = await attacker(68).established()
    first, second = three.sealed(Ping(1)), three.sealed(Ping(2))
    three.send(second, first)
    assert await victim.closed() == ["bad-box"]


BIG = 2**53 - 1
INNER = encode_packet(Part(0, 9, b"123"))
ATTACKS: dict[str, tuple[Any, str]] = {
    "garbage": (b"\xc1garbage", "bad-packet"),
    "an empty packet": (b"", "bad-packet"),
    "a truncated packet": (encode_packet(FRAME)[:-1], "bad-packet"),
    "trailing bytes": (encode_packet(FRAME) + b"\0", "bad-packet"),
    "deep nesting": (b"\x91" * 200_000, "bad-packet"),
    "an announced array of four thousand million": (b"\x97\x00\x00\x01\xdd\xff\xff\xff\xff", "bad-packet"),
    "an announced string of four thousand million": (b"\x92\x04\xdb\xff\xff\xff\xff", "bad-packet"),
    "a number beyond 2**53": (encode_packet(Ping(2**53)), "bad-packet"),
    "a negative number": (encode_packet(Ping(-1)), "bad-packet"),
    "an unknown lane": (Frame(0, 1, [], [Batch(4, 1, 1, [], [])], [], [], []), "bad-packet"),
    "a message far beyond the window": (
        Frame(0, 1, [], [Batch(2, 1, 1, [Record(9000, BIG, "t", "ms", b"")], [])], [], [], []), "window"),
    "more messages than the window": (
        Frame(0, 1, [], [Batch(2, 1, 1, [tombstone(n) for n in range(2, 8192 + 3)], [])], [], [], []), "bad-packet"),
    "too many ranges": (Frame(0, 1, [Ack(2, 1, 0, [(n, n) for n in range(65)], [], [])], [], [], [], []), "bad-packet"),
    "too many outcomes": (
        Frame(0, 1, [Ack(2, 1, 0, [], [(n, n, "x") for n in range(9000)], [])], [], [], [], []), "bad-packet"),
    "a reason without end": (Frame(0, 1, [Ack(2, 1, 0, [], [(1, 1, "x" * 201)], [])], [], [], [], []), "bad-packet"),
    "too many acknowledgements": (Frame(0, 1, [Ack(2, 1, 0, [], [], [])] * 257, [], [], [], []), "bad-packet"),
    "too many batches": (Frame(0, 1, [], [Batch(2, n, 1, [], []) for n in range(257)], [], [], []), "bad-packet"),
    "parts of a frame larger than any": (Part(0, BIG, bytes(100)), "bad-piece"),
    "a part out of order": (Part(5000, 10_000, bytes(100)), "bad-piece"),
    "an empty part": (Part(0, 10, b""), "bad-piece"),
    "a part inside parts": (Part(0, len(INNER), INNER), "bad-packet"),
    "pieces of a message larger than any": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, BIG, bytes(100))])], [], [], []), "bad-piece"),
    "pieces that are no message": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, 4, b"\xc1\xc1\xc1\xc1")])], [], [], []), "bad-packet"),
    "pieces of another message": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, 7, encode_packet(tombstone(5)))])], [], [], []), "bad-piece"),
    "a topic without end": (Frame(0, 1, [], [], [Event("x" * 256, "ms", b"")], [], []), "bad-packet"),
    "more realtime messages than a frame may have": (b"\x97\x00\x00\x01\x90\x90\xdd\x00\x10\x00\x00", "bad-packet"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_proven_peer_that_sends(victim: Victim, attacker: Callable[..., Attacker], name: str) -> None:
    packet, reason = ATTACKS[name]
    one = await attacker().established()
    one.send(one.sealed(packet))
    assert await victim.closed() == [reason]
    told = [p async for p in _until_close(one)]
    assert told[-1].reason == reason
    await until(lambda: identity(66).sign_id not in victim.node.parts.peers.by_id)


async def _until_close(one: Attacker) -> AsyncIterator[Any]:
    try:
        async for packet in one.packets():
            yield packet
    except (asyncio.IncompleteReadError, ConnectionError):
        return


HARMLESS: dict[str, Any] = {
    "acknowledgements of what was never sent": Frame(
        BIG, BIG, [Ack(lane, 1, BIG, [(0, BIG)] * 64, [(0, BIG, "x")], [BIG, BIG]) for lane in range(4)], [], [], [], []
    ),
    "replies nobody asked for": Frame(0, 1, [], [], [], [], [Reply(n, n, b"\xff") for n in range(1000)]),
    "control topics, bad topics and unknown protocols": Frame(
        0, BIG, [], [],
        [Event(t, p, b"\xc1") for t in ("transports.nodeInfo", "friends.update", "", "*", "a b") for p in ("ms", "?")],
        [Request(n, t, "ms", b"\xc1") for n, t in enumerate(("devices.update", "", "no.such"))], [],
    ),
    "a base that jumps to the end of numbers": Frame(
        0, 1, [], [Batch(2, 1, BIG, [], []), Batch(2, 1, 1, [Record(1, 1, "x", "ms", b"")], [])], [], [], []
    ),
    "two hundred streams": Frame(0, 1, [], [Batch(2, n, 1, [tombstone(1)], []) for n in range(200)], [], [], []),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_proven_peer_that_talks_nonsense_in_good_form(
    victim: Victim, attacker: Callable[..., Attacker], name: str
) -> None:
    one = await attacker().established()
    one.send(one.sealed(HARMLESS[name]), one.sealed(Ping(5)))
    async for packet in one.packets():
        if not isinstance(packet, Frame):
            assert packet.id == 5
            break
    assert victim.links[-1].ready


async def test_absurd_acknowledgements_of_what_waits(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    """They settle what was sent to the liar and nothing else, and cost no more than the window."""
    one = await attacker().established()
    waiting = [await victim.node.messaging.send("n", one.identity.sign_id, n) for n in range(3000)]
    elsewhere = await victim.node.messaging.send("n", identity(9).sign_id, "for another")
    epoch = victim.node.parts.epoch
    wide = Ack(2, epoch, 0, [(2, BIG)] * 64, [(0, BIG, "unhandled")], [])
    begun = asyncio.get_running_loop().time()
    one.send(one.sealed(Frame(0, 1, [wide] * 256, [], [], [], [])))
    one.send(one.sealed(Frame(0, 1, [Ack(2, epoch, BIG, [], [], [])], [], [], [], [])))
    await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
    assert asyncio.get_running_loop().time() - begun < 10
    assert elsewhere.state == "waiting"


async def test_random_packets_under_a_valid_seal(victim: Victim) -> None:
    chance = random.Random(2)
    seeds = [
        packet if isinstance(packet, bytes) else encode_packet(packet)
        for packet in (
            *(p for p, _ in ATTACKS.values() if not isinstance(p, bytes)),
            *HARMLESS.values(),
            FRAME,
            Ping(3),
        )
        if not isinstance(packet, bytes) or packet
    ]
    for round_ in range(150):
        one = await Attacker(victim, identity(100 + round_ % 20)).established()
        for _ in range(20):
            plain = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(4)):
                plain[chance.randrange(len(plain))] = chance.randrange(256)
            one.send(one.sealed(bytes(plain)))
        one.send(one.sealed(b"\xc1"))
        await victim.closed()
        await one.gone()
    victim.public.clear()


async def test_large_frames_are_not_announced_for_free(victim: Victim) -> None:
    """Memory grows with what was sent, strangers together have a bound, and all of it goes with their links."""
    before = resident()
    attackers = [await Attacker(victim, identity(100 + n)).established() for n in range(10)]
    for one in attackers:
        one.send(one.sealed(Part(0, 60_000_000, bytes(1000))))
    await until(lambda: victim.node.parts.links._budget.used >= 10_000)
    assert resident() - before < 30_000_000
    for one in attackers:
        await one.gone()
    await until(lambda: victim.node.parts.links._budget.used == 0)


async def test_a_peer_that_asks_and_never_reads(
    victim: Victim, attacker: Callable[..., Attacker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "BACKLOG", 4_000_000)
    victim.node.messaging.on("public.big", lambda topic, sender, payload: bytes(100_000))
    before = resident()
    one = await attacker().established()
    for number in range(1, 400):
        one.send(one.sealed(Frame(0, number, [], [], [], [Request(number, "big", "ms", encode(None))], [])))
    await until(lambda: victim.links[-1].error is not None)
    assert getattr(victim.links[-1].error, "reason", "") == "not-reading"
    assert resident() - before < 100_000_000
    victim.public.clear()


async def test_a_peer_that_pings_and_never_reads(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    one = await attacker().established()
    link = victim.links[-1]
    before = resident()
    for _ in range(200):
        one.send(*(one.sealed(Ping(number)) for number in range(1000)))
        await asyncio.wait_for(one.writer.drain(), 10)
    transport = link.connection._transport  # type: ignore[attr-defined]
    assert transport.get_write_buffer_size() < 2_000_000
    assert resident() - before < 30_000_000


async def test_a_closed_link_that_is_not_read_is_let_go(
    victim: Victim, attacker: Callable[..., Attacker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LINGER", 0.05)
    one = await attacker().established()
    key = one.identity.sign_id
    while not victim.links[-1].paused:
        await asyncio.wait_for(victim.node.messaging.send("n", key, bytes(100_000), realtime=True), 5)
    one.send(b"garbage")
    assert await victim.closed() == ["bad-box"]


async def test_a_flood_of_strangers_leaves_nothing(victim: Victim) -> None:
    before = resident()
    for number in range(150):
        one = await Attacker(victim, Identity.generate()).established()
        if number % 2:
            one.send(one.sealed(b"\xc1"))
        else:
            one.send(
                one.sealed(Frame(0, 1, [], [Batch(2, 1, 1, [Record(1, BIG, "x", "ms", encode(1))], [])], [], [], []))
            )
        await one.gone()
    await until(lambda: len(victim.node.parts.links._open) == 1)
    await until(lambda: len(victim.node.parts.peers.by_id) == 1)
    assert resident() - before < 20_000_000
    victim.public.clear()
