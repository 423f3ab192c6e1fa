"""Strangers and liars against a real node over TCP (SECURITY.rst): every attack has its name here.

Each ends in a typed close; nothing escapes (conftest.py), memory stays flat, and an honest pair talks all the while.
Here nobody has proven who it is; test_hostile_peers.py has those who did.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable

import pytest

from mmplatform.delivery.wire import (
    Frame,
    Ping,
    Resumption,
    encode_packet,
)
from mmplatform.errors import ProtocolError, Unreachable
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import factory as links_module
from mmplatform.links import link as link_module
from mmplatform.plugins.transport import LENGTH_LIMIT
from mmplatform.session.cookies import CookieJar
from mmplatform.session.events import Identified, Send
from mmplatform.session.handshake import Responder
from tests.support.attackers import Attacker, Victim, resident
from tests.support.waiting import pace, until
from tests.support.world import identity

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
                    events = responder.accept(encode_packet(Resumption(1, 0, [])))
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


@pytest.mark.slow
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
        await pace(0.001)
    assert await victim.closed() == ["the handshake took too long"]
    waiting = await attacker().cookie()
    assert await victim.closed() == ["the handshake took too long"]
    waiting.send(waiting.frames["INITIATE"])


async def test_a_stranger_with_our_own_key(victim: Victim) -> None:
    one = await Attacker(victim, victim.node.identity).cookie()
    one.send(one.frames["INITIATE"])
    assert await victim.closed() == ["own-key"]
    await one.gone()
