"""What handlers get at hand: its message, and to whom its end goes."""

from mmplatform.delivery.wire import Request
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers.in_hand import InHand, RequestInHand
from tests.support.inbox import record, stream
from tests.support.outbox import BOB


class Exchanged:
    """What has handed something over, and what it is told."""

    peer = BOB  # type: ignore[assignment]

    def __init__(self) -> None:
        self.told: list[tuple[object, object]] = []

    def now(self) -> float:
        return 1000.0

    def finished(self, message: InHand, result: Result) -> None:
        self.told.append((message, result))

    def answer(self, asked: RequestInHand, result: bytes | Result) -> None:
        self.told.append((asked, result))

    def serve_again(self, asked: RequestInHand) -> bool:
        self.told.append((asked, "again"))
        return False


def test_a_message_at_hand() -> None:
    taker = Exchanged()
    at_hand = InHand(taker, stream(), record(3, payload=b"hi"), "friends", 2_000_000)  # type: ignore[arg-type]
    made = at_hand.message()
    assert (made.topic, made.protocol, made.payload, made.sender, made.scope) == ("chat", "ms", b"hi", BOB, "friends")
    assert (made.kind, made.id, made.time, made.expires, made.open) == ("durable", f"7.2.3@{BOB}", 1000.0, 2000.0, True)
    assert at_hand.durable
    at_hand(DONE)
    assert taker.told == [(at_hand, DONE)]


def test_a_request_at_hand() -> None:
    taker = Exchanged()
    asked = RequestInHand(taker, Request(5, "add", "ms", b"1 2"), "public", 9)  # type: ignore[arg-type]
    made = asked.message()
    assert (made.topic, made.payload, made.scope, made.kind, made.id, made.expires) == (
        "add", b"1 2", "public", "request", "", 0.0,
    )  # fmt: skip
    assert not asked.durable
    assert asked.size == 3
    assert not asked.try_again()
    asked(b"3")
    asked.give_up()
    assert taker.told == [(asked, "again"), (asked, b"3"), (asked, NOBODY)]
