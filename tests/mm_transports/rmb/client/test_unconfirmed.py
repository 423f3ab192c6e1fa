"""What is safe at a relay, and what is told of what came."""

from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.under_way import Acknowledged
from mm_transports.rmb.client.unconfirmed import MAX_PLACES, MOST_UNTOLD, Sent, Unconfirmed, ranges
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbResponse


def sent(uid: str) -> Sent:
    envelope = RmbEnvelope(uid=uid, message=RmbResponse(), timestamp=1, expiration=1)
    return Sent(envelope, 2, lambda error: None, lambda: True)


def uids(safe: list[Sent]) -> list[str]:
    return [one.envelope.uid for one in safe]


def test_a_pong_covers_what_was_sent_before_its_ping() -> None:
    unconfirmed = Unconfirmed()
    assert unconfirmed.ping(0) is None
    unconfirmed.add(sent("a"))
    assert unconfirmed.ping(5) == b""
    unconfirmed.add(sent("b"))
    assert unconfirmed.ping(6) is None  # one is under way
    assert (unconfirmed.waited(8), len(unconfirmed)) == (3, 2)
    assert uids(unconfirmed.pong()) == ["a"]
    assert unconfirmed.find("a") is None
    assert unconfirmed.find("b") is not None
    assert unconfirmed.pong() == []  # nobody asked
    assert unconfirmed.ping(9) == b""
    assert uids(unconfirmed.lost()) == ["b"]
    assert (unconfirmed.ping(10), unconfirmed.waited(99)) == (None, 0)
    assert unconfirmed.ping(10, wanted=True) == b""


def test_places_are_told_once() -> None:
    unconfirmed = Unconfirmed()
    for place in (3, 1, 2, 7):
        unconfirmed.dealt_with(place)
    assert unconfirmed.ping(0) == b"1-3 7"
    unconfirmed.dealt_with(8)
    assert unconfirmed.pong() == []
    assert unconfirmed.ping(0) == b"8"


@given(st.sets(st.integers(1, 4000)))
def test_the_door_reads_the_places_that_are_told(places: set[int]) -> None:
    door, left, found = Acknowledged(), set(places), list[int]()
    for number in range(1, 4001):
        door.tell(number)
    while left:
        text, told = ranges(left)
        assert len(text) <= MAX_PLACES
        assert told
        left.difference_update(told)
        found += door.take(text)
    assert sorted(found) == sorted(places)


def test_a_relay_that_hands_over_and_answers_no_pings_is_found_out() -> None:
    unconfirmed = Unconfirmed()
    assert unconfirmed.dealt_with(1)
    unconfirmed.ping(0)
    assert all(unconfirmed.dealt_with(2 * place) for place in range(1, MOST_UNTOLD + 1))
    assert not unconfirmed.dealt_with(1)
    assert unconfirmed.lost() == []
    assert unconfirmed.dealt_with(1)
