"""What a twin, as anybody can register, sends to a relay of RMB: floods, repeats, forgeries, mail for everybody."""

import os
from collections.abc import Callable, Sequence
from itertools import count, cycle

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbError, RmbPong, RmbResponse
from tests.hostile.attack import Attack
from tests.hostile.attacks.twin_links import twin
from tests.hostile.registry import RMB, attack
from tests.hostile.twin_guest import Fresh, TwinGuest, envelope, marked, ping
from tests.hostile.twins import ABSENT, ATTACKERS, FAR, MISSING, PAIRS, SLOW
from tests.hostile.web_socket_wire import CONTINUED, PING_FRAME, PONG_FRAME, TEXT, framed

SMALL = 200  # envelopes that are made at a time
LARGEST = 2**20 - 400  # bytes of a payload


async def pour(
    it: Attack, make: Callable[[TwinGuest], Callable[[], bytes]], twins: Sequence[int] = ATTACKERS[:1]
) -> None:
    """Sign in with each of ``twins`` and write what is made for it as fast as it is taken; cut off, it comes again."""
    numbers = cycle(twins)
    first = [await twin(it, next(numbers)) for _ in twins]
    await it.go()

    async def one() -> None:
        guest = first.pop() if first else await twin(it, next(numbers))
        made = make(guest)
        while not it.over:
            await guest.write(made())

    await it.several(one, len(twins))


async def same(it: Attack, chunk: bytes) -> None:
    """Write the same bytes as fast as they are taken."""
    await pour(it, lambda _: lambda: chunk)


@attack(RMB)
async def rmb_ping_envelopes(it: Attack) -> None:
    """Ping envelopes, each of which wants a pong."""
    await same(it, framed(ping("p")) * 4000)


@attack(RMB)
async def rmb_pings_behind_mail(it: Attack) -> None:
    """Pings that have to wait for an envelope before them, more than may wait."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        mail = Fresh([envelope(guest.at, ATTACKERS[9], marked(n)) for n in range(20)])
        return lambda: mail() + framed(ping("p")) * 20

    await pour(it, make)


@attack(RMB)
async def rmb_control_frames(it: Attack) -> None:
    """Pings of WebSocket, each of which wants an answer, and pongs that nobody asked for."""
    await same(it, (framed(b"", PING_FRAME) + framed(b"12345678", PONG_FRAME)) * 4000)


@attack(RMB, quick=False)
async def rmb_fragments(it: Attack) -> None:
    """One envelope in thousands of empty fragments, again and again."""
    whole = ping("p")
    await same(
        it, framed(whole[:2], last=False) + framed(b"", CONTINUED, last=False) * 8000 + framed(whole[2:], CONTINUED)
    )


@attack(RMB, quick=False)
async def rmb_bad_envelopes(it: Attack) -> None:
    """Noise, nothing, text, and fields without end: each connection ends with the first, and the next one comes."""
    wrong = cycle((
        framed(b""), framed(os.urandom(900)), framed(b"{}", TEXT), framed(b"\xff" * 2**20),
        framed(b"\x0a\xff\xff\xff\xff\x0f"),
        framed(b"".join(bytes([0x92, 0x01, 1, n]) for n in range(256)) * 1000),
    ))  # fmt: skip
    await it.go()

    async def one() -> None:
        guest = await twin(it)
        await guest.write(next(wrong))
        await it.within(guest.gone.wait())

    await it.several(one, 8)


@attack(RMB)
async def rmb_small_envelopes(it: Attack) -> None:
    """The smallest envelopes, to a twin of its own that reads them."""
    reader = await twin(it, ATTACKERS[1], "")

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, reader.at.twin, marked(n)) for n in range(SMALL)])

    await pour(it, make, ATTACKERS[:2])


@attack(RMB)
async def rmb_noise_to_the_honest(it: Attack) -> None:
    """Small envelopes of eight twins to one who is honest, and is waited for by another."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, PAIRS + 1, marked(n)) for n in range(SMALL)])

    await pour(it, make, ATTACKERS[:8])


@attack(RMB, quick=False)
async def rmb_large_noise_to_the_honest(it: Attack) -> None:
    """The largest envelopes to one who is honest."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, PAIRS + 1, marked(0), LARGEST)])

    await pour(it, make, ATTACKERS[:2])


@attack(RMB)
async def rmb_fills_a_box(it: Attack) -> None:
    """Fills the box of somebody honest who is away, with large envelopes of several twins."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, ABSENT, marked(n), 100_000) for n in range(4)])

    await pour(it, make, ATTACKERS[:8])


