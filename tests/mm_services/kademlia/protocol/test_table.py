"""The routing table."""

from hypothesis import given
from hypothesis import strategies as st

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, K, prefix_length
from mm_services.kademlia.protocol.table import PER_NETWORK, SPARES, STRIKES, Table
from tests.support.kademlia import NOW, contact

OWN = contact(0).id


def in_bucket(number: int, count: int) -> list[Contact]:
    found = (contact(n) for n in range(1, 100_000))
    return [c for _, c in zip(range(count), (c for c in found if prefix_length(OWN, c.id) == number), strict=False)]


@given(st.sets(st.integers(1, 5000), max_size=120), st.integers(0, 2**256 - 1), st.integers(1, 30))
def test_closest_is_exact(numbers: set[int], target: int, count: int) -> None:
    table = Table(OWN)
    for number in numbers:
        table.add(contact(number), NOW)
    known = sorted((entry.contact for entry in table), key=lambda c: c.id ^ target)
    assert table.closest(target, count) == known[:count]
    assert table.is_closest(target, 0) == all(OWN ^ target < c.id ^ target for c in known)


def test_we_are_not_in_our_own_table() -> None:
    table = Table(OWN)
    assert not table.add(contact(0), NOW)
    assert not table.has_room(contact(0))
    assert OWN not in table


def test_who_answers_stays_and_who_does_not_makes_room_for_a_spare() -> None:
    table = Table(OWN)
    crowd = in_bucket(0, K + SPARES + 2)
    assert [table.add(c, NOW) for c in crowd[: K + 1]] == [True] * K + [False]
    assert not table.has_room(crowd[K + 1])
    for c in crowd[K + 1 :]:
        table.add(c, NOW)
    first = crowd[0]
    table.strike(first.id, Address(b"\x09\x09\x09\x09", 1))  # not where it is
    for _ in range(STRIKES - 1):
        table.strike(first.id, first.address)
    assert first.id in table
    assert table.has_room(contact(99_999)) or prefix_length(OWN, contact(99_999).id) != 0
    table.add(first, NOW)  # it answered
    for _ in range(STRIKES):
        table.strike(first.id, first.address)
    assert first.id not in table
    assert crowd[-1].id in table
    assert len(table) == K
    table.strike(first.id, first.address)


def test_a_shaky_contact_makes_room_for_a_sound_one() -> None:
    table = Table(OWN)
    crowd = in_bucket(0, K + 1)
    for c in crowd[:K]:
        table.add(c, NOW)
    table.strike(crowd[3].id, crowd[3].address)
    assert table.add(crowd[K], NOW)
    assert crowd[3].id not in table


def test_one_network_does_not_fill_a_bucket() -> None:
    table = Table(OWN)
    crowd = [Contact(c.sign_key, Address(b"\x08\x08\x08" + bytes([n]), 1)) for n, c in enumerate(in_bucket(0, 6))]
    for c in crowd:
        table.add(c, NOW)
    assert len(table) == PER_NETWORK
    private = [Contact(c.sign_key, Address(b"\x0a\x08\x08" + bytes([n]), 1)) for n, c in enumerate(in_bucket(1, 6))]
    for c in private:
        table.add(c, NOW)
    assert len(table) == PER_NETWORK + 6


def test_a_contact_that_moved_is_where_it_is_now() -> None:
    table = Table(OWN)
    table.add(contact(1), NOW)
    moved = Contact(contact(1).sign_key, Address(b"\x08\x08\x08\x08", 1))
    assert not table.add(moved, NOW + 1)
    entry = table.entry(moved.id)
    assert entry is not None
    assert entry.contact.address == moved.address
    assert table.oldest(5) == [entry]


def test_stale_buckets() -> None:
    table = Table(OWN)
    assert table.stale(NOW, 10) == []
    table.add(in_bucket(3, 1)[0], NOW)
    assert table.stale(NOW, 10) == [0, 1, 2, 3]
    table.touch(in_bucket(3, 1)[0].id, NOW)
    assert table.stale(NOW + 5, 10) == [0, 1, 2]
