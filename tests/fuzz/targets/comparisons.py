"""Comparisons of what two carriers have, with a carrier at the other side that says what it likes."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from mm_services.messenger.protocol import reconcile, reconcile_packets
from mm_services.messenger.protocol.id_ranges import SALT
from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.packets import MAX_DIFF
from mm_services.messenger.protocol.reconcile import MOST_LACKING, MOST_REQUESTS, Difference, Reconciler
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, target

MIB: Final = 1024 * 1024
SALTED: Final = bytes(range(SALT))


def _ids(first: int, count: int) -> list[bytes]:
    return [blake2b(number.to_bytes(8), digest_size=ID).digest() for number in range(first, first + count)]


OURS: Final = sorted(_ids(0, 600))
THEIRS: Final = sorted([*_ids(30, 570), *_ids(5000, 50)])
JOINED: Final = b"".join(OURS)


def _exchange() -> Iterator[tuple[bytes, bytes]]:
    """Yield what two carriers that differ say to each other: requests and replies."""
    asking = Reconciler(JOINED, SALTED)
    request: bytes | Difference = asking.begin()
    while isinstance(request, bytes):
        reply = reconcile.answer(b"".join(THEIRS), request).data
        yield request, reply
        request = asking.heard(reply)


@target(lambda: [request for request, _ in _exchange()])
def comparison_request() -> Run:
    """What is answered to anybody is bounded, in bytes and in work, and is a reply."""

    def parse(data: bytes) -> None:
        answered = reconcile.answer(JOINED, data)
        assert answered.cost <= 2 * len(JOINED) + MIB
        assert len(answered.data) <= MAX_DIFF
        reconcile_packets.reply(answered.data)

    return typed(parse)


@target(lambda: [reply for _, reply in _exchange()])
def comparison_reply() -> Run:
    """Whoever answers a comparison can make it find what is not so, and nothing else: it ends, and keeps little."""
    first = next(reply for _, reply in _exchange())

    def hear(data: bytes, *before: bytes) -> None:
        asking = Reconciler(JOINED, SALTED)
        asking.begin()
        for reply in before:
            asking.heard(reply)
        for _ in range(MOST_REQUESTS):
            heard = asking.heard(data)
            if isinstance(heard, Difference):
                break
        assert isinstance(heard, Difference)
        assert set(heard.missing) <= set(OURS)
        assert not set(heard.lacking) & set(OURS)
        assert len(heard.lacking) <= MOST_LACKING + reconcile_packets.PAGE

    def run(data: bytes) -> None:
        typed(hear)(data)
        typed(lambda data: hear(data, first))(data)

    return run
