"""Headers of bundles: what is signed, what no carrier takes, and how long a bundle lives by clocks that are wrong."""

from dataclasses import replace
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mm_services.messenger.protocol.header import Header, Kind, expiry, latest
from mm_services.messenger.protocol.limits import (
    MAX_CONTENT,
    MAX_HEADER,
    MAX_HOPS,
    MAX_LIFESPAN,
    MAX_RECIPIENTS,
    MAX_TIME,
    SKEW,
)
from mmplatform.errors import InvalidKey, ProtocolError
from mmplatform.identity.keys import Identity, SignId, sign_id_of
from tests.support.bundles import CREATED, DAY, NOW, header_of, sign_ids
from tests.support.sessions import ALICE, BOB, EVE, reason_of, refused
from tests.support.vectors import cases

KEYS = st.binary(min_size=32, max_size=32).map(sign_id_of)
HEADERS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([Kind.MESSAGE, Kind.REFERENCE]),
        "recipients": st.lists(st.sampled_from(sign_ids(ALICE, BOB, EVE)), unique=True).map(tuple),
        "created": st.integers(1, MAX_TIME),
        "lifespan": st.integers(1, MAX_LIFESPAN),
        "max_hops": st.integers(1, MAX_HOPS),
        "length": st.integers(1, MAX_CONTENT),
        "root": st.binary(min_size=32, max_size=32),
    }
)


@given(HEADERS)
def test_round_trip(fields: dict[str, Any]) -> None:
    made = header_of(**fields)
    data = made.encode()
    read = Header.decode(data)
    assert (read, read.id, read.encode()) == (made, made.id, data)
    assert {name: getattr(read, name) for name in fields} == fields
    assert read.sender == ALICE.sign_id
    assert len(read.id) == 16


def test_the_largest_header_just_fits() -> None:
    many = tuple(sign_id_of(number.to_bytes(32)) for number in range(MAX_RECIPIENTS))
    largest = Header(Kind.MESSAGE, ALICE.sign_id, many, MAX_TIME, MAX_LIFESPAN, MAX_HOPS, MAX_CONTENT, bytes(32))
    size = len(replace(largest, signature=bytes(64)).encode())
    assert MAX_HEADER - 1024 < size <= MAX_HEADER


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": Kind.REFERENCE},
        {"recipients": ()},
        {"recipients": sign_ids(EVE)},
        {"recipients": sign_ids(BOB, EVE)},
        {"created": CREATED + 1},
        {"lifespan": DAY + 1},
        {"max_hops": 9},
        {"length": 601},
        {"root": bytes(32)},
    ],
    ids=lambda changed: str(*changed),
)
def test_each_field_is_signed_and_in_the_id(changed: dict[str, Any]) -> None:
    usual, other = header_of(), header_of(**changed)
    assert usual.id != other.id
    assert usual.signature != other.signature
    refused("bad-signature", lambda: Header.decode(replace(usual, **changed).encode()))


def test_the_sender_is_signed_and_in_the_id() -> None:
    usual, by_eve = header_of(), header_of(EVE)
    assert usual.id != by_eve.id
    refused("bad-signature", lambda: Header.decode(replace(usual, sender=EVE.sign_id).encode()))


def test_the_order_of_recipients_is_signed() -> None:
    there, back = header_of(recipients=sign_ids(BOB, EVE)), header_of(recipients=sign_ids(EVE, BOB))
    assert there.id != back.id
    refused("bad-signature", lambda: Header.decode(replace(there, recipients=back.recipients).encode()))


def test_one_bundle_has_one_id_whatever_its_signature() -> None:
    """A sender can sign twice in two ways; that makes no second bundle."""
    usual = header_of()
    assert replace(usual, signature=bytes(64)).id == usual.id


def test_what_is_unproven_is_checked_but_for_its_signature() -> None:
    forged = replace(header_of(), lifespan=DAY + 1)
    read = Header.unproven(forged.encode())
    assert read == forged
    refused("bad-signature", read.prove)
    refused("bad-signature", lambda: Header.decode(forged.encode()))
    header_of().prove()
    refused("bad-header", lambda: Header.unproven(replace(forged, lifespan=0).encode()))


