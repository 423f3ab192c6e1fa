"""A stranger's connections to a relay: silent, half upgraded, half signed in, half sent, unread, and its letters."""

import asyncio
import base64
import os
import time
from contextlib import suppress
from itertools import cycle

from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import PEER, Data, Deposit, Open, SignIn
from mmplatform.identity.keys import Identity
from tests.hostile.attack import AT_ONCE, Attack
from tests.hostile.guest import REQUEST, Guest, reach, said
from tests.hostile.raw_link import Gone, Wire
from tests.hostile.registry import RELAY, TLS_RELAY, attack
from tests.hostile.web_socket_wire import CONTINUED, framed

MANY = 1500  # connections: more than may be without a request
DAY = 86_400_000  # milliseconds


async def plain(it: Attack, encrypted: bool = True) -> Wire:
    """Connect without saying anything; with a relay that has TLS, in it unless told otherwise."""
    wire = Wire(it.traffic)
    await _reach(it, wire, encrypted)
    return wire


async def connected(it: Attack, identity: Identity | None = None) -> Guest:
    """Connect to the relay."""
    guest = Guest(it.traffic, base64.urlsafe_b64decode(it.target.key + "="), identity)
    await _reach(it, guest)
    return guest


async def guest(it: Attack, identity: Identity | None = None, role: int = PEER, address: str = "") -> Guest:
    """Connect and sign in."""
    made = await connected(it, identity)
    await made.sign_in(role, address)
    return made


async def _reach(it: Attack, wire: Wire, encrypted: bool = True) -> None:
    await reach(wire, it.target.port, it.source, it.target.folder if encrypted else "")
    it.keep(wire)


async def pour(it: Attack, chunk: bytes) -> None:
    """Sign in and write the same bytes as fast as they are taken; who is cut off comes again."""
    first = await guest(it)
    await it.go()
    left = [first]

    async def one() -> None:
        client = left.pop() if left else await guest(it)
        while not it.over:
            await client.write(chunk)

    await it.several(one, 1)


async def hold(it: Attack, first: bytes, count: int, encrypted: bool = True) -> None:
    """Keep ``count`` connections open that said ``first``; who is cut off comes again."""
    await it.go()

    async def one() -> None:
        wire = await plain(it, encrypted)
        if first:
            await wire.write(first)
        await wire.gone.wait()
        await it.pause(0.05)

    await it.several(one, count)


@attack(RELAY)
async def relay_silent_connections(it: Attack) -> None:
    """More connections than may be without a request, which say nothing."""
    await hold(it, b"", MANY)


@attack(RELAY, quick=False)
async def relay_half_requests(it: Attack) -> None:
    """As many whose request has no end."""
    await hold(it, REQUEST, MANY)


@attack(RELAY, quick=False)
async def relay_long_requests(it: Attack) -> None:
    """Requests with headers as long as they may be, and longer."""
    headers = b"".join(b"X-%d: " % n + b"y" * 8000 + b"\r\n" for n in range(200))
    await hold(it, REQUEST + headers, 100)


@attack(RELAY)
async def relay_unsigned_connections(it: Attack) -> None:
    """Connections that are upgraded and do not sign in, as many as one address may have and more."""
    await hold(it, REQUEST + b"\r\n", MANY)


@attack(RELAY)
async def relay_sign_in_flood(it: Attack) -> None:
    """Signs in with a fresh key, leaves, and comes again."""
    await it.go()

    async def one() -> None:
        client = await guest(it)
        client.abort()

    await it.several(one, 16)


@attack(RELAY, quick=False)
async def relay_bad_sign_in_flood(it: Attack) -> None:
    """Signs in with signatures that are wrong."""
    await it.go()

    async def one() -> None:
        client = await connected(it)
        challenge = await client.challenge()
        answer = signin.answer(client.identity, challenge, challenge.relay, os.urandom(32))
        await client.say(SignIn(answer.key, answer.nonce, bytes(64)))
        await it.pause(0.02)
        client.abort()

    await it.several(one, 16)


@attack(RELAY, quick=False)
async def relay_same_key_flood(it: Attack) -> None:
    """Signs in with one key, each time displacing itself."""
    me = Identity.generate()
    await it.go()

    async def one() -> None:
        await guest(it, me)

    await it.several(one, 8)


@attack(RELAY, quick=False)
async def relay_signed_in_crowd(it: Attack) -> None:
    """Stays signed in with as many keys as there can be."""
    await it.go()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            client = await guest(it)
        await client.gone.wait()
        await it.pause(0.05)

    await it.several(one, 1000)


