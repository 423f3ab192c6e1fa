"""Keys of the chain's storage, and the bytes of a twin."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.chain.storage import MAX_KEY, TwinAsked, asked, value
from mm_transports.rmb.protocol.chain_storage import ACCOUNTS, TWINS, encode_twin
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.errors import ProtocolError
from tests.support.rmb_world import storage_key

ACCOUNT = bytes(range(32))


@given(number=st.integers(0, 2**32 - 1))
def test_a_key_asks_for_a_number(number: int) -> None:
    assert asked(storage_key(TWINS, number.to_bytes(4, "little"))) == TwinAsked(number, number=False)


@given(account=st.binary(min_size=32, max_size=32))
def test_a_key_asks_for_an_account(account: bytes) -> None:
    assert asked(storage_key(ACCOUNTS, account)) == TwinAsked(account, number=True)


def test_keys_as_polkadot_js_makes_them() -> None:
    """Made by @polkadot/api 15 for tfgridModule.twins(1), when it asked the face of a chain."""
    key = (
        "0x19a2526838feefd7695a3b5715b415b1311378229266fc86f673a3f4cf398e69"
        f"{blake2b(bytes([1, 0, 0, 0]), digest_size=16).hexdigest()}01000000"
    )
    assert asked(key) == TwinAsked(1, number=False)


@pytest.mark.parametrize("key", ["", "00", "0xz", "0x" + "00" * MAX_KEY])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ProtocolError, match="bad-key"):
        asked(key)


@given(key=st.binary(max_size=100))
def test_other_keys_have_nothing(key: bytes) -> None:
    assert asked(f"0x{key.hex()}") is None


def test_a_twin_is_encoded_as_the_chain_does() -> None:
    bare = TwinInfo(1, ACCOUNT)
    assert encode_twin(bare).hex() == f"01000000{ACCOUNT.hex()}000000"
    full = TwinInfo(2, ACCOUNT, b"\x02" * 33, ("a", "b"))
    assert encode_twin(full).hex() == f"02000000{ACCOUNT.hex()}01" + "0c615f62" + "00" + "01" + "84" + "02" * 33
    assert value(TwinAsked(2, number=False), None) is None
    assert value(TwinAsked(2, number=True), full) == "0x02000000"