# What does not parse.


@given(st.integers(0, len(header_of().encode()) * 8 - 1))
def test_a_flipped_bit_anywhere(bit: int) -> None:
    data = bytearray(header_of().encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        Header.decode(bytes(data))


def test_too_short() -> None:
    whole = header_of().encode()
    for size in range(len(whole)):
        refused("bad-header", partial(Header.decode, whole[:size]))


@given(st.binary(min_size=1, max_size=100))
def test_too_long(more: bytes) -> None:
    refused("bad-header", lambda: Header.decode(header_of().encode() + more))


def test_longer_than_any() -> None:
    refused("bad-header", lambda: Header.decode(header_of().encode() + bytes(MAX_HEADER)))


@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Header.decode(data)


@given(st.integers(0, 127), st.binary(max_size=20))
def test_another_version_is_told_whatever_follows(version: int, rest: bytes) -> None:
    assume(version != 1)
    refused("wrong-version", lambda: Header.decode(bytes((0x9A, version)) + rest))


@pytest.mark.parametrize("number", [1.0, True, -1, 2**53, 2**64 - 1, "1", None, b"\1", [1]])
@pytest.mark.parametrize("field", [1, 4, 5, 6, 7])
def test_numbers_that_are_none(field: int, number: object) -> None:
    fields = msgpack.unpackb(header_of().encode())
    fields[field] = number
    refused("bad-header", lambda: Header.decode(msgpack.packb(fields)))


def test_a_list_that_says_it_is_long_costs_nothing() -> None:
    start = header_of().encode()[:37]
    refused("bad-header", lambda: Header.decode(start + b"\xdd\xff\xff\xff\xff"))


# What no carrier takes, nobody makes.


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"recipients": sign_ids(BOB, EVE, BOB)}, "bad-header"),
        ({"recipients": tuple(sign_id_of(number.to_bytes(32)) for number in range(257))}, "bad-header"),
        ({"kind": Kind.RECEIPT, "recipients": ()}, "bad-header"),
        ({"kind": Kind.MAIL, "recipients": sign_ids(BOB, EVE)}, "bad-header"),
        ({"created": 0}, "bad-header"),
        ({"created": MAX_TIME + 1}, "bad-header"),
        ({"lifespan": 0}, "bad-header"),
        ({"lifespan": MAX_LIFESPAN + 1}, "bad-header"),
        ({"max_hops": 0}, "bad-header"),
        ({"max_hops": MAX_HOPS + 1}, "bad-header"),
        ({"length": 0}, "too-big"),
        ({"length": MAX_CONTENT + 1}, "too-big"),
        ({"kind": Kind.RECEIPT, "length": 16 * 1024 + 2}, "too-big"),
        ({"kind": Kind.MAIL, "length": 1024 * 1024 + 16 * 1024 + 2}, "too-big"),
    ],
    ids=str,
)
def test_bounds(changed: dict[str, Any], reason: str) -> None:
    refused(reason, lambda: header_of(**changed))


