"""Where a relay may be: what it proved first, then its own word, then the operator's, then what each peer claims."""

from mm_relay.federation import addresses
from mm_relay.federation.addresses import Addresses


def test_what_is_proven_comes_first_and_what_is_claimed_last() -> None:
    known = Addresses("proven", ["listed"])
    known.claim("claimed", b"place", b"peer")
    assert known.signed_in("own")
    assert not known.signed_in("own")
    assert known.in_turn() == ["proven", "own", "listed", "claimed"]
    known.reached("claimed")
    assert known.in_turn() == ["claimed", "own", "listed"]


def test_one_who_names_many_addresses_has_one_and_comes_last() -> None:
    known = Addresses()
    assert known.claim("honest", b"place", b"honest")
    for number in range(20):
        assert known.claim(f"false {number}", b"place", b"evil")
    assert not known.claim("honest", b"place", b"honest")
    assert known.in_turn() == ["honest", "false 19"]


def test_places_take_turns_and_what_failed_comes_later() -> None:
    known = Addresses()
    for place, peer in ((b"a", b"1"), (b"a", b"2"), (b"b", b"3")):
        known.claim(f"{place!r}{peer!r}", place, peer)
    first, second, third = known.in_turn()
    assert (first, second, third) == ("b'a'b'1'", "b'b'b'3'", "b'a'b'2'")
    known.failed(first)
    assert known.in_turn() == [second, third, first]


def test_many_keys_at_one_place_push_out_what_was_tried_in_vain() -> None:
    known = Addresses()
    known.claim("honest", b"place", b"honest")
    for number in range(addresses.KEYS - 1):
        known.claim(f"false {number}", b"place", b"evil %d" % number)
        known.failed(f"false {number}")
    known.claim("one more", b"place", b"evil")
    assert known.in_turn()[0] == "honest"
    assert len(known.in_turn()) == addresses.KEYS


def test_places_are_bounded() -> None:
    known = Addresses()
    for number in range(3 * addresses.PLACES):
        known.claim(f"{number}", b"%d" % number, b"peer")
    assert len(known.in_turn()) == addresses.PLACES


def test_many_places_push_out_what_was_tried_in_vain() -> None:
    known = Addresses()
    known.claim("honest", b"home", b"honest")
    for number in range(3 * addresses.PLACES):
        known.claim(f"false {number}", b"%d" % number, b"evil")
        known.failed(f"false {number}")
    assert known.in_turn()[0] == "honest"
