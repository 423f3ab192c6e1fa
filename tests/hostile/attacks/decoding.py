"""Bytes that grow when they are decoded, or cannot be: lists of lists, depth, lengths that are not there, noise."""

import os
import random
from collections.abc import Iterable

from mmplatform.delivery.wire import Event
from tests.hostile.attack import Attack
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack

LARGE = 4 * 2**20  # bytes of one bomb


async def bombs(it: Attack, payloads: Iterable[bytes]) -> None:
    """Send each payload as an event to a public handler, the next one by the next key."""
    encoded = [frame(events=[Event("chat", "ms", payload)]) for payload in payloads]
    number = 0

    async def one() -> None:
        nonlocal number
        number += 1
        link = await it.link()
        await link.send_large(encoded[number % len(encoded)])
        await it.pause(0.3)

    await it.go()
    await it.several(one, 1)


@attack()
async def list_bomb(it: Attack) -> None:
    """Payloads of millions of empty lists: one byte of each is 64 in memory."""
    await bombs(it, [b"\xdd" + LARGE.to_bytes(4) + b"\x90" * LARGE])


@attack()
async def small_list_bombs(it: Attack) -> None:
    """The same in payloads that fit into one frame, as fast as they are taken."""
    payload = b"\xdd" + (250_000).to_bytes(4) + b"\x90" * 250_000
    await it.go()
    await it.flood(lambda link: link.seal(frame(events=[Event("chat", "ms", payload)])))


@attack(quick=False)
async def map_bomb(it: Attack) -> None:
    """Payloads of maps of maps, and of maps with keys that collide in no way but number."""
    nested = b"\xdd" + (10**6).to_bytes(4) + b"\x81\x00\x80" * 10**6
    keys = b"".join(b"\xce" + n.to_bytes(4) + b"\xc0" for n in range(500_000))
    await bombs(it, [nested, b"\xdf" + (500_000).to_bytes(4) + keys])


@attack(quick=False)
async def deep_nesting(it: Attack) -> None:
    """Payloads of a hundred thousand lists, each in the one before."""
    await bombs(it, [b"\x91" * 200_000 + b"\xc0", b"\x81\x00" * 200_000 + b"\xc0"])


@attack(quick=False)
async def claimed_lengths(it: Attack) -> None:
    """Payloads and packets that claim lengths of four billion, with nothing behind them."""
    claims = [sign + b"\xff\xff\xff\xff" for sign in (b"\xc6", b"\xdb", b"\xdd", b"\xdf", b"\xc9")]
    events = [Event("chat", "ms", claim) for claim in claims] * 200
    number = 0

    def make(link: RawLink) -> bytes:
        nonlocal number
        number += 1
        return link.seal(frame(events=events) if number % 3 else b"\x98\x00\x00\x00" + claims[number % 5])

    await it.go()
    await it.flood(make)


@attack(quick=False)
async def bad_packets(it: Attack) -> None:
    """Well sealed noise: each link ends with the first packet, and the next one comes."""
    chance = random.Random(1)
    await it.go()

    async def once() -> None:
        link = await it.link()
        await link.send(chance.randbytes(200))
        await it.pause(0.005)
        link.abort()

    await it.several(once, 8)


@attack(quick=False)
async def odd_values(it: Attack) -> None:
    """Payloads of extension types, times beyond all years, text that is no UTF-8 and numbers that are none."""
    odd = [
        b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd7\xff" + b"\xff" * 8, b"\xd9\xff" + b"\xff" * 255,
        b"\xcb\x7f\xf8" + bytes(6),
        b"\xcf" + b"\xff" * 8, b"\x82\xc0\xc0\xc0\xc0", b"\xc1", b"", b"\xc0\xc0",
    ]  # fmt: skip
    await it.go()
    await it.flood(lambda link: link.seal(frame(events=[Event("chat", "ms", value) for value in odd * 100])))


@attack(quick=False)
async def bad_seals(it: Attack) -> None:
    """Frames of a session that do not open: each link ends with the first one, and the next one comes."""
    await it.go()

    async def once() -> None:
        link = await it.link()
        await link.write((100_000).to_bytes(4) + os.urandom(100_000))
        await it.pause(0.005)
        link.abort()

    await it.several(once, 8)
