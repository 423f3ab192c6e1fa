from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.chain.blocks import first_block
from mm_relay.rmb.chain.extrinsic import MAX_EXTRINSIC, parse_update, signed_payload, verify_update
from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
from mm_transports.rmb.protocol.scale import octets
from mmplatform.errors import BadSignature, ProtocolError
from tests.support.rmb_extrinsics import FIRST, GENUINE, call_of, extrinsic_of
from tests.support.rmb_world import KEYS

WORDS = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
SIGNED = extrinsic_of(KEYS[20], 7, call_of(b"a_b", KEYS[20].pk))


@pytest.mark.parametrize("key_type", ["sr25519", "ed25519"])
def test_what_the_genuine_client_signed_is_read_and_good(key_type: KeyType) -> None:
    keys = TwinKeys.from_secret(WORDS, key_type)
    update = parse_update(bytes.fromhex(GENUINE[key_type]))
    assert (update.account, update.relays, update.pk) == (keys.account, ("ws:/127.0.0.1:1",), keys.pk)
    assert update.nonce == {"sr25519": 0x6B0E3B86, "ed25519": 0x6B0E3B87}[key_type]
    verify_update(update, first_block(b"x").hash)
    with pytest.raises(BadSignature):
        verify_update(update, first_block(b"another relay").hash)


@pytest.mark.parametrize("number", [10, 20])
@pytest.mark.parametrize("era", [b"\x00", b"\x05\x00"])
def test_a_change_is_read_and_good(number: int, era: bytes) -> None:
    update = parse_update(extrinsic_of(KEYS[number], 7, call_of(b"a_b_a", None), era=era))
    assert (update.account, update.relays, update.pk, update.nonce) == (KEYS[number].account, ("a", "b"), b"", 7)
    verify_update(update, FIRST)


def test_a_long_change_is_hashed_before_it_is_signed() -> None:
    data = extrinsic_of(KEYS[10], 7, call_of(b"r" * 255, KEYS[10].pk))
    verify_update(parse_update(data), FIRST)
    assert len(signed_payload(bytes(300), FIRST)) == 32
    assert len(signed_payload(bytes(100), FIRST)) == 100 + 4 + 4 + 32 + 32


@pytest.mark.parametrize("at", range(4, len(SIGNED)))
def test_a_bit_that_is_changed_is_seen(at: int) -> None:
    changed = bytearray(SIGNED)
    changed[at] ^= 1
    with pytest.raises((ProtocolError, BadSignature)):
        verify_update(parse_update(bytes(changed)), FIRST)


@pytest.mark.parametrize("cut", range(len(SIGNED)))
def test_one_that_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(ProtocolError):
        parse_update(SIGNED[:cut])
    with pytest.raises(ProtocolError):
        parse_update(octets(SIGNED[2 : cut + 2][:-1]))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut"),
        (bytes(MAX_EXTRINSIC + 1), "too-long"),
        (SIGNED + b"\x00", "too-long"),
        (octets(b"\x04" + bytes(100)), "bad-extrinsic"),
        (octets(b"\x85\x00" + bytes(150)), "bad-extrinsic"),
        (octets(b"\x84\x01" + bytes(150)), "bad-extrinsic"),
        (octets(b"\x84\x00" + bytes(32) + b"\x02" + bytes(120)), "sr25519 and Ed25519"),
        (extrinsic_of(KEYS[10], 1, call_of(None, None), tip=1), "no tip"),
        (extrinsic_of(KEYS[10], 1, call_of(None, None, b"\x01\x11")), "unknown-call"),
        (extrinsic_of(KEYS[10], 1, call_of(None, None, b"\x00\x12")), "unknown-call"),
        (extrinsic_of(KEYS[10], 1, call_of(b"r" * 1025, None)), "too-long"),
        (extrinsic_of(KEYS[10], 1, call_of(None, b"p" * 129)), "too-long"),
        (extrinsic_of(KEYS[10], 1, call_of("ä".encode(), None)), "bad-relay"),
        (extrinsic_of(KEYS[10], 1, call_of(None, None) + b"\x00"), "too-long"),
    ],
)
def test_what_is_no_change_of_a_twin_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        parse_update(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for one in (data, octets(data), octets(b"\x84\x00" + bytes(33) + data)):
        with suppress(ProtocolError, BadSignature):
            verify_update(parse_update(one), FIRST)
