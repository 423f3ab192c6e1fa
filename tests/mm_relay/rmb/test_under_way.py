"""What a client has taken: by a pong behind it, or by the places that it names."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.under_way import MAX_PLACES, UNANSWERED, Acknowledged, Ponged
from mm_transports.rmb.client.unconfirmed import ranges
from mmplatform.errors import ProtocolError
from tests.support.vectors import cases


def test_a_pong_takes_what_was_written_before_its_ping() -> None:
    mail = Ponged()
    assert mail.ping(0.0) == b""
    mail.tell(7)
    asked = mail.ping(0.0)
    mail.tell(8)
    assert mail.ping(0.0) == b""
    assert mail.take(b"") == []
    assert mail.take(asked) == [7]
    assert mail.take(asked) == []
    assert mail.take(mail.ping(0.0)) == [8]
    assert mail.ping(0.0) == b""


def test_a_ping_without_an_answer_is_late() -> None:
    mail = Ponged()
    mail.tell(1)
    assert not mail.late(100.0)
    mail.ping(0.0)
    assert not mail.late(UNANSWERED)
    assert mail.late(UNANSWERED + 1)


@given(count=st.integers(0, 50), places=st.sets(st.integers(1, 50)))
def test_places_take_what_was_told_there(count: int, places: set[int]) -> None:
    mail = Acknowledged()
    for number in range(count):
        mail.tell(1000 + number)
    wanted = {place for place in places if place <= count}
    text, told = ranges(wanted)
    assert set(told) == wanted
    assert sorted(mail.take(text)) == sorted(999 + place for place in wanted)
    assert mail.take(text) == []


def test_a_wide_range_costs_no_more_than_what_is_under_way() -> None:
    mail = Acknowledged()
    for number in range(3):
        mail.tell(number)
    assert mail.take(b"2-3") == [1, 2]
    assert mail.take(b"1-3") == [0]
    with pytest.raises(ProtocolError, match="bad-places"):
        mail.take(b"1-999999999999999")


@given(places=st.binary(min_size=1, max_size=MAX_PLACES + 10))
def test_places_of_random_bytes_are_refused_or_name_nothing(places: bytes) -> None:
    mail = Acknowledged()
    with suppress(ProtocolError):
        assert mail.take(places) == []


def told(count: int) -> Acknowledged:
    mail = Acknowledged()
    for number in range(1, count + 1):
        mail.tell(number)
    return mail


@pytest.mark.parametrize("case", cases("rmb", "places"))
def test_places_of_the_vectors(case: dict[str, Any]) -> None:
    assert sorted(told(case["told"]).take(case["text"].encode())) == case["places"]


@pytest.mark.parametrize("case", cases("rmb", "invalidPlaces"))
def test_places_that_are_none(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        told(case["told"]).take(case["text"].encode())
    assert caught.value.reason == case["reason"]
