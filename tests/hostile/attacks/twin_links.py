"""A stranger's connections to the door for RMB: tokens by the thousand, half sent, unread, coming and going."""

import asyncio
import base64
import os
import time
from itertools import count, cycle
from typing import Any

from mm_transports.rmb.protocol.tokens import make_token
from tests.hostile.attack import AT_ONCE, Attack
from tests.hostile.attacks.chain import chain, change
from tests.hostile.attacks.relay_links import MANY, hold, plain
from tests.hostile.guest import reach
from tests.hostile.raw_link import Gone
from tests.hostile.registry import RMB, TLS_RMB, attack
from tests.hostile.trap import Trap
from tests.hostile.twin_guest import TwinGuest, asked, call, envelope, token_of
from tests.hostile.twins import ATTACKERS, MISSING, NEWCOMER, keys_of
from tests.hostile.web_socket_wire import CONTINUED, TEXT, framed, request

FIRST = ATTACKERS[0]
_sessions = count(1)


async def twin(
    it: Attack, number: int = FIRST, session: str | None = None, *, token: str = "", pongs: bool = True, **claims: Any
) -> TwinGuest:
    """Connect and sign in; with a session of its own unless one is named."""
    guest = TwinGuest(it.traffic, number, f"s{next(_sessions)}" if session is None else session, pongs=pongs)
    await reach(guest, it.target.port, it.source, it.target.folder)
    it.keep(guest)
    await guest.sign_in(token, **claims)
    return guest


async def ask(it: Attack, first: bytes) -> None:
    """Connect, say ``first``, and wait for the end."""
    wire = await plain(it)
    await wire.write(first)
    await it.within(wire.gone.wait())


async def come_and_go(it: Attack, number: int, session: str | None = None, token: str = "") -> None:
    """Sign in and leave, sixteen at a time."""
    await it.go()

    async def one() -> None:
        (await twin(it, number, session, token=token)).abort()

    await it.several(one, 16)


@attack(RMB, quick=False)
async def rmb_silent_connections(it: Attack) -> None:
    """More connections than may be without a request, which say nothing."""
    await hold(it, b"", MANY)


@attack(RMB, quick=False)
async def rmb_half_requests(it: Attack) -> None:
    """As many whose request, with a token that is good, has no end."""
    await hold(it, request(f"/?{token_of(FIRST)}"), MANY)


@attack(RMB)
async def rmb_forged_tokens(it: Attack) -> None:
    """Tokens of somebody honest with signatures that are none of his, each on a connection."""
    signed, _, _ = token_of(NEWCOMER).rpartition(".")
    await it.go()

    async def one() -> None:
        forged = base64.urlsafe_b64encode(b"s" + os.urandom(63) + b"\x80").decode().rstrip("=")
        await ask(it, asked(f"{signed}.{forged}"))

    await it.several(one, 16)


@attack(RMB, quick=False)
async def rmb_tokens_of_nobody(it: Attack) -> None:
    """Tokens of thousands of twins that there are not, each of which is looked up."""
    numbers, keys = count(MISSING), keys_of(FIRST)
    await it.go()
    await it.several(lambda: ask(it, asked(make_token(keys, next(numbers), None, int(time.time())))), 16)


@attack(RMB, quick=False)
async def rmb_long_tokens(it: Attack) -> None:
    """Tokens that are as long as a request may be, or a heap of brackets."""
    brackets = base64.urlsafe_b64encode(b"[" * 2900).decode().rstrip("=")
    tokens = cycle(("x" * 15_000, f"a.{brackets}.b", f"a.{brackets}.{'A' * 87}", "." * 15_000, "a" * 4096))
    await it.go()
    await it.several(lambda: ask(it, asked(next(tokens))), 16)


@attack(RMB)
async def rmb_sign_in_flood(it: Attack) -> None:
    """Signs in with a good token and a fresh session, leaves, and comes again."""
    await come_and_go(it, FIRST)


@attack(RMB)
async def rmb_same_session_flood(it: Attack) -> None:
    """Signs in with one token again and again, each time displacing itself."""
    token = token_of(FIRST, "again")
    await it.go()

    async def one() -> None:
        await twin(it, FIRST, "again", token=token)

    await it.several(one, 8)


@attack(RMB, quick=False)
async def rmb_signed_in_crowd(it: Attack) -> None:
    """Stays signed in with as many sessions as there can be."""
    await it.go()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            guest = await twin(it)
        await guest.gone.wait()
        await it.pause(0.05)

    await it.several(one, 1000)


