"""Liars that proved who they are, against a real node over TCP (SECURITY.rst): every attack has its name here.

Each ends in a typed close; nothing escapes (conftest.py), memory stays flat, and an honest pair talks all the while.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.delivery.wire import (
    UNHEARD,
    Ack,
    Batch,
    End,
    Event,
    Frame,
    Part,
    Piece,
    Ping,
    Record,
    Reply,
    Request,
    encode_packet,
    tombstone,
)
from mmplatform.identity.keys import Identity
from mmplatform.links import link as link_module
from mmplatform.peers import realtime_queue
from tests.support.attackers import Attacker, Victim, resident
from tests.support.waiting import until
from tests.support.world import collect, identity

FRAME = Frame(0, 1, [], [], [], [], [])


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
    "parts of a frame larger than any": (Part(0, BIG, bytes(100)), "too-large"),
    "parts of a frame larger than strangers may send": (
        Part(0, 1024 * 1024 + 64 * 1024 + 1, bytes(100)), "too-large"),
    "a part out of order": (Part(5000, 10_000, bytes(100)), "bad-piece"),
    "an empty part": (Part(0, 10, b""), "bad-piece"),
    "a part inside parts": (Part(0, len(INNER), INNER), "bad-packet"),
    "pieces of a message larger than any": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, BIG, bytes(100))])], [], [], []), "too-large"),
    "pieces that are no message": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, 4, b"\xc1\xc1\xc1\xc1")])], [], [], []), "bad-packet"),
    "pieces of another message": (
        Frame(0, 1, [], [Batch(2, 1, 1, [], [Piece(1, 0, 7, encode_packet(tombstone(5)))])], [], [], []), "bad-piece"),
    "a topic without end": (Frame(0, 1, [], [], [Event("x" * 256, "ms", b"")], [], []), "bad-packet"),
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
        BIG, BIG,
        [Ack(lane, 1, BIG, [(0, BIG)] * 64, [(0, BIG, End.REFUSED, "x")], [BIG, BIG]) for lane in range(4)],
        [], [], [], [],
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


@pytest.mark.slow
async def test_absurd_acknowledgements_of_what_waits(victim: Victim, attacker: Callable[..., Attacker]) -> None:
    """They settle what was sent to the liar and nothing else, and cost no more than the window."""
    one = await attacker().established()
    waiting = [await victim.node.messaging.send("n", one.identity.sign_id, n) for n in range(3000)]
    elsewhere = await victim.node.messaging.send("n", identity(9).sign_id, "for another")
    epoch = victim.node.parts.epoch
    wide = Ack(2, epoch, 0, [(2, BIG)] * 64, [(0, BIG, *UNHEARD)], [])
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
        one.send(one.sealed(Part(0, 1_000_000, bytes(1000))))
    await until(lambda: victim.node.parts.accounts.strangers.total.used >= 10_000)
    assert resident() - before < 30_000_000
    for one in attackers:
        await one.gone()
    await until(lambda: victim.node.parts.accounts.strangers.total.used == 0)


async def test_a_peer_that_asks_and_never_reads(
    victim: Victim, attacker: Callable[..., Attacker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_queue, "BACKLOG", 4_000_000)
    victim.node.messaging.on("public.big", lambda topic, sender, payload: bytes(100_000))
    before = resident()
    one = await attacker().established()
    for number in range(1, 400):
        one.send(one.sealed(Frame(0, number, [], [], [], [Request(number, "big", "ms", encode(None))], [])))
    await until(lambda: victim.links[-1].error is not None)
    assert getattr(victim.links[-1].error, "reason", "") == "not-reading"
    assert resident() - before < 100_000_000
    victim.public.clear()


@pytest.mark.slow
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
