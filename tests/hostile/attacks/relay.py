"""A stranger at a relay: control frames, fragments, items, links to nobody, and links to where it should not go."""

import base64
import os

from mm_transports.relay.protocol.items import RELAY as AS_RELAY
from mm_transports.relay.protocol.items import Closed, Data, Forwarded, Noted, Open, Pause, Taken
from mm_transports.relay.protocol.wire import encode_items
from mmplatform.identity.keys import Identity
from tests.hostile.attack import Attack
from tests.hostile.attacks.relay_links import guest, pour
from tests.hostile.guest import said
from tests.hostile.raw_link import Gone
from tests.hostile.registry import RELAY, attack
from tests.hostile.trap import Trap
from tests.hostile.web_socket_wire import CONTINUED, PING_FRAME, framed


@attack(RELAY)
async def relay_empty_messages(it: Attack) -> None:
    """Messages without an item."""
    await pour(it, framed(b"\x90") * 8000)


@attack(RELAY, quick=False)
async def relay_single_items(it: Attack) -> None:
    """One item a message, of a kind that is ignored."""
    await pour(it, said(Pause(b"k" * 32)) * 2000)


@attack(RELAY)
async def relay_pings(it: Attack) -> None:
    """Control frames, each of which wants an answer."""
    await pour(it, framed(b"", PING_FRAME) * 8000)


@attack(RELAY)
async def relay_fragments(it: Attack) -> None:
    """One message in thousands of empty fragments, again and again."""
    one = framed(b"", last=False) + framed(b"", CONTINUED, last=False) * 8000 + framed(b"\x90", CONTINUED)
    await pour(it, one)


@attack(RELAY, quick=False)
async def relay_links_to_nobody(it: Attack) -> None:
    """Opens links to thousands of keys that are not there."""
    made = [said(*(Open(os.urandom(32), n, b"") for n in range(4000))) for _ in range(10)]
    await pour(it, b"".join(made))


@attack(RELAY, quick=False)
async def relay_links_by_way_of_nowhere(it: Attack) -> None:
    """Opens links by way of thousands of relays whose names nobody knows."""
    await pour(it, said(*(Open(os.urandom(32), n, b"", f"relay+wss://h{n}.invalid/{fresh()}") for n in range(2000))))


@attack(RELAY, quick=False)
async def relay_closes_nothing(it: Attack) -> None:
    """Closes links that there are not."""
    await pour(it, said(*(Closed(os.urandom(32), n, "closed") for n in range(4000))))


@attack(RELAY, quick=False)
async def relay_frames_to_nobody(it: Attack) -> None:
    """Frames of links that there are not, to keys that are not there."""
    await pour(it, said(*(Data(os.urandom(32), n, b"") for n in range(4000))))


@attack(RELAY, quick=False)
async def relay_notes_nothing(it: Attack) -> None:
    """Notes endings that it was never told."""
    await pour(it, said(*(Noted(n) for n in range(4000))))


@attack(RELAY, quick=False)
async def relay_takes_nothing(it: Attack) -> None:
    """Says thousands of times to have taken thousands of letters that there are not."""
    await pour(it, said(*[Taken(list(range(4000)))] * 20))


@attack(RELAY, quick=False)
async def relay_noise_to_the_honest(it: Attack) -> None:
    """Frames of 200 KB to somebody honest, who has no link to it."""
    honest = bytes.fromhex(it.target.honest[-1])
    await pour(it, said(Open(honest, 1, b"x")) + said(Data(honest, 1, bytes(200_000))) * 20)


@attack(RELAY, quick=False)
async def relay_bad_items(it: Attack) -> None:
    """Noise, wrong items and forged ones: each connection ends with the first, and the next one comes."""
    wrong = [b"\xff" * 50, b"\x91\x91\x05", encode_items([Forwarded(b"a" * 32, b"b" * 32, Noted(1))]), os.urandom(900)]
    number = 0
    await it.go()

    async def one() -> None:
        nonlocal number
        number += 1
        client = await guest(it)
        await client.write(framed(wrong[number % len(wrong)]))
        await it.pause(0.02)
        client.abort()

    await it.several(one, 8)


@attack(RELAY)
async def relay_posing_as_relay(it: Attack) -> None:
    """Signs in as a relay and forwards what thousands of peers are to have said."""
    target = bytes.fromhex(it.target.honest[-1])
    forged = said(*(Forwarded(os.urandom(32), target, Open(os.urandom(32), n, b"x")) for n in range(4000)))
    await it.go()

    async def one() -> None:
        me = Identity.generate()
        client = await guest(it, me, role=AS_RELAY, address=f"relay+wss://relay.invalid/{text(me)}")
        while not it.over:
            await client.write(forged)

    await it.several(one, 1)


@attack(RELAY)
async def relay_sent_inside(it: Attack) -> None:
    """Names relays in the network of the relay, in every form that an address has; listens whether it goes there."""
    with Trap() as trap:
        client = await guest(it)
        await it.go()
        for host in INSIDE:
            try:
                await it.within(client.say(Open(os.urandom(32), 1, b"x", f"relay+wss://{host}:{trap.port}/{fresh()}")))
            except Gone:
                client = await guest(it)
            await it.pause(0.03)
        await it.rest()
        came = trap.came()
    if came:
        it.findings.append(f"the relay dialled its own network {came} times for a stranger")


INSIDE = (
    "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "0.0", "localhost", "localhost.", "LOCALHOST",
    "localhost.localdomain", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "192.0.2.2", "ip6-localhost",
)  # fmt: skip


def text(identity: Identity) -> str:
    """Return a key as it stands in the address of a relay."""
    return base64.urlsafe_b64encode(identity.sign_key).decode().rstrip("=")


def fresh() -> str:
    """Return the key of a relay that there is not."""
    return text(Identity.generate())
