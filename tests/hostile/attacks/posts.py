"""What a stranger posts to a relay of RMB, as other relays do: forged, half sent, in crumbs, unread, repeated."""

import os
from collections.abc import Callable
from itertools import count

from mm_transports.rmb.protocol.address import TwinAddress
from tests.hostile.attack import Attack
from tests.hostile.attacks.relay_links import MANY, hold, plain
from tests.hostile.registry import RMB, TLS_RMB, attack
from tests.hostile.twin_guest import envelope, posted
from tests.hostile.twins import ABSENT, ATTACKERS, MISSING, PAIRS, REMOTE

KEPT = "Connection: keep-alive"
CONNECTIONS = 16
CROWD = 100  # connections: more than one address may have
LARGEST = 2**20 - 400
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"
SIGNED = [TwinAddress(number) for number in ATTACKERS[:32]]  # of twins of its own


async def pour(it: Attack, make: Callable[[], bytes], connections: int = CONNECTIONS, *, reads: bool = True) -> None:
    """Write posts as fast as they are taken; who is cut off comes again."""
    await it.go()

    async def one() -> None:
        wire = await plain(it)
        if not reads:
            wire.transport.pause_reading()
        while not it.over:
            await wire.write(make())

    await it.several(one, connections)


def forged(source: int, to: int = ABSENT, size: int = 100) -> bytes:
    """Return a post whose signature nobody has made."""
    made = envelope(TwinAddress(source), to, os.urandom(8).hex(), size, signature=b"s" + os.urandom(63) + b"\x80")
    return posted(made, KEPT)


@attack(RMB)
async def post_forged(it: Attack) -> None:
    """Envelopes of somebody honest with signatures that are none of his."""
    chunks = [b"".join(forged(REMOTE) for _ in range(20)) for _ in range(50)]
    turns = count()
    await pour(it, lambda: chunks[next(turns) % 50])


@attack(RMB)
async def post_forged_connections(it: Attack) -> None:
    """The same, each on a connection."""
    made = [forged(REMOTE) for _ in range(1000)]
    turns = count()
    await it.go()

    async def one() -> None:
        wire = await plain(it)
        await wire.write(made[next(turns) % 1000])
        await it.pause(0.01)
        wire.abort()

    await it.several(one, CONNECTIONS)


@attack(RMB)
async def post_of_nobody(it: Attack) -> None:
    """Envelopes of thousands of twins that there are not, each of which is looked up."""
    numbers = count(MISSING)
    await pour(it, lambda: b"".join(forged(next(numbers)) for _ in range(10)))


@attack(RMB, quick=False)
async def post_to_nobody(it: Attack) -> None:
    """Envelopes of twins of its own to thousands that there are not."""
    numbers = count(MISSING)
    await pour(it, lambda: posted(envelope(SIGNED[0], next(numbers), "u", signed=True), KEPT))


@attack(RMB)
async def post_half_bodies(it: Attack) -> None:
    """Posts of a megabyte of which the last byte is missing, on more connections than there may be."""
    await hold(it, HEAD + bytes(2**20 - 1), CROWD)


@attack(RMB, quick=False)
async def post_half_heads(it: Attack) -> None:
    """Posts whose headers have no end."""
    await hold(it, HEAD[:-2], CROWD)


@attack(RMB, quick=False)
async def post_silence(it: Attack) -> None:
    """Connections that say the first word of a post, and nothing more."""
    await hold(it, b"POST ", MANY)


@attack(RMB, quick=False)
async def post_slowly(it: Attack) -> None:
    """Posts of which a byte comes now and then."""
    await it.go()

    async def one() -> None:
        wire = await plain(it)
        await wire.write(HEAD)
        while not it.over:
            await wire.write(b"\x0a")
            await it.pause(0.02)

    await it.several(one, CROWD)


@attack(RMB)
async def post_crumbs(it: Attack) -> None:
    """Bodies in chunks of a byte each."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = head + b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"
    await pour(it, lambda: chunk)


@attack(RMB, quick=False)
async def post_empty(it: Attack) -> None:
    """Posts of nothing, thousands behind one another."""
    chunk = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 1000
    await pour(it, lambda: chunk)


@attack(RMB)
async def post_unread(it: Attack) -> None:
    """Posts of nothing, whose answers nobody reads."""
    chunk = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 1000
    await pour(it, lambda: chunk, 64, reads=False)


@attack(RMB, quick=False)
async def post_no_http(it: Attack) -> None:
    """What begins with the word and is no HTTP, or too much of it."""
    first = b"POST / HTTP/1.1\r\nHost: x\r\n"
    wrong = [
        b"POST \xff\xff\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"POST " + b"x" * 20_000, first + b"a: b\r\n" * 3000,
        first + b"Content-Length: 99999999999999\r\n\r\n",
        first + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    ]  # fmt: skip
    turns = count()
    await it.go()

    async def one() -> None:
        wire = await plain(it)
        await wire.write(wrong[next(turns) % len(wrong)])
        await it.within(wire.gone.wait())

    await it.several(one, CONNECTIONS)


@attack(RMB)
async def post_fills_a_box(it: Attack) -> None:
    """Envelopes of thirty-two twins of its own for somebody honest who is away, as large as they may be."""
    made = [
        b"".join(posted(envelope(source, ABSENT, os.urandom(8).hex(), 100_000, signed=True), KEPT) for _ in range(2))
        for source in SIGNED
    ]
    turns = count()
    await pour(it, lambda: made[next(turns) % len(made)])


@attack(RMB)
async def post_small_mail(it: Attack) -> None:
    """The smallest envelopes of its own twins, for many, each kept."""
    numbers, names = count(), count()

    def make() -> bytes:
        return b"".join(
            posted(envelope(SIGNED[n % 32], ATTACKERS[100 + n % 100], f"{next(names)}", signed=True), KEPT)
            for n in (next(numbers) for _ in range(5))
        )

    await pour(it, make)


@attack(RMB)
async def post_repeats(it: Attack) -> None:
    """One envelope that is good, again and again."""
    chunk = posted(envelope(SIGNED[0], PAIRS + 1, "again", signed=True), KEPT) * 50
    await pour(it, lambda: chunk)


@attack(RMB, quick=False)
async def post_noise_to_the_honest(it: Attack) -> None:
    """Envelopes of its own twins to one who is honest, and is waited for by another."""
    numbers = count()

    def make() -> bytes:
        n = next(numbers)
        return posted(envelope(SIGNED[n % 32], PAIRS + 1, f"{n}", signed=True), KEPT)

    await pour(it, make)


@attack(RMB, quick=False)
async def post_connections(it: Attack) -> None:
    """Connections that post once, and stay, as many as one address may have and more."""
    await hold(it, posted(envelope(SIGNED[0], ABSENT, "once", signed=True), KEPT), CROWD)


@attack(TLS_RMB)
async def tls_post_half_bodies(it: Attack) -> None:
    """Posts of a megabyte of which the last byte is missing, by TLS."""
    await hold(it, HEAD + bytes(2**20 - 1), CROWD)


@attack(TLS_RMB, quick=False)
async def tls_post_forged(it: Attack) -> None:
    """Envelopes with signatures of nobody, each on a connection with TLS."""
    await post_forged_connections(it)
