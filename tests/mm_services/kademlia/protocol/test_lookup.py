"""Whom a look-up asks, and when it ends."""

from hypothesis import given
from hypothesis import strategies as st

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact
from mm_services.kademlia.protocol.lookup import ALPHA, MAX_ASKED, MAX_CANDIDATES, Lookup
from tests.support.kademlia import contact

TARGET = 1 << 255


def asked(lookup: Lookup) -> list[Contact]:
    found = []
    while (one := lookup.next()) is not None:
        found.append(one)
    return found


def near(count: int) -> list[Contact]:
    return sorted((contact(n) for n in range(1, 400)), key=lambda c: c.id ^ TARGET)[:count]


def test_with_nobody_known_it_is_over() -> None:
    assert Lookup(TARGET, 0, []).done


def test_the_closest_first_and_no_more_than_alpha() -> None:
    everybody = near(30)
    lookup = Lookup(TARGET, 0, reversed(everybody))
    assert asked(lookup) == everybody[:ALPHA]
    assert not lookup.done
    lookup.answered(everybody[3], [])
    assert asked(lookup) == [everybody[ALPHA]]


def test_a_late_one_frees_its_place_and_still_counts_when_it_answers() -> None:
    everybody = near(30)
    lookup = Lookup(TARGET, 0, everybody)
    first = asked(lookup)[0]
    lookup.late(first)
    assert asked(lookup) == [everybody[ALPHA]]
    lookup.answered(first, [])
    assert first in lookup.closest()


def test_it_ends_when_the_k_closest_alive_have_answered() -> None:
    everybody = near(40)
    lookup = Lookup(TARGET, 0, everybody, k=5)
    dead = {everybody[1].id, everybody[2].id}
    waiting = asked(lookup)
    while not lookup.done:
        one = waiting.pop(0)
        (lookup.failed if one.id in dead else lambda c: lookup.answered(c, []))(one)
        waiting += asked(lookup)
    assert lookup.closest() == [c for c in everybody if c.id not in dead][:5]


def test_few_nodes_are_given_more_patience() -> None:
    one, two = near(2)
    lookup = Lookup(TARGET, 0, [one, two])
    asked(lookup)
    lookup.late(one)
    lookup.late(two)
    assert not lookup.done
    lookup.answered(two, [])
    assert not lookup.done  # one datagram may be lost
    lookup.late(one)
    assert lookup.done


def test_whose_contacts_are_dead_is_not_believed() -> None:
    liar, honest = near(300)[-2:]
    lookup = Lookup(TARGET, 0, [liar, honest], alpha=2)
    asked(lookup)
    lies = near(20)
    lookup.answered(liar, lies)
    wasted = 0
    while (one := lookup.next()) is not None:
        wasted += 1
        lookup.failed(one)
    assert wasted <= 5
    lookup.answered(honest, lies[10:12])  # those that somebody else names as well are asked
    assert lies[10] in asked(lookup) or lies[11] in asked(lookup)


def test_a_wrong_address_does_not_hide_a_node() -> None:
    source, other, wanted = near(300)[-1], near(300)[-2], near(1)[0]
    lookup = Lookup(TARGET, 0, [source, other])
    asked(lookup)
    false = Contact(wanted.sign_key, Address(b"\x08\x08\x08\x08", 1))
    lookup.answered(source, [false])
    lookup.failed(asked(lookup)[0])
    lookup.answered(other, [wanted])
    assert asked(lookup) == [wanted]
    lookup.answered(wanted, [])
    assert lookup.closest()[0] is wanted
    assert lookup.hops(wanted) == 2


def test_one_network_counts_twice_at_most() -> None:
    crowd = [Contact(c.sign_key, Address(b"\x08\x08\x08" + bytes([n]), 1)) for n, c in enumerate(near(9))]
    lookup = Lookup(TARGET, 0, crowd)
    for one in asked(lookup):
        lookup.answered(one, [])
    assert len(lookup.closest()) == 2


@given(
    st.lists(
        st.tuples(st.sampled_from(["answered", "late", "failed"]), st.integers(0, 60), st.integers(0, 9)), max_size=200
    )
)
def test_whatever_happens_it_asks_nobody_twice_and_ends(events: list[tuple[str, int, int]]) -> None:
    everybody = near(60)
    lookup = Lookup(TARGET, everybody[5].id, everybody[40:])
    under_way: list[Contact] = []
    seen: list[Contact] = []
    for what, which, named in events:
        new = asked(lookup)
        seen += new
        under_way += new
        if under_way:
            one = under_way[which % len(under_way)]
            if what == "answered":
                lookup.answered(one, everybody[named * 6 : named * 6 + 6])
            else:
                getattr(lookup, what)(one)
    assert len({id(c) for c in seen}) == len(seen)
    assert everybody[5] not in seen
    for _ in range(200):
        under_way += asked(lookup)
        for one in under_way:
            lookup.failed(one)
    assert lookup.done


def test_bounds() -> None:
    lookup = Lookup(TARGET, 0, [contact(n) for n in range(MAX_CANDIDATES + 50)], k=MAX_CANDIDATES)
    assert len(lookup._candidates) == MAX_CANDIDATES
    while (one := lookup.next()) is not None:
        lookup.answered(one, [])
    assert lookup.asked == MAX_ASKED
    assert lookup.done
