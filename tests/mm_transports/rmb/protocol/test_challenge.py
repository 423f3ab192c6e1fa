"""What is signed of an envelope: as the genuine clients have it, with the readings that it leaves open."""

from typing import Any

import pytest
from hypothesis import given

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import challenge, sign_envelope, verify_envelope
from mm_transports.rmb.protocol.envelope import (
    RmbEnvelope,
    RmbError,
    RmbRequest,
    RmbResponse,
    decode_envelope,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.stamps import deadline
from mmplatform.errors import BadSignature, InvalidPayload, ProtocolError
from tests.support.rmb_values import ALICE, BOB, ENVELOPES, NOW, request
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("rmb", "envelopes"))
def test_as_specified(case: dict[str, Any]) -> None:
    envelope = decode_envelope(bytes.fromhex(case["hex"]))
    assert challenge(envelope).hex() == case["challenge"]
    if "account" in case:
        verify_envelope(envelope, bytes.fromhex(case["account"]))
    else:
        with pytest.raises(BadSignature, match="not signed"):
            verify_envelope(envelope, ALICE.account)


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["sr25519", "ed25519"])
@given(envelope=ENVELOPES)
def test_round_trip(keys: TwinKeys, envelope: RmbEnvelope) -> None:
    sign_envelope(envelope, keys)
    verify_envelope(decode_envelope(encode_envelope(envelope)), keys.account)
    with pytest.raises(BadSignature):
        verify_envelope(envelope, (BOB if keys is ALICE else ALICE).account)


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": "v"},
        {"message": RmbRequest("calc.sub")},
        {"message": RmbResponse()},
        {"message": RmbError(1, "calc.add")},
        {"timestamp": NOW + 1},
        {"expiration": 301},
        {"source": TwinAddress(21, "s")},
        {"source": TwinAddress(20, "t")},
        {"source": None},
        {"destination": TwinAddress(31)},
        {"destination": TwinAddress(30, "s")},
        {"tags": "fail-fast"},
        {"schema": "application/json"},
        {"federation": "relay.example"},
        {"plain": b"[1,3]"},
        {"plain": None, "cipher": bytes(28)},
        {"relays": ["relay.example"]},
    ],
    ids=str,
)
def test_every_field_is_signed(fields: dict[str, Any]) -> None:
    envelope = request(plain=b"[1,2]")
    sign_envelope(envelope, BOB)
    verify_envelope(envelope, BOB.account)
    for name, value in fields.items():
        setattr(envelope, name, value)
    with pytest.raises(BadSignature, match="account"):
        verify_envelope(envelope, BOB.account)


@pytest.mark.parametrize("case", cases("rmb", "otherReadings"))
def test_other_readings_of_a_signature_are_refused_by_the_rule_that_is_specified(case: dict[str, Any]) -> None:
    envelope = decode_envelope(bytes.fromhex(case["hex"]))
    verify_envelope(envelope, bytes.fromhex(case["account"]))
    match case["refusedBy"]:
        case "future" | "expired":
            with pytest.raises(ProtocolError) as caught:
                deadline(envelope, NOW)
            assert caught.value.reason == case["refusedBy"]
        case "destination":
            assert envelope.destination is not None
            assert not envelope.destination.same(TwinAddress(30))
        case "payload":
            assert envelope.cipher is None
        case rule:
            assert rule == "uid"
            assert isinstance(envelope.message, RmbResponse)


def test_an_absent_address_is_twin_0() -> None:
    assert challenge(request(source=None)) == challenge(request(source=TwinAddress(0)))
    assert challenge(request(source=TwinAddress(20, ""))) == challenge(request(source=TwinAddress(20)))


def test_text_without_bytes_is_not_signed() -> None:
    with pytest.raises(InvalidPayload, match="UTF-8"):
        sign_envelope(request(uid="\ud800"), ALICE)
