"""Hops: nobody strips, inserts, reorders or forges one that was signed by others."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol import hops
from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.hops import Hop
from mm_services.messenger.protocol.limits import MAX_HOPS
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId, raw_key, sign_id_of
from tests.support.bundles import CAROL, DAVE, WAY, handed_over, header_of, sign_ids
from tests.support.sessions import ALICE, BOB, EVE, reason_of, refused
from tests.support.vectors import cases

HEADER = header_of()
CHAIN = handed_over(HEADER, *WAY)  # Alice, Bob, Carol, Dave, Eve
CROWD = [Identity.from_seed(bytes([number]) * 32) for number in range(100, 100 + MAX_HOPS + 1)]


def check(chain: list[Hop], came_from: Identity = DAVE, own: Identity = EVE, header: Header = HEADER) -> str:
    return reason_of(lambda: hops.check(header, chain, came_from.sign_id, own.sign_id))


@pytest.mark.parametrize("size", range(2, 6))
def test_a_bundle_that_was_handed_on_is_proven(size: int) -> None:
    way = WAY[:size]
    chain = handed_over(HEADER, *way)
    assert check(chain, *way[-2:]) == ""
    assert hops.carriers(chain) == sign_ids(*way[1:])


def test_64_hops_and_no_more() -> None:
    header = header_of(CROWD[0], max_hops=MAX_HOPS)
    chain = handed_over(header, *CROWD)
    assert len(chain) == MAX_HOPS
    assert check(chain, *CROWD[-2:], header=header) == ""
    refused("too-many-hops", lambda: hops.handed(header, chain, CROWD[-1], ALICE.sign_id))


def test_the_sender_says_how_many() -> None:
    header = header_of(max_hops=2)
    chain = handed_over(header, ALICE, BOB, CAROL)
    refused("too-many-hops", lambda: hops.handed(header, chain, CAROL, DAVE.sign_id))
    longer = [*chain, signed(CAROL, header.id, chain[-1].signature, DAVE)]
    assert check(longer, CAROL, DAVE, header) == "too-many-hops"


def test_nobody_hands_on_what_would_not_be_taken() -> None:
    chain = handed_over(HEADER, ALICE, BOB, CAROL)
    for to in (ALICE, BOB, CAROL):
        refused("bad-hops", partial(hops.handed, HEADER, chain, CAROL, to.sign_id))
    refused("bad-hops", lambda: hops.handed(HEADER, chain, EVE, DAVE.sign_id))
    refused("bad-hops", lambda: hops.handed(HEADER, [], BOB, CAROL.sign_id))
    refused("bad-hops", lambda: hops.handed(HEADER, [], ALICE, ALICE.sign_id))


def test_whom_it_came_from_and_whom_it_was_for() -> None:
    assert check(CHAIN, CAROL, EVE) == "bad-hops"
    assert check(CHAIN, DAVE, CAROL) == "bad-hops"
    assert check([], ALICE, BOB) == "bad-hops"
    assert check([], ALICE, ALICE) == "bad-hops"


def test_it_comes_over_nobody_twice() -> None:
    """Not even when all who were on the way are in league: that makes loops impossible."""
    ways = [(ALICE, BOB, CAROL, BOB, EVE), (ALICE, BOB, ALICE, EVE), (ALICE, EVE, BOB, EVE), (ALICE, BOB, BOB, EVE)]
    for way in ways:
        assert check(by_hand(way), way[-2], way[-1]) == "bad-hops"


# What a carrier cannot do to those before it.


def test_none_is_stripped() -> None:
    for stripped in ([CHAIN[1], CHAIN[2]], [CHAIN[0], CHAIN[2]], [CHAIN[2]]):
        assert check([*stripped, CHAIN[3]]) == "bad-signature"
    for came_from, reason in ((DAVE, "bad-hops"), (CAROL, "bad-signature")):
        assert check([CHAIN[0], CHAIN[1], CHAIN[3]], came_from, EVE) == reason


def test_the_last_one_is_not_stripped_either() -> None:
    assert check(CHAIN[:-1]) == "bad-hops"
    assert check(CHAIN[:-1], CAROL, EVE) == "bad-hops"


def test_none_is_inserted() -> None:
    """Dave names Frank, whose key he has not, so that nobody gives the bundle to Frank any more."""
    before, frank = CHAIN[2].signature, CROWD[0]
    named = [*CHAIN[:3], signed(DAVE, HEADER.id, before, frank)]
    for by in (DAVE, EVE):
        last = signed(by, HEADER.id, named[-1].signature, EVE)
        assert check([*named, last], frank, EVE) == "bad-signature"
        assert check([*named, last], DAVE, EVE) == "bad-hops"


@given(st.permutations(range(4)))
def test_none_is_reordered(order: list[int]) -> None:
    chain = [CHAIN[place] for place in order]
    assert check(chain) in (("",) if order == [0, 1, 2, 3] else ("bad-hops", "bad-signature"))


def test_none_is_renamed() -> None:
    for place in range(4):
        renamed = Hop(raw_key(CROWD[0].sign_id), CHAIN[place].signature)
        assert check([*CHAIN[:place], renamed, *CHAIN[place + 1 :]]) in ("bad-hops", "bad-signature")


def test_none_is_forged() -> None:
    """Eve signs in place of each carrier, and all after it as they would."""
    for place in range(4):
        chain = CHAIN[:place]
        for number in range(place, 4):
            by = CROWD[0] if number == place else WAY[number]
            chain.append(signed(by, HEADER.id, chain[-1].signature if chain else b"", WAY[number + 1]))
        assert check(chain) == "bad-signature"


def test_hops_are_of_one_bundle() -> None:
    other = header_of(created=HEADER.created + 1)
    assert check(CHAIN, header=other) == "bad-signature"
    mixed = [*CHAIN[:2], *handed_over(other, *WAY)[2:]]
    assert check(mixed) == "bad-signature"


def test_a_chain_is_not_put_together_of_two() -> None:
    """Carol had the bundle from Alice, too, and Dave has both chains."""
    short = handed_over(HEADER, ALICE, CAROL, DAVE, EVE)
    assert check([*CHAIN[:2], *short[1:]]) == "bad-signature"
    assert check([*short[:1], *CHAIN[2:]]) == "bad-signature"
    assert check(short) == ""


@given(st.integers(0, 3), st.integers(0, 96 * 8 - 1))
def test_a_flipped_bit_anywhere(place: int, bit: int) -> None:
    raw = bytearray(CHAIN[place].to + CHAIN[place].signature)
    raw[bit // 8] ^= 1 << bit % 8
    altered = Hop(bytes(raw[:32]), bytes(raw[32:]))
    assert check([*CHAIN[:place], altered, *CHAIN[place + 1 :]]) in ("bad-hops", "bad-signature")


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)), max_size=9))
def test_random_hops(pairs: list[tuple[bytes, bytes]]) -> None:
    assert check([Hop(*pair) for pair in pairs]) in ("bad-hops", "too-many-hops")
    to_us = [*(Hop(*pair) for pair in pairs), Hop(raw_key(EVE.sign_id), bytes(64))]
    came_from = sign_id_of(pairs[-1][0]) if pairs else ALICE.sign_id
    with pytest.raises(ProtocolError):
        hops.check(HEADER, to_us, came_from, EVE.sign_id)


def test_keys_that_are_none() -> None:
    nobody = SignId(sign_id_of(b"\1" + bytes(31)))
    chain = [Hop(raw_key(nobody), CHAIN[0].signature), Hop(raw_key(EVE.sign_id), bytes(64))]
    refused("bad-signature", lambda: hops.check(HEADER, chain, nobody, EVE.sign_id))


# Another implementation's bytes.


def read(case: dict[str, Any]) -> tuple[Header, list[Hop], SignId, SignId]:
    chain = [Hop(*(bytes.fromhex(text) for text in pair)) for pair in case["hops"]]
    came_from, own = (sign_id_of(bytes.fromhex(case[name])) for name in ("cameFrom", "own"))
    return Header.decode(bytes.fromhex(case["header"])), chain, came_from, own


@pytest.mark.parametrize("case", cases("messenger", "hops"))
def test_proven_as_specified(case: dict[str, Any]) -> None:
    hops.check(*read(case))


@pytest.mark.parametrize("case", cases("messenger", "invalidHops"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: hops.check(*read(case)))


def signed(by: Identity, bundle: bytes, before: bytes, to: Identity) -> Hop:
    return Hop(raw_key(to.sign_id), by.sign(hops.LABEL, bundle, before, raw_key(to.sign_id)))


def by_hand(way: tuple[Identity, ...]) -> list[Hop]:
    """What hostile carriers sign, whom nothing keeps from it."""
    chain: list[Hop] = []
    for by, to in pairwise(way):
        chain.append(signed(by, HEADER.id, chain[-1].signature if chain else b"", to))
    return chain