@attack(RMB)
async def rmb_boxes_of_nobody(it: Attack) -> None:
    """The smallest envelopes, each to another session that there is not: thousands of boxes."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([
            envelope(guest.at, number, marked(n), session=marked(n)) for n, number in enumerate(ATTACKERS[56:256])
        ])  # fmt: skip

    await pour(it, make, ATTACKERS[:2])


@attack(RMB, quick=False)
async def rmb_large_mail(it: Attack) -> None:
    """The largest envelopes for many twins that are away, and larger ones."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        numbers = cycle(ATTACKERS[56:256])
        mail = [Fresh([envelope(guest.at, next(numbers), marked(n), LARGEST)]) for n in range(20)]
        turns = cycle([*mail, lambda: framed(bytes(2**20 + 1))])
        return lambda: next(turns)()

    await pour(it, make, ATTACKERS[:2])


@attack(RMB)
async def rmb_to_nobody(it: Attack) -> None:
    """Envelopes to thousands of twins that there are not: each is looked up, and answered by an error."""
    numbers = count(MISSING)

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return lambda: b"".join(framed(envelope(guest.at, next(numbers), "u")) for _ in range(SMALL))

    await pour(it, make)


@attack(RMB)
async def rmb_wrong_sources(it: Attack) -> None:
    """Envelopes of somebody honest, as it says, and to nobody: each is answered by an error."""
    forged = TwinAddress(PAIRS)
    chunk = b"".join(framed(envelope(forged, PAIRS + 1, f"{n}".ljust(255, "x"))) for n in range(1000))
    await same(it, chunk)


@attack(RMB)
async def rmb_repeats(it: Attack) -> None:
    """One envelope to somebody honest, thousands of times."""
    await pour(it, lambda guest: lambda: framed(envelope(guest.at, PAIRS + 1, "again")) * 1000)


@attack(RMB, quick=False)
async def rmb_repeats_to_the_absent(it: Attack) -> None:
    """One large envelope to somebody who is away, again and again."""
    await pour(it, lambda guest: lambda: framed(envelope(guest.at, ABSENT, "again", 50_000)) * 10)


@attack(RMB, quick=False)
async def rmb_fails_fast(it: Attack) -> None:
    """Envelopes that are to be kept for nobody, to who is away."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, ABSENT, marked(n), tags="fail-fast") for n in range(SMALL)])

    await pour(it, make)


@attack(RMB, quick=False)
async def rmb_answers_nobody_wants(it: Attack) -> None:
    """Responses, errors and pongs to somebody honest who has not asked."""
    kinds = (RmbResponse(), RmbError(1, "\x1b[2J" * 1000), RmbPong())

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, PAIRS, marked(n), message=kinds[n % 3]) for n in range(60)])

    await pour(it, make)


@attack(RMB)
async def rmb_expires_at_once(it: Attack) -> None:
    """Envelopes that end in a second, each of which is to be told to who sent it."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, ATTACKERS[60 + n % 100], marked(n), expiration=1) for n in range(SMALL)])

    await pour(it, make, ATTACKERS[:2])


@attack(RMB)
async def rmb_to_dead_relays(it: Attack) -> None:
    """Envelopes to hundreds of twins, each at a relay that there is not, and to one whose relay does not answer."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, number, marked(number)) for number in (*FAR, *[SLOW] * 50)])

    await pour(it, make)


@attack(RMB, quick=False)
async def rmb_large_mail_to_a_dead_relay(it: Attack) -> None:
    """The largest envelopes for a relay that does not answer."""

    def make(guest: TwinGuest) -> Callable[[], bytes]:
        return Fresh([envelope(guest.at, SLOW, marked(0), LARGEST)])

    await pour(it, make, ATTACKERS[:2])


@attack(RMB)
async def rmb_places_that_there_are_not(it: Attack) -> None:
    """Acknowledges by itself what it was never sent, in the longest lists of ranges that there may be."""
    places = b" ".join(b"%d-%d" % (n, 10**15 - 1) for n in range(50)), b"0-0 " * 200 + b"0"
    chunks = cycle([framed(ping("p", each)) for each in places])
    await it.go()

    async def one() -> None:
        guest = await twin(it, acknowledges=True)
        for _ in range(50):
            await guest.write(next(chunks))
        await it.pause(0.01)

    await it.several(one, 8)


@attack(RMB, quick=False)
async def rmb_says_nothing_of_its_mail(it: Attack) -> None:
    """Acknowledges by itself, has thousands of envelopes sent to it, and names no place."""
    await it.go()

    async def one() -> None:
        reader, writer = await twin(it, acknowledges=True), await twin(it)
        at = reader.at
        made = Fresh([envelope(writer.at, at.twin, marked(n), 1000, session=at.session) for n in range(50)])
        try:
            for _ in range(40):
                await writer.write(made())
            await it.pause(0.2)
        finally:
            reader.abort()

    await it.several(one, 4)
