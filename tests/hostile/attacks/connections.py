"""Connections of a stranger: silent, slow, half open, by the hundred, and handshakes by the thousand."""

import asyncio
import os
from contextlib import suppress

from mmplatform.delivery.wire import Event
from mmplatform.identity.keys import Identity
from tests.hostile.attack import AT_ONCE, Attack
from tests.hostile.raw_link import Gone, frame, record_of
from tests.hostile.registry import attack

MANY = 1500  # more than the usual limit of descriptors


async def hold(it: Attack, first: bytes, count: int) -> None:
    """Keep ``count`` connections open that said ``first``; who is cut off comes again."""

    async def one() -> None:
        wire = await it.wire()
        if first:
            await wire.write(first)
        await wire.gone.wait()
        await it.pause(0.05)

    await it.several(one, count)


@attack()
async def silent_connections(it: Attack) -> None:
    """More connections than the victim has descriptors, which say nothing."""
    await it.go()
    await hold(it, b"", MANY)


@attack()
async def claimed_frames(it: Attack) -> None:
    """Connections that announce a frame of the largest size and send most of it."""
    await it.go()
    await hold(it, (82_000).to_bytes(4) + bytes(81_000), 400)


@attack(quick=False)
async def impossible_frames(it: Attack) -> None:
    """Connections that announce four gigabytes, or send what is no protocol at all."""
    await it.go()

    async def one() -> None:
        wire = await it.wire()
        await wire.write(b"\xff\xff\xff\xff" + os.urandom(1000))
        await it.pause(0.005)
        wire.abort()

    await it.several(one, 16)


@attack()
async def hello_flood(it: Attack) -> None:
    """Handshakes that are begun and never gone on with."""
    await it.go()

    async def one() -> None:
        link = it.unshaken()
        await it.dial(link)
        hello = link.machine.hello()
        await link.write(len(hello).to_bytes(4) + hello)
        await it.pause(0.02)
        link.abort()

    await it.several(one, 32)


@attack(quick=False)
async def half_handshakes(it: Attack) -> None:
    """Handshakes that come a byte at a time, on hundreds of connections."""
    await it.go()

    async def one() -> None:
        link = it.unshaken()
        await it.dial(link)
        hello = link.machine.hello()
        for byte in len(hello).to_bytes(4) + hello:
            await link.write(bytes([byte]))
            await it.pause(0.05)

    await it.several(one, 300)


@attack()
async def fresh_keys(it: Attack) -> None:
    """Whole handshakes, each with a key of its own, as fast as they are taken."""
    await it.go()

    async def one() -> None:
        link = await it.link()
        link.abort()

    await it.several(one, 24)


@attack(quick=False)
async def same_key(it: Attack) -> None:
    """Whole handshakes with one key, each of which takes over from the one before."""
    await it.go()
    who = Identity.generate()

    async def one() -> None:
        await it.link(who)
        await it.pause(0.01)

    await it.several(one, 8)


@attack()
async def proven_links(it: Attack) -> None:
    """As many links as there can be, each with a key of its own, kept open."""
    await it.go()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            link = await it.link()
        await link.gone.wait()
        await it.pause(0.05)

    await it.several(one, MANY)


@attack()
async def buffers(it: Attack) -> None:
    """One frame of the largest size on each of hundreds of links, which are kept."""
    await it.go()
    links = await it.links(600)
    large = frame(events=[Event("nobody", "ms", bytes(240_000))])
    for link in links:
        with suppress(Gone):
            await it.within(link.send(large))
    await it.rest()


@attack(quick=False)
async def byte_by_byte(it: Attack) -> None:
    """Sealed frames that come a byte at a time, on many links."""
    await it.go()
    links = await it.links(100)

    async def one() -> None:
        if not links:
            await it.rest()
            return
        link = links.pop()
        while not it.over:
            for byte in b"".join(link.seal_ahead([frame(events=[Event("chat", "ms", b"\xc0")])])):
                await link.write(bytes([byte]))
                await it.pause(0.005)
            link.release()

    await it.several(one, 100)


@attack(quick=False)
async def large_records(it: Attack) -> None:
    """Fresh keys with the largest record there can be."""
    addresses = [f"tcp://203.0.113.{n}:4000/{'x' * 220}" for n in range(16)]
    await it.go()

    async def one() -> None:
        link = await it.link(addresses=addresses)
        link.abort()

    await it.several(one, 16)


@attack(quick=False)
async def changing_records(it: Attack) -> None:
    """One key whose record is a newer one with each handshake."""
    who, seq = Identity.generate(), 10**12
    await it.go()

    async def one() -> None:
        nonlocal seq
        seq += 1
        link = await it.link(who, record_of(who, [f"tcp://203.0.113.9:{1024 + seq % 60_000}"], seq))
        await it.pause(0.005)
        link.abort()

    await it.several(one, 4)


@attack(quick=False)
async def forged_records(it: Attack) -> None:
    """Handshakes with the record of another key, an altered one, or none."""
    other = record_of(Identity.generate())
    number = 0
    await it.go()

    async def one() -> None:
        nonlocal number
        number += 1
        altered = bytearray(other)
        altered[number % len(altered)] ^= 1
        with suppress(Gone):
            await it.link(record=[other, bytes(altered), b"x"][number % 3])

    await it.several(one, 16)
