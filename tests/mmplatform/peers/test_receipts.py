"""Receipts at the sender: each end is told once a range, and nothing malformed, or of no sense, does anything."""

import asyncio

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.receipts import encode_receipts
from mmplatform.delivery.wire import End
from mmplatform.errors import Refused
from mmplatform.message import DELIVERED, Outcome
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers.receipts import AT_ONCE, Receipts
from tests.support.bus import Counted, Ended
from tests.support.outbox import BOB

Told = tuple[str, int, int, int, int, Outcome]


class Taker:
    """What takes receipts, and what it was told."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.receipts = Receipts(lambda *told: self.told.append(told))

    def take(self, payload: bytes) -> Result | None:
        return self.receipts.on_message("public", "receipt", BOB, payload, Ended())


@pytest.fixture
def taker() -> Taker:
    return Taker()


def test_each_range_is_told_with_its_outcome(taker: Taker) -> None:
    [payload] = encode_receipts(
        [
            (2, 7, 1, 1, End.DELIVERED, ""),
            (2, 7, 2, 2, End.DELIVERED, ""),
            (2, 7, 3, 3, End.FAILED, "ValueError: x"),
            (0, 9, 4, 4, End.REFUSED, "dropped unread"),
        ]
    )
    assert taker.take(payload) is DONE
    assert taker.told == [
        (BOB, 0, 9, 4, 4, Outcome("refused", "dropped unread")),
        (BOB, 2, 7, 1, 2, DELIVERED),
        (BOB, 2, 7, 3, 3, Outcome("failed", "ValueError: x")),
    ]


def test_of_an_expired_message_its_sender_hears_so(taker: Taker) -> None:
    taker.take(msgpack.packb([[2, 7, 1, 1, 2, ""]]))
    assert [told[5].state for told in taker.told] == ["expired"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgpack.packb({}),
        msgpack.packb([[2, 7, 1, 1, 0]]),
        msgpack.packb([[2, 7, 1, 1, 9, ""]]),
        msgpack.packb([[2, 7, 1, 1, 0, ""], [2, 7, 2, 2, 1, ""]]),
        msgpack.packb([[4, 7, 1, 1, 0, ""]]),
        msgpack.packb([[2, 7, 1, 1, 3, "x" * 201]]),
        msgpack.packb([[2, 7, 1, 1, 0, ""]] * 4097),
    ],
)
def test_a_malformed_receipt_is_refused_and_says_nothing(taker: Taker, payload: bytes) -> None:
    result = taker.take(payload)
    assert result is not None
    assert isinstance(result.error, Refused)
    assert str(result.error) == "bad-payload"
    assert taker.told == []


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_or_understood(data: bytes) -> None:
    assert Taker().take(data) is not None


async def test_nothing_but_durable_messages(taker: Taker) -> None:
    taker.receipts.on_event("friends", "receipt", BOB, b"", Counted())
    assert taker.receipts.on_request("friends", "receipt", BOB, b"", Ended()) is NOBODY
    assert taker.receipts.listens("public", "receipt")
    assert await taker.receipts.end(1.0) == []
    assert taker.told == []


async def test_a_long_receipt_is_taken_in_over_many_turns_and_ends_once(taker: Taker) -> None:
    [payload] = encode_receipts([(2, 7, 2 * seq, 2 * seq, End.DELIVERED, "") for seq in range(1, 1001)])
    end = Ended()
    assert taker.receipts.on_message("public", "receipt", BOB, payload, end) is None
    assert len(taker.told) == AT_ONCE
    turns = 1
    while not end:
        before = len(taker.told)
        await asyncio.sleep(0)
        assert len(taker.told) - before <= AT_ONCE
        turns += 1
    assert list(end) == [DONE]
    assert [told[3] for told in taker.told] == [2 * seq for seq in range(1, 1001)]
    assert turns >= 1000 // AT_ONCE


async def test_receipts_behind_a_long_one_wait_for_their_turn_and_keep_their_order(taker: Taker) -> None:
    [long] = encode_receipts([(2, 7, 2 * seq, 2 * seq, End.DELIVERED, "") for seq in range(1, 200)])
    [short] = encode_receipts([(2, 7, 1001, 1001, End.DELIVERED, "")])
    ends = [Ended() for _ in range(4)]
    for payload, end in zip((long, b"\xc1", long, short), ends, strict=True):
        assert taker.receipts.on_message("public", "receipt", BOB, payload, end) is None
    assert len(taker.told) == AT_ONCE
    while not ends[-1]:
        before = len(taker.told)
        await asyncio.sleep(0)
        assert len(taker.told) - before <= AT_ONCE
    assert [[result.error is None for result in end] for end in ends] == [[True], [False], [True], [True]]
    assert [told[3] for told in taker.told] == [*[2 * seq for seq in range(1, 200)] * 2, 1001]
    assert taker.take(short) is DONE
