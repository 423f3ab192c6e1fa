"""Signing in: good for one challenge of one relay by one key, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import PEER, RELAY, Challenge, Limits, SignIn, Welcome
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from tests.support.relay_values import INTEGERS, KEYS
from tests.support.vectors import cases

CLIENT, SERVER, OTHER = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
LIMITS = Limits(*range(11))
NONCE = b"n" * 32
ASKED = signin.challenge(SERVER, "relay.example", b"c" * 32)


def answered(asked: Challenge = ASKED, **other: Any) -> SignIn:
    return signin.answer(CLIENT, asked, asked.relay, NONCE, **other)


def refused(reason: str, check: Any, *args: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        check(*args)
    assert caught.value.reason == reason


def changed(item: Any, **fields: Any) -> Any:
    values = {name: getattr(item, name) for name in item.__struct_fields__} | fields
    return type(item)(**values)


@given(KEYS, KEYS, st.text(max_size=255), INTEGERS, st.text(max_size=256))
def test_round_trip(challenge: bytes, nonce: bytes, name: str, role: int, address: str) -> None:
    asked = signin.challenge(SERVER, name, challenge)
    given = signin.answer(CLIENT, asked, SERVER.sign_key, nonce, role, address)
    signin.check_answer(asked, given)
    assert (given.key, given.nonce, given.role, given.address) == (CLIENT.sign_key, nonce, role, address)
    signin.check_welcome(asked, given, signin.welcome(SERVER, asked, given, 1, LIMITS))


def test_it_is_good_once() -> None:
    given = answered()
    signin.check_answer(ASKED, given)
    refused("bad-sign-in", signin.check_answer, changed(ASKED, nonce=b"d" * 32), given)


def test_it_is_good_at_one_relay() -> None:
    """Also when the other relay passes on the challenge of the first: the client compares keys, and both are signed."""
    given = answered()
    refused("bad-sign-in", signin.check_answer, changed(ASKED, relay=OTHER.sign_key), given)
    refused("bad-sign-in", signin.check_answer, changed(ASKED, name="other.example"), given)
    refused("wrong-relay", signin.answer, CLIENT, ASKED, OTHER.sign_key, NONCE)


@pytest.mark.parametrize(
    "fields",
    [
        {"key": OTHER.sign_key},
        {"key": CLIENT.box_key},
        {"key": bytes(32)},
        {"nonce": b"m" * 32},
        {"signature": bytes(64)},
        {"role": RELAY},
        {"role": 256},
        {"address": "relay+wss://elsewhere.example/"},
    ],
)
def test_everything_in_it_is_signed(fields: dict[str, Any]) -> None:
    refused("bad-sign-in", signin.check_answer, ASKED, changed(answered(), **fields))


@given(st.integers(0, 511))
def test_a_flipped_bit_of_the_signature(bit: int) -> None:
    given = answered()
    signature = bytearray(given.signature)
    signature[bit // 8] ^= 1 << bit % 8
    refused("bad-sign-in", signin.check_answer, ASKED, changed(given, signature=bytes(signature)))


def test_names_and_addresses_cannot_be_shifted_into_each_other() -> None:
    given = answered(signin.challenge(SERVER, "a", b"c" * 32), role=RELAY, address="bc")
    refused("bad-sign-in", signin.check_answer, changed(ASKED, name="ab"), changed(given, address="c"))


def test_a_signature_for_another_purpose_is_none() -> None:
    """A client that also is a relay: what it signs as one is no use as the other."""
    claims = [ASKED.nonce, ASKED.relay, ASKED.name.encode(), CLIENT.sign_key, NONCE, bytes(8), b""]
    for label in ("mm/1 relay welcome", "mm/1 initiate", "mm/1 mail"):
        given = SignIn(CLIENT.sign_key, NONCE, CLIENT.sign(label, *claims), PEER, "")
        refused("bad-sign-in", signin.check_answer, ASKED, given)
    given = SignIn(CLIENT.sign_key, NONCE, CLIENT.sign("mm/1 relay", *claims), PEER, "")
    signin.check_answer(ASKED, given)


def test_the_relay_proves_its_key_to_this_client() -> None:
    given = answered()
    good = signin.welcome(SERVER, ASKED, given, 1, LIMITS)
    signin.check_welcome(ASKED, given, good)
    refused("wrong-relay", signin.check_welcome, ASKED, given, signin.welcome(OTHER, ASKED, given, 1, LIMITS))
    refused("wrong-relay", signin.check_welcome, ASKED, given, Welcome(bytes(64), 1, LIMITS))
    for other in (changed(given, nonce=b"m" * 32), changed(given, key=OTHER.sign_key)):
        refused("wrong-relay", signin.check_welcome, ASKED, other, good)
    for asked in (changed(ASKED, nonce=b"d" * 32), changed(ASKED, name="other"), changed(ASKED, relay=OTHER.sign_key)):
        refused("wrong-relay", signin.check_welcome, asked, given, good)


@pytest.mark.parametrize("case", cases("relay", "signIns"))
def test_as_specified(case: dict[str, Any]) -> None:
    raw = {name: bytes.fromhex(value) for name, value in case.items() if name not in TEXTS}
    client, relay = Identity.from_seed(raw["clientSeed"]), Identity.from_seed(raw["relaySeed"])
    asked = signin.challenge(relay, case["relayName"], raw["challenge"])
    given = signin.answer(client, asked, relay.sign_key, raw["nonce"], case["role"], case["address"])
    assert given.signature == raw["signature"]
    assert signin.welcome(relay, asked, given, 0, LIMITS).signature == raw["welcomeSignature"]


TEXTS = {"name", "relayName", "role", "address", "reason"}


@pytest.mark.parametrize("case", cases("relay", "invalidSignIns"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    raw = {name: bytes.fromhex(value) for name, value in case.items() if name not in TEXTS}
    asked = Challenge(raw["challenge"], raw["relay"], case["relayName"])
    given = SignIn(raw["key"], raw["nonce"], raw["signature"], case["role"], case["address"])
    if "welcomeSignature" in raw:
        welcomed = Welcome(raw["welcomeSignature"], 0, LIMITS)
        refused(case["reason"], signin.check_welcome, asked, given, welcomed)
    elif "dialled" in raw:
        refused(case["reason"], signin.answer, CLIENT, asked, raw["dialled"], raw["nonce"])
    else:
        refused(case["reason"], signin.check_answer, asked, given)