@attack(RELAY, quick=False)
async def relay_page_flood(it: Attack) -> None:
    """Asks for pages, on a connection each."""
    await it.go()
    pages = cycle((b"/", b"/healthz", b"/nothing"))

    async def one() -> None:
        wire = await plain(it)
        await wire.write(b"GET " + next(pages) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.gone.wait()

    await it.several(one, 16)


@attack(RELAY)
async def relay_more_behind_a_page(it: Attack) -> None:
    """Asks for a page, and sends noise behind the request, at which an assertion of the library fails."""
    await it.go()

    async def one() -> None:
        wire = await plain(it)
        await wire.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x82\x81\0\0\0\0===")
        await wire.gone.wait()

    await it.several(one, 4)


@attack(RELAY)
async def relay_half_messages(it: Attack) -> None:
    """Holds messages of two megabytes of which the last byte is missing, on two hundred connections."""
    await it.go()
    most = framed(bytes(2**21 - 10), last=False)

    async def one() -> None:
        client = await guest(it)
        await client.write(most)
        await client.gone.wait()
        await it.pause(0.05)

    await it.several(one, 200)


@attack(RELAY, quick=False)
async def relay_slow_fragments(it: Attack) -> None:
    """Fragments of a byte, one after the other, on a hundred connections."""
    await it.go()

    async def one() -> None:
        client = await guest(it)
        await client.write(framed(b"\x91", last=False))
        while not it.over:
            await client.write(framed(b"\x90", CONTINUED, last=False))
            await it.pause(0.02)

    await it.several(one, 100)


@attack(RELAY)
async def relay_unread(it: Attack) -> None:
    """Has itself sent frames that it does not read."""
    await it.go()
    readers: list[Guest] = []

    async def one() -> None:
        reader, writer = await guest(it), await guest(it)
        reader.transport.pause_reading()
        readers.append(reader)
        peer = reader.identity.sign_key
        await writer.write(said(Open(peer, 1, b"x")))
        for _ in range(40):
            await writer.write(said(Data(peer, 1, bytes(200_000))))

    await it.several(one, 4)


async def mail(it: Attack, size: int, to: list[bytes], keys: int) -> None:
    """Leave letters with several keys, as fast as they are taken."""
    await it.go()
    until = int(time.time() * 1000) + DAY

    async def one() -> None:
        client = await guest(it)
        for _ in range(200):
            letters = [Deposit(to[n % len(to)], os.urandom(16), until, bytes(size)) for n in range(10)]
            await client.write(b"".join(said(letter) for letter in letters))

    await it.several(one, keys)


@attack(RELAY)
async def relay_fills_a_box(it: Attack) -> None:
    """Fills the box of somebody honest who is away, with large letters of several keys."""
    await mail(it, 100_000, [bytes.fromhex(it.target.honest[0])], 4)


@attack(RELAY, quick=False)
async def relay_small_mail(it: Attack) -> None:
    """Leaves the smallest letters for thousands of keys that nobody has."""
    await mail(it, 1, [os.urandom(32) for _ in range(4000)], 2)


@attack(RELAY, quick=False)
async def relay_large_mail(it: Attack) -> None:
    """Leaves the largest letters, and larger ones, for many keys."""
    await mail(it, 1024 * 1024, [os.urandom(32) for _ in range(400)], 2)


@attack(TLS_RELAY)
async def tls_silent_connections(it: Attack) -> None:
    """Connections to a relay with TLS that do not begin the handshake."""
    await hold(it, b"", MANY, encrypted=False)


@attack(TLS_RELAY, quick=False)
async def tls_half_handshakes(it: Attack) -> None:
    """TLS handshakes that stop in the middle of the first record."""
    await hold(it, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(100), MANY, encrypted=False)


@attack(TLS_RELAY)
async def tls_handshake_flood(it: Attack) -> None:
    """Whole TLS handshakes, one after the other: the dearest thing to ask of a relay."""
    await it.go()

    async def one() -> None:
        with suppress(Gone):
            (await plain(it)).abort()

    await it.several(one, 16)


@attack(TLS_RELAY, quick=False)
async def tls_garbage(it: Attack) -> None:
    """Noise where TLS is spoken."""
    await it.go()

    async def one() -> None:
        wire = await plain(it, encrypted=False)
        await wire.write(os.urandom(500))
        await wire.gone.wait()

    await it.several(one, 16)
