"""Numbered messages of a stranger that are never whole, never in turn, repeated, or cost more than they weigh."""

import os
import time

from mmplatform.codec import pack
from mmplatform.delivery.wire import Ack, Batch, End, Event, Part, Piece, Record, Request, encode_packet
from mmplatform.identity.keys import Identity
from tests.hostile.attack import Attack
from tests.hostile.attacks.delivery import soon
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack

HALF_AN_HOUR = 1_000_000  # milliseconds
TOP = 2**52
REPLAYED_BY = 300  # keys


@attack(quick=False)
async def new_streams(it: Attack) -> None:
    """A message in each of thousands of new streams, over all lanes."""
    epoch = 0

    def make(link: RawLink) -> bytes:
        nonlocal epoch
        epoch += 200
        record = Record(1, soon(), "chat", "ms", b"\xc0")
        return link.seal(frame(batches=[Batch(n % 4, epoch + n, 1, [record], []) for n in range(200)]))

    await it.go()
    await it.flood(make)


@attack()
async def repeats(it: Attack) -> None:
    """The same message again and again: each asks for an acknowledgement."""
    link = await it.link()
    record = Record(1, soon(), "chat", "ms", b"\xc0")
    again = frame(batches=[Batch(2, 1, 1, [record], [])])
    chunks = link.seal_ahead(again for _ in range(30_000))
    await it.go()
    await it.pour(chunks, link)


def ending_by_turns(low: int, number: int) -> list[Record]:
    """Messages that nobody listens to; every other one has expired: each has an ending unlike the one before."""
    return [Record(low + j, soon() if j % 2 else 1, "nobody", "ms", b"") for j in range(number)]


async def leave_outcomes(it: Attack, link: RawLink, upto: int, now: int) -> None:
    """Have the victim note the endings of all messages up to about ``upto`` on one stream."""
    for low in range(1, upto, 256):
        await it.within(link.send(frame(batches=[Batch(2, 1, 1, ending_by_turns(low, 256), [])], now=now)))


@attack()
async def outcomes(it: Attack) -> None:
    """Thousands of messages with endings that alternate; then repetitions, each of which is told all of them."""
    link = await it.link()
    await it.go()
    now = int(time.time() * 1000)
    await leave_outcomes(it, link, 8400, now)
    again = frame(batches=[Batch(2, 1, 1, [Record(1, 1, "x", "ms", b"")], [])], now=now)
    while not it.over:
        await it.within(link.send(again))
        await it.pause(0.002)


@attack()
async def outcomes_on_disk(it: Attack) -> None:
    """New messages on a stream with thousands of endings: each has all of them written to disk."""
    link = await it.link()
    await it.go()
    now = int(time.time() * 1000)
    await leave_outcomes(it, link, 8192, now)
    seq = 8193
    while not it.over:
        record = Record(seq, soon() if seq % 2 else 1, "nobody", "ms", b"")
        await it.within(link.send(frame(batches=[Batch(2, 1, 1, [record], [])], now=now)))
        seq += 1
        await it.pause(0.004)


@attack(quick=False)
async def streams_on_disk(it: Attack) -> None:
    """A few keys leave thousands of endings in each of many streams: rows that a later start would read."""
    await it.go()

    async def one_key() -> None:
        link = await it.link()
        for epoch in range(1, 65):
            for low in (1, 4097):
                await link.send(frame(batches=[Batch(epoch % 4, epoch, 1, ending_by_turns(low, 4096), [])]))

    await it.several(one_key, 2)


@attack()
async def gaps(it: Attack) -> None:
    """Messages that come long before their turn, of which the first one never comes."""
    blob = b"\xc5" + (20_000).to_bytes(2) + bytes(20_000)
    epoch, seq = 1, 2

    def make(link: RawLink) -> bytes:
        nonlocal epoch, seq
        records = [Record(seq + n, soon(), "chat", "ms", blob) for n in range(8)]
        made = link.seal(frame(batches=[Batch(2, epoch, 1, records, [])]))
        epoch, seq = (epoch + 1, 2) if seq > 700 else (epoch, seq + 8)
        return made

    await it.go()
    await it.flood(make)


@attack()
async def bases(it: Attack) -> None:
    """Many batches a frame, each with a base one higher, while thousands of messages wait for their turn."""
    link = await it.link()
    await it.go()
    for low in range(4200, 8190, 500):
        records = [Record(low + j, soon(), "chat", "ms", b"") for j in range(500) if low + j < 8190]
        await it.within(link.send(frame(batches=[Batch(2, 1, 1, records, [])])))
    for base in range(2, 4100, 256):
        await it.within(link.send(frame(batches=[Batch(2, 1, base + k, [], []) for k in range(256)])))
    await it.rest()