@pytest.mark.parametrize("raw", [b"\1" + bytes(31), b"\xff" * 32, bytes(32)])
def test_nobody_writes_to_a_recipient_that_is_none(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        header_of(recipients=(sign_id_of(raw),))
    with pytest.raises(InvalidKey):
        header_of(recipients=(SignId("bob"),))


def test_carriers_do_not_care_whether_a_recipient_is_one() -> None:
    """Its points are not looked at: that would cost more than all else."""
    nobody = sign_id_of(b"\xff" * 32)
    unsigned = replace(header_of(), recipients=(nobody,))
    signed = replace(unsigned, signature=ALICE.sign("mm/1 bundle", *unsigned._signed_parts))
    assert Header.decode(signed.encode()).recipients == (nobody,)


def test_kinds() -> None:
    assert [kind for kind in Kind if kind.sealed] == [Kind.MESSAGE, Kind.REFERENCE]
    assert [Kind.MESSAGE.largest, Kind.RECEIPT.largest, Kind.MAIL.largest] == [MAX_CONTENT, 16384, 1064960]


# How long a bundle lives.

CLOCKS = st.floats(-SKEW / 2, SKEW / 2)  # seconds by which one is wrong: two are at most SKEW apart
LIVES = st.integers(1, 40 * DAY)


@given(LIVES, st.floats(0, 50 * DAY), CLOCKS, CLOCKS)
def test_with_honest_carriers_clocks_do_not_matter(lifespan: int, age: float, sender: float, ours: float) -> None:
    """Unless two clocks are more than SKEW apart, a bundle ends when its time is up, by no clock at all."""
    created = NOW + sender
    now = NOW + age + ours
    header = header_of(created=int(created * 1e6), lifespan=lifespan)
    assume(abs(lifespan - age) > 0.001)
    if age < lifespan:
        assert expiry(header, age, now) == pytest.approx(now + lifespan - age, abs=0.001)
    else:
        refused("expired", lambda: expiry(header, age, now))


@given(LIVES, st.floats(-1e9, 1e12), st.floats(-400 * DAY, 400 * DAY))
def test_no_age_has_a_bundle_live_on(lifespan: int, age: float, later: float) -> None:
    header = header_of(lifespan=lifespan)
    if reason := reason_of(lambda: expiry(header, age, NOW + later)):
        assert reason == ("future" if later < -SKEW else "expired")
        return
    until = expiry(header, age, NOW + later)
    assert later >= -SKEW
    assert NOW + later < until <= latest(header) == NOW + lifespan + SKEW
    assert until <= NOW + later + lifespan


@given(st.floats(0, 1e12), st.floats(-DAY, 27 * DAY))
def test_no_age_ends_a_bundle_long_before_its_time(age: float, later: float) -> None:
    header = header_of(lifespan=30 * DAY)
    assert expiry(header, age, NOW + later) >= NOW + 28 * DAY


@pytest.mark.parametrize("skew", [-SKEW, -SKEW + 1, 0, SKEW - 3, SKEW - 2])
def test_two_seconds_are_two_seconds_by_any_clock(skew: int) -> None:
    header = header_of(lifespan=2)
    assert expiry(header, 1, NOW + 1 + skew) == NOW + 2 + skew
    refused("expired", lambda: expiry(header, 2, NOW + 2 + skew))


# Another implementation's bytes.


@pytest.mark.parametrize("case", cases("messenger", "headers"))
def test_made_and_read_as_specified(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["header"])
    header = Header.decode(raw)
    assert header.id.hex() == case["id"]
    assert header.encode() == raw
    numbers = (header.kind, header.created, header.lifespan, header.max_hops, header.length)
    assert numbers == tuple(case[name] for name in ("kind", "created", "lifespan", "maxHops", "length"))
    assert [header.sender, *header.recipients] == keys(case["sender"], *case["recipients"])
    assert (header.root.hex(), header.signature.hex()) == (case["root"], case["signature"])
    if len(header.recipients) < MAX_RECIPIENTS:  # those of that one are no keys, and nobody writes to them
        sender = Identity.from_seed(bytes.fromhex(case["senderSeed"]))
        fields = (header.kind, header.recipients, header.created, header.lifespan, header.max_hops, header.length)
        assert Header.create(sender, *fields, header.root) == header


@pytest.mark.parametrize("case", cases("messenger", "invalidHeaders"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: Header.decode(bytes.fromhex(case["header"])))


@pytest.mark.parametrize("case", cases("messenger", "expiries"))
def test_living_as_specified(case: dict[str, Any]) -> None:
    header = header_of(created=case["created"], lifespan=case["lifespan"])
    date = case["created"] / 1e6

    def until() -> float:
        return expiry(header, case["age"], date + case["now"]) - date

    if "reason" in case:
        refused(case["reason"], until)
    else:
        assert until() == pytest.approx(case["until"], abs=0.001)


def keys(*texts: str) -> list[SignId]:
    return [sign_id_of(bytes.fromhex(text)) for text in texts]
