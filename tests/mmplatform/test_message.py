"""What applications see of a message: deliveries, priorities, ids and topics."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import Cancelled, Expired, HandlerFailed, InvalidTopic, MMError, NotRunning, Refused
from mmplatform.message import (
    CANCELLED,
    DELIVERED,
    EXPIRED,
    MAX_TOPIC,
    UNHANDLED,
    Delivery,
    Outcome,
    Priority,
    Retry,
    check_segments,
    check_topic,
    parse_id,
)

PEER = "P" * 43 + "="


# Deliveries.


async def test_awaiting_gives_the_outcome() -> None:
    delivery = Delivery(PEER, 2, 5, 9)
    assert (delivery.id, delivery.state, delivery.done) == (f"5.2.9@{PEER}", "waiting", False)
    assert repr(delivery) == f"<Delivery 5.2.9@{PEER} waiting>"
    asyncio.get_running_loop().call_soon(delivery.settle, DELIVERED)
    assert await delivery == DELIVERED
    assert await delivery == DELIVERED, "as often as one likes"
    assert (delivery.state, delivery.done) == ("delivered", True)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (EXPIRED, Expired),
        (CANCELLED, Cancelled),
        (Outcome("refused", "busy"), Refused),
        (UNHANDLED, Refused),
        (Outcome("failed", "ValueError: no"), HandlerFailed),
    ],
)
async def test_awaiting_raises_what_kept_it(outcome: Outcome, error: type[MMError]) -> None:
    delivery = Delivery(PEER, 2, 5, 9)
    delivery.settle(outcome)
    with pytest.raises(error, match=outcome.reason):
        await delivery


async def test_received_is_waited_for_apart_from_the_end() -> None:
    delivery = Delivery(PEER, 2, 5, 9)
    received, ended = asyncio.ensure_future(delivery.received()), asyncio.ensure_future(delivery)
    await asyncio.sleep(0)
    delivery.keep()
    await received
    assert (delivery.state, delivery.done, ended.done()) == ("received", False, False)
    delivery.settle(DELIVERED)
    assert await ended == DELIVERED
    await delivery.received()  # it was


async def test_received_raises_when_it_ended_otherwise() -> None:
    delivery = Delivery(PEER, 2, 5, 9)
    asyncio.get_running_loop().call_soon(delivery.settle, EXPIRED)
    with pytest.raises(Expired):
        await delivery.received()


async def test_only_the_first_outcome_counts() -> None:
    delivery = Delivery(PEER)
    delivery.settle(DELIVERED)
    delivery.settle(EXPIRED)
    assert await delivery == DELIVERED


async def test_many_may_wait_and_some_may_give_up() -> None:
    delivery = Delivery(PEER)
    waiting = [asyncio.ensure_future(delivery) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    delivery.settle(DELIVERED)
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert done[0] == done[2] == DELIVERED
    assert isinstance(done[1], asyncio.CancelledError)


async def test_wait_for_does_not_spoil_it() -> None:
    delivery = Delivery(PEER)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(delivery, 0.001)
    delivery.settle(DELIVERED)
    assert await delivery == DELIVERED


# Ids.


@given(st.integers(0, 2**53), st.integers(0, 3), st.integers(1, 2**53), st.text(min_size=1))
def test_an_id_says_what_it_was_made_of(epoch: int, lane: int, seq: int, peer: str) -> None:
    assert parse_id(Delivery(peer, lane, epoch, seq).id) == (peer, lane, epoch, seq)


@pytest.mark.parametrize(
    "text",
    ["", "@", "1.2.3", "1.2.3@", "1.2@p", "1.2.3.4@p", "1.4.3@p", "1.-1.3@p", "1.2.0@p", "1.2.-3@p", "a.b.c@p",
     "1.2.03@p", "+1.2.3@p", " 1.2.3@p", "1_0.2.3@p", "1.2.\u0663@p", "1.2." + "9" * 5000 + "@p"],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's for some
        parse_id(text)


@given(st.text())
def test_any_text_is_an_id_or_a_value_error(text: str) -> None:
    try:
        peer, lane, epoch, seq = parse_id(text)
    except ValueError:
        return
    assert Delivery(peer, lane, epoch, seq).id == text


# Priorities.


@pytest.mark.parametrize("value", ["control", "HIGH", "Normal", 3, Priority.LOW])
def test_priorities_have_names_and_numbers(value: str | int | Priority) -> None:
    assert isinstance(Priority.parse(value), Priority)


@pytest.mark.parametrize("value", ["urgent", "", 4, -1, 1.5, None])
def test_an_unknown_priority_names_those_there_are(value: object) -> None:
    with pytest.raises(ValueError, match="one of control, high, normal, low"):
        Priority.parse(value)  # type: ignore[arg-type]


# Topics.

segments = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="."), min_size=1, max_size=10)


@given(st.lists(segments, min_size=1, max_size=5).map(".".join))
def test_a_topic_is_printable_segments(topic: str) -> None:
    check_segments(topic)
    if {"*", ">"} & set(topic.split(".")):
        with pytest.raises(InvalidTopic):
            check_topic(topic)
    else:
        assert check_topic(topic) == topic


@given(st.text(max_size=20))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    try:
        check_topic(text)
    except InvalidTopic:
        return
    assert all(part.isprintable() and part for part in text.split("."))
    assert not set(text) & set(" \n\t\x00")


@pytest.mark.parametrize("topic", ["a" * MAX_TOPIC, "é" * (MAX_TOPIC // 2), "*a", "a>", "a.b-c_d/e:f", "日本.語"])
def test_topics_that_are_fine(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize("topic", ["a" * (MAX_TOPIC + 1), "é" * 128, "", ".", "a..b", "a b", "a\u00a0b", "a\u200bb"])
def test_topics_that_are_not(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        check_topic(topic)


def test_retry_says_when() -> None:
    assert str(Retry(2)) == "again in 2 s"


async def test_whoever_awaits_a_delivery_is_told_when_the_platform_stops_first() -> None:
    delivery = Delivery("peer", 2, 5, 1)
    waiting = asyncio.ensure_future(_outcome(delivery))
    await asyncio.sleep(0)
    delivery.stop()
    with pytest.raises(NotRunning, match=r"5\.2\.1@peer"):
        await waiting
    with pytest.raises(NotRunning):
        await delivery


async def test_a_delivery_that_ended_is_not_stopped() -> None:
    delivery = Delivery("peer")
    delivery.settle(DELIVERED)
    delivery.stop()
    assert await delivery is DELIVERED


async def _outcome(delivery: Delivery) -> Outcome:
    return await delivery
