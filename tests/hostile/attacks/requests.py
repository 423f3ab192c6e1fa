"""What a stranger may ask of the platform itself: friendship, direct links, receipts, and being dialled back."""

import json
import os
import socket
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from mm_transports.webrtc.protocol.signalling import CANDIDATE, END, OFFER, Signal, encode_signal
from mmplatform.delivery.receipts import encode_receipts
from mmplatform.delivery.wire import Batch, End, Event, Record
from mmplatform.identity.keys import Identity
from tests.hostile.attack import Attack
from tests.hostile.attacks.delivery import soon
from tests.hostile.attacks.relay import fresh
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack

VECTORS = Path(__file__).parents[3] / "docs/protocol/vectors/webrtc.json"
INSIDE = (
    "relay+ws://127.0.0.1:{port}/admin/reboot/now/{key}", "relay+ws://127.1:{port}/{key}",
    "relay+wss://127.0.0.1:{port}/{key}", "relay+wss://0x7f.1:{port}/{key}", "relay+wss://localhost:{port}/{key}",
    "tcp://127.1:{port}", "tcp://0x7f.1:{port}", "tcp://0177.0.0.1:{port}", "tcp://2130706433:{port}",
    "tcp://localhost:{port}", "tcp://localhost.:{port}", "tcp://[::ffff:127.0.0.1]:{port}", "tcp://0.0.0.0:{port}",
    "tcp://192.0.2.2:{port}", "kad://127.0.0.1:{port}",
)  # fmt: skip


@attack()
async def friend_requests(it: Attack) -> None:
    """Fresh keys that ask to be friends, each once."""
    await it.go()

    async def one() -> None:
        link = await it.link()
        await link.send(frame(batches=[Batch(0, 1, 1, [Record(1, soon(), "friend", "contacts", b"\x80")], [])]))
        await it.pause(0.01)
        link.abort()

    await it.several(one, 8)


@attack(quick=False)
async def friend_request_repeated(it: Attack) -> None:
    """One key asks to be a friend without end, and sends to friends' topics what is left with it meanwhile."""
    seqs = count(1)

    def make(link: RawLink) -> bytes:
        records = []
        for _ in range(50):
            records.append(Record(next(seqs), soon(), "friend", "contacts", b"\x80"))
            records.append(Record(next(seqs), soon(), "nobody", "ms", b"\xc0"))
        return link.seal(frame(batches=[Batch(0, 1, 1, records, [])]))

    link = await it.link()
    await it.go()
    while not it.over:
        await it.within(link.put(make))


@attack(quick=False)
async def false_receipts(it: Attack) -> None:
    """Receipts for thousands of messages that it was never sent."""
    ends = [(n % 4, n, n * 7, n * 7, End.DELIVERED, "\x1b[2J" * 4) for n in range(4000)]
    [payload, *_] = encode_receipts(ends)
    seqs = count(1)
    link = await it.link()
    await it.go()
    while not it.over:
        record = Record(next(seqs), soon(), "receipt", "receipt", payload)
        await it.within(link.send(frame(batches=[Batch(0, 1, 1, [record], [])])))


@attack(quick=False)
async def signals(it: Attack) -> None:
    """Signals of attempts that there are not, as fast as they are taken."""
    made = [
        Event("webrtc", "rtc", encode_signal(Signal(kind, os.urandom(8), body)))
        for kind, body in ((CANDIDATE, "candidate:1 1 udp 1 10.0.0.1 9999 typ host"), (END, "gone"), (CANDIDATE, ""))
    ] * 200
    await it.go()
    await it.flood(lambda link: link.seal(frame(events=made)))


@attack(quick=False)
async def offers(it: Attack) -> None:
    """Offers of direct links, each with an attempt of its own, by several keys."""
    [body, *_] = [case["body"] for case in json.loads(VECTORS.read_text())["signals"] if case["kind"] == OFFER]
    await it.go()

    async def one() -> None:
        link = await it.link()
        for _ in range(50):
            signal = encode_signal(Signal(OFFER, os.urandom(8), body))
            await link.send(frame(events=[Event("webrtc", "rtc", signal)] * 4))
            await it.pause(0.01)
        link.abort()

    await it.several(one, 4)


@attack()
async def dialled_inside(it: Attack) -> None:
    """Has a bot answer and is gone; its record names places in the victim's own network. Listens who comes."""
    with ExitStack() as stack:
        listening = {}
        for form in INSIDE:
            listening[form] = stack.enter_context(socket.socket())
            listening[form].bind(("0.0.0.0", 0))
            listening[form].listen(8)
            listening[form].setblocking(False)
        await it.go()
        for form, listener in listening.items():
            address = form.format(port=listener.getsockname()[1], key=fresh())
            link = await it.link(Identity.generate(), addresses=[address])
            await link.send(frame(batches=[Batch(2, 1, 1, [Record(1, soon(), "bot", "ms", b"\xc0")], [])]))
            await it.pause(0.02)
            link.abort()
        await it.rest()
        came = [form.partition("{")[0] for form, listener in listening.items() if somebody(listener)]
    if came:
        it.findings.append(f"the victim dialled {len(came)} of {len(INSIDE)} places inside: {' '.join(came)[:120]}")


def somebody(listener: socket.socket) -> bool:
    """Whether somebody has connected."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
