from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.chain_storage import (
    ACCOUNTS,
    EVENTS,
    MAX_TWIN_VALUE,
    PALLET,
    TWINS,
    account_key,
    decode_number,
    decode_twin,
    encode_twin,
    relay_names,
    twin_key,
)  # fmt: skip
from mm_transports.rmb.protocol.scale import octets, option, u32, vector
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.errors import InvalidRecord, ProtocolError
from tests.support.rmb_world import KEYS
from tests.support.xxhash import twox_128

TWIN = TwinInfo(30, KEYS[30].account, KEYS[30].pk, ("relay.example", "ws:/127.0.0.1:18080"))


def test_the_hash_is_that_of_substrate() -> None:
    """System.Account is where every explorer looks."""
    assert (twox_128("System") + twox_128("Account")).hex() == (
        "26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9"
    )


def test_names_have_these_hashes() -> None:
    assert twox_128("TfgridModule") == PALLET
    assert twox_128("Twins") == TWINS
    assert twox_128("TwinIdByAccountID") == ACCOUNTS
    assert twox_128("System") + twox_128("Events") == EVENTS


def test_keys_have_the_hash_of_what_they_hold() -> None:
    assert twin_key(1).hex() == (
        "19a2526838feefd7695a3b5715b415b1311378229266fc86f673a3f4cf398e69d82c12285b5d4551f88e8f6e7eb52b8101000000"
    )
    assert account_key(bytes(32)).startswith(PALLET + ACCOUNTS)
    assert account_key(bytes(32)).endswith(bytes(32))
    assert len(account_key(bytes(32))) == 32 + 16 + 32


@pytest.mark.parametrize(
    "twin", [TWIN, TwinInfo(1, KEYS[10].account), TwinInfo(2**32 - 1, KEYS[20].account, b"", ("a",))]
)
def test_a_twin_is_read_as_it_was_written(twin: TwinInfo) -> None:
    assert decode_twin(encode_twin(twin)) == twin


def test_the_bytes_are_those_of_the_chain() -> None:
    account, pk = KEYS[30].account, KEYS[30].pk
    proof = u32(5) + octets(bytes(64))
    data = u32(30) + account + option(octets(b"relay.example_b")) + vector([proof]) + option(octets(pk))
    assert decode_twin(data) == TwinInfo(30, account, pk, ("relay.example", "b"))


def test_fields_of_a_later_chain_are_passed_over() -> None:
    assert decode_twin(encode_twin(TWIN) + b"later") == TWIN


@pytest.mark.parametrize("cut", range(len(encode_twin(TWIN))))
def test_a_twin_that_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(InvalidRecord, match="cut"):
        decode_twin(encode_twin(TWIN)[:cut])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bytes(MAX_TWIN_VALUE + 1), "size"),
        (encode_twin(TwinInfo(0, KEYS[30].account)), "a number is"),
        (encode_twin(TwinInfo(1, bytes(32))), "anybody"),
        (encode_twin(TwinInfo(1, KEYS[30].account, b"\x05" * 33)), "pk"),
        (encode_twin(TwinInfo(1, KEYS[30].account, b"", ("a", "b", "c", "d", "e"))), "at most 4"),
        (u32(1) + KEYS[30].account + b"\x01" + octets(bytes(1025)), "too-long"),
        (u32(1) + KEYS[30].account + b"\x00" + b"\x02\x00\x01\x00", "too-many"),
        (u32(1) + KEYS[30].account + b"\x01" + octets(b"\xff") + b"\x00\x00", "ASCII"),
        (u32(4) + u32(1) + KEYS[30].account + octets(b"::1") + vector(()), "bad-option|long-number|too-|cut|account"),
    ],
)
def test_what_is_no_twin_is_refused(data: bytes, why: str) -> None:
    """The last one is a twin of chains before the relay was one of its fields: it began with a version."""
    with pytest.raises(InvalidRecord, match=why):
        decode_twin(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_twin_or_refused(data: bytes) -> None:
    with suppress(InvalidRecord):
        assert decode_twin(encode_twin(decode_twin(data))) == decode_twin(data)


def test_names_of_relays_are_there_once_and_not_empty() -> None:
    assert relay_names(b"a__b_a_") == ("a", "b")
    with pytest.raises(ProtocolError, match="ASCII"):
        relay_names("ä".encode())


def test_a_number_has_four_bytes() -> None:
    assert decode_number(u32(30)) == 30
    with pytest.raises(InvalidRecord, match="4 bytes"):
        decode_number(bytes(5))
