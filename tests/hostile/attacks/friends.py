"""A friend that attacks: the other friends must not feel it."""

from mmplatform.delivery.wire import Batch, Event, Record, encode_packet
from tests.hostile.attack import FRIEND, Attack
from tests.hostile.attacks.delivery import soon
from tests.hostile.attacks.handlers import BLOB, events, messages, requests
from tests.hostile.attacks.streams import blob
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack


@attack(friend=True, quick=False)
async def friend_floods_messages(it: Attack) -> None:
    """Durable messages as fast as they are taken."""
    await it.go()
    await it.flood(messages("chat", b"\xc0", 200), FRIEND)


@attack(friend=True, quick=False)
async def friend_sends_a_big_frame(it: Attack) -> None:
    """One frame in parts with half a million tiny messages."""
    batches = [
        Batch(2, 5, 1, [Record(n * 8192 + i + 1, soon(), "chat", "ms", b"\xc0") for i in range(8192)], [])
        for n in range(64)
    ]
    encoded = frame(batches=batches)
    link = await it.link(FRIEND)
    chunks = link.parts_ahead(encoded)
    await it.go()
    await it.pour(chunks, link)
    await it.rest()


@attack(friend=True)
async def friend_fills_the_inbox(it: Attack) -> None:
    """Messages that nobody listens to, which are kept on disk."""
    await it.go()
    await it.flood(messages("nobody", blob(2000), 50), FRIEND)


@attack(friend=True)
async def friend_fills_a_queue(it: Attack) -> None:
    """Thousands of messages to the one handler that the others need as well."""
    await it.go()
    await it.flood(messages("work", b"\xc0", 100), FRIEND)


@attack(friend=True, quick=False)
async def friend_asks_for_much(it: Attack) -> None:
    """Requests with large replies, none of which is confirmed."""
    await it.go()
    await it.flood(requests("echo", BLOB, 4), FRIEND)


@attack(friend=True, quick=False)
async def friend_floods_events(it: Attack) -> None:
    """Large events to a handler that never ends."""
    await it.go()
    await it.flood(events("hang", BLOB, 4), FRIEND)


@attack(friend=True, quick=False)
async def friend_sends_bombs(it: Attack) -> None:
    """Payloads of a quarter of a million empty lists."""
    payload = b"\xdd" + (250_000).to_bytes(4) + b"\x90" * 250_000
    await it.go()
    await it.flood(lambda link: link.seal(frame(events=[Event("chat", "ms", payload)])), FRIEND)


@attack(friend=True, quick=False)
async def friend_sends_large_messages(it: Attack) -> None:
    """Messages of ten megabytes in pieces."""
    from mmplatform.delivery.wire import Piece

    epoch, offset = 1, 0
    record = encode_packet(Record(1, soon(), "chat", "ms", b"\xc6" + (10**7).to_bytes(4) + bytes(10**7)))

    def make(link: RawLink) -> bytes:
        nonlocal epoch, offset
        piece = Piece(1, offset, len(record), record[offset : offset + 200_000])
        made = link.seal(frame(batches=[Batch(2, epoch, 1, [], [piece])]))
        offset += 200_000
        if offset >= len(record):
            epoch, offset = epoch + 1, 0
        return made

    await it.go()
    await it.flood(make, FRIEND)


@attack(friend=True, quick=False)
async def friend_reconnects(it: Attack) -> None:
    """Handshakes one after the other, each of which takes over from the one before."""
    await it.go()

    async def one() -> None:
        await it.link(FRIEND)
        await it.pause(0.01)

    await it.several(one, 8)