@attack(quick=False)
async def pieces(it: Attack) -> None:
    """Messages in pieces over many streams, none of which is ever whole."""
    record = encode_packet(Record(1, soon(), "chat", "ms", bytes(10_000_000)))
    epoch, offset = 1, 0

    def make(link: RawLink) -> bytes:
        nonlocal epoch, offset
        piece = Piece(1, offset, len(record), record[offset : offset + 200_000])
        made = link.seal(frame(batches=[Batch(2, epoch, 1, [], [piece])]))
        epoch, offset = (epoch + 1, 0) if offset > 9_000_000 else (epoch, offset + 200_000)
        return made

    await it.go()
    await it.flood(make)


@attack(quick=False)
async def half_frames(it: Attack) -> None:
    """Frames in parts on many links, none of which is ever whole."""
    await it.go()
    links = await it.links(20)

    async def fill() -> None:
        if not links:
            await it.rest()
            return
        link = links.pop()
        for offset in range(0, 209 * 200_000, 200_000):
            await link.send(pack(Part(offset, 60 * 2**20, bytes(200_000))))
        await it.rest()

    await it.several(fill, 4)


@attack(quick=False)
async def parts_of_a_byte(it: Attack) -> None:
    """A frame in parts of one byte each."""
    link = await it.link()
    chunks = link.seal_ahead(pack(Part(offset, 2**20, b"x")) for offset in range(30_000))
    await it.go()
    await it.pour(chunks, link)


@attack()
async def false_acks(it: Attack) -> None:
    """Acknowledges with huge ranges and endings what was never sent."""
    ranges, ends = [(0, 2**53 - 1)] * 64, [(0, TOP, End.FAILED, "x" * 200)] * 600
    made = frame(acks=[Ack(2, n, 2**53 - 1, ranges, ends, []) for n in range(256)])
    await it.go()
    link = await it.link()
    while not it.over:
        await it.within(link.send_large(made))


@attack(quick=False)
async def expired(it: Attack) -> None:
    """Messages that have expired, by clocks that are centuries off."""
    seq = 1

    def make(link: RawLink) -> bytes:
        nonlocal seq
        seq += 500
        records = [Record(seq - 500 + n, 1 + n % 2 * TOP, "chat", "ms", b"") for n in range(500)]
        return link.seal(frame(batches=[Batch(2, 1, 1, records, [])], now=1 if seq % 2 else 2**53 - 1))

    await it.go()
    await it.flood(make)


@attack(quick=False)
async def replays_of_fresh_keys(it: Attack) -> None:
    """Hundreds of fresh keys say something, and then one key says its first message again in every epoch."""
    await it.go()
    who = Identity.generate()
    batch = Batch(2, 7, 1, [Record(1, soon(), "chat", "ms", b"\xc0")], [])

    async def fresh() -> None:
        link = await it.link()
        await link.send(frame(batches=[batch]))
        await it.pause(0.01)
        link.abort()

    async def same() -> None:
        link = await it.link(who)
        await link.send(frame(batches=[batch]))
        link.abort()

    await it.several(fresh, 6)
    await it.several(same, 1)


@attack()
async def floor_jumps(it: Attack) -> None:
    """Frames of 42 bytes whose floor jumps, while tens of thousands of replies are remembered."""
    link = await it.link()
    await it.go()
    for low in range(0, 65_000, 1000):
        asked = [Request(TOP + low + n, "nobody.here", "ms", b"") for n in range(1000)]
        await it.within(link.send(frame(requests=asked)))
    floor = 10**6
    while not it.over:
        made = []
        for _ in range(20):
            floor += 70_000
            made.append(frame(requests=[Request(5, "x", "ms", b"")], now=1, floor=floor))
        await it.within(link.send(*made))
        await it.pause(0.02)


@attack(quick=False)
async def control_topics(it: Attack) -> None:
    """Events on topics that nobody may send: errors by the hundred thousand."""
    number = 0

    def make(link: RawLink) -> bytes:
        nonlocal number
        number += 1000
        wrong = [Event(f"transports.x{number + n}", "ms", b"\xc0") for n in range(500)]
        return link.seal(frame(events=[*wrong, *(Event("a b\x1b[2J", "ms", b"\xc0") for _ in range(500))]))

    await it.go()
    await it.flood(make, pause=0.01)


def blob(size: int) -> bytes:
    """Return an encoded payload of ``size`` random bytes."""
    return b"\xc6" + size.to_bytes(4) + os.urandom(size)
