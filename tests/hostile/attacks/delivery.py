"""Packets and messages of a stranger on links that are well formed: floods, gaps, repeats, and what is never ended."""

import time

from mmplatform.codec import pack
from mmplatform.delivery.wire import (
    Again,
    Batch,
    Close,
    Event,
    Ping,
    Pong,
    Record,
    Request,
    tombstone,
)
from tests.hostile.attack import Attack
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack

PREPARED = 30_000  # small frames that are sealed before the attack begins
LATER = 10_000_000  # milliseconds until what should not expire does


def soon() -> int:
    """Return a time, in Unix milliseconds, that is hours ahead."""
    return int(time.time() * 1000) + LATER


async def small(it: Attack, packet: object) -> None:
    """Prepare very many of one packet, then write them as fast as they are taken, and go on after that."""
    link = await it.link()
    one = packet if isinstance(packet, bytes) else pack(packet)
    chunks = link.seal_ahead(one for _ in range(PREPARED))
    await it.go()
    await it.pour(chunks, link)
    await it.flood(lambda link: link.seal(*[one] * 100))


@attack()
async def pings(it: Attack) -> None:
    """Pings, each of which wants an answer at once."""
    await small(it, Ping(1))


@attack(quick=False)
async def pongs(it: Attack) -> None:
    """Pongs that nobody asked for."""
    await small(it, Pong(1))


@attack(quick=False)
async def agains(it: Attack) -> None:
    """Asks to have streams sent again that there are not."""
    link = await it.link()
    chunks = link.seal_ahead(pack(Again(number % 4, number)) for number in range(PREPARED))
    await it.go()
    await it.pour(chunks, link)


@attack(quick=False)
async def closes(it: Attack) -> None:
    """Comes with a fresh key, says Close, and comes again."""
    await it.go()

    async def once() -> None:
        link = await it.link()
        await link.send(Close("bye"))

    await it.several(once, 8)


@attack(quick=False)
async def empty_frames(it: Attack) -> None:
    """Frames with nothing in them."""
    await small(it, frame(now=1))


@attack(quick=False)
async def small_requests(it: Attack) -> None:
    """One request a frame, to a topic that nobody serves."""
    link = await it.link()
    asked = (frame(now=1, floor=n, requests=[Request(n + 1, "x", "ms", b"")]) for n in range(PREPARED))
    chunks = link.seal_ahead(asked)
    await it.go()
    await it.pour(chunks, link)


@attack()
async def big_frame_of_records(it: Attack) -> None:
    """One frame in parts with half a million tiny messages."""
    batches = [
        Batch(2, 5, 1, [Record(n * 8192 + i + 1, soon(), "chat", "ms", b"\xc0") for i in range(8192)], [])
        for n in range(64)
    ]
    await big(it, frame(batches=batches))


@attack(quick=False)
async def big_frame_of_tombstones(it: Attack) -> None:
    """One frame in parts with two million tombstones."""
    batches = [Batch(2, 6, 1, [tombstone(n * 8192 + i + 1) for i in range(8192)], []) for n in range(256)]
    await big(it, frame(batches=batches))


@attack(quick=False)
async def big_frame_of_events(it: Attack) -> None:
    """One frame in parts with as many events as fit, each on a topic of its own."""
    base = "a.b.c.d.e.f.g.h"
    await big(it, frame(events=[Event(f"{base}.{i:06d}", "ms", b"\xc0") for i in range(131_072)]))


@attack(quick=False)
async def big_frame_of_requests(it: Attack) -> None:
    """One frame in parts with 65,000 requests."""
    await big(it, frame(requests=[Request(i + 1, "echo", "ms", b"\xc0") for i in range(65_000)]))


async def big(it: Attack, encoded: bytes) -> None:
    link = await it.link()
    chunks = link.parts_ahead(encoded)
    await it.go()
    it.notes["frame"] = len(encoded)
    await it.pour(chunks, link)
    await it.rest()


@attack()
async def new_topics(it: Attack) -> None:
    """A megabyte a second of events on topics that were never seen."""
    number = 0

    def make(link: RawLink) -> bytes:
        nonlocal number
        number += 2000
        return link.seal(frame(now=1, events=[Event(f"{number + i:x}", "ms", b"") for i in range(2000)]))

    await it.go()
    await it.flood(make, pause=0.025)