@attack(RMB)
async def rmb_half_messages(it: Attack) -> None:
    """Holds envelopes of a megabyte of which the last byte is missing, on two hundred connections."""
    await it.go()
    most = framed(bytes(2**20 - 10), last=False)

    async def one() -> None:
        guest = await twin(it)
        await guest.write(most)
        await guest.gone.wait()
        await it.pause(0.05)

    await it.several(one, 200)


@attack(RMB, quick=False)
async def rmb_slow_fragments(it: Attack) -> None:
    """Fragments of a byte, one after the other, on a hundred connections."""
    await it.go()

    async def one() -> None:
        guest = await twin(it)
        await guest.write(framed(b"\x0a", last=False))
        while not it.over:
            await guest.write(framed(b"\x01", CONTINUED, last=False))
            await it.pause(0.02)

    await it.several(one, 100)


@attack(RMB)
async def rmb_unread_mail(it: Attack) -> None:
    """Has itself sent the largest envelopes, reads nothing, and takes nothing."""
    await it.go()

    async def one() -> None:
        session = f"s{next(_sessions)}"
        reader, writer = await twin(it, FIRST, session), await twin(it)
        reader.transport.pause_reading()
        for number in range(40):
            await writer.say(envelope(writer.at, FIRST, f"{session}-{number}", 200_000, session=session))
        await it.pause(0.2)

    await it.several(one, 4)


@attack(RMB, quick=False)
async def rmb_never_pongs(it: Attack) -> None:
    """Has itself sent small envelopes, reads them all, and never says so."""
    await it.go()

    async def one() -> None:
        session = f"s{next(_sessions)}"
        reader, writer = await twin(it, FIRST, session, pongs=False), await twin(it)
        for number in range(400):
            await writer.say(envelope(writer.at, FIRST, f"{session}-{number}", 100, session=session))
        await it.pause(0.2)
        reader.abort()

    await it.several(one, 4)


@attack(RMB)
async def rmb_unread_errors(it: Attack) -> None:
    """Sends what is answered by an error, and reads none of them."""
    guests = [await twin(it) for _ in range(16)]
    chunks = {
        guest: b"".join(framed(envelope(guest.at, 0, f"{n}".ljust(255, "x"))) for n in range(500)) for guest in guests
    }
    for guest in guests:
        guest.transport.pause_reading()
    await it.go()

    async def one(guest: TwinGuest) -> None:
        try:
            while not it.over:
                await it.within(guest.write(chunks[guest]))
        except Gone:
            pass

    await asyncio.gather(*map(one, guests))


@attack(RMB, quick=False)
async def rmb_sent_inside(it: Attack) -> None:
    """Has its twins be at relays in the network of the relay, in every form; listens whether it posts there."""
    with Trap() as trap:
        guest = await twin(it)
        await it.go()
        await it.within(move_inside(it, trap.port))
        for number in ATTACKERS[100 : 100 + len(INSIDE)]:
            await it.within(guest.say(envelope(guest.at, number, f"{number}-{trap.port}")))
        await it.rest()
        came = trap.came()
    if came:
        it.findings.append(f"the relay posted into its own network {came} times for a stranger")


INSIDE = (
    "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "localhost", "localhost.", "LOCALHOST",
    "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "192.0.2.2",
)  # fmt: skip


async def move_inside(it: Attack, port: int) -> None:
    """Sign changes of twins, by the face of the chain: their relays are inside from now on."""
    asker = await chain(it)
    for number, host in zip(ATTACKERS[100:], INSIDE, strict=False):
        await asker.write(framed(call("author_submitExtrinsic", change(it, number, f"ws:/{host}:{port}")), TEXT))
        await it.within(asker.said())
    asker.abort()


@attack(TLS_RMB)
async def tls_rmb_forged_tokens(it: Attack) -> None:
    """The same tokens of somebody honest, each behind a TLS handshake."""
    await rmb_forged_tokens(it)


@attack(TLS_RMB, quick=False)
async def tls_rmb_sign_in_flood(it: Attack) -> None:
    """Signs in by TLS with a good token, leaves, and comes again."""
    await come_and_go(it, FIRST)


@attack(TLS_RMB, quick=False)
async def tls_rmb_silent_connections(it: Attack) -> None:
    """Connections that do not begin the handshake."""
    await hold(it, b"", MANY, encrypted=False)
