"""Keys of a twin: those that Substrate makes of the same words, signatures in one form, secrets that stay secret."""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.keys import TwinKeys, seed_of, verify
from mmplatform.errors import BadSignature, IdentityError
from tests.support.rmb_values import ALICE, BOB
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("rmb", "twins"))
def test_as_published(case: dict[str, Any]) -> None:
    assert seed_of(case["phrase"]).hex() == case["seed"]
    for secret in (case["phrase"], f"0x{case['seed']}", f"  0x{case['seed'].upper()}\n", f" {case['phrase']}\n"):
        keys = TwinKeys.from_secret(secret, case["keyType"])
        assert (keys.account.hex(), keys.pk.hex()) == (case["account"], case["pk"])


@pytest.mark.parametrize("case", cases("rmb", "invalidSecrets"))
def test_invalid_secrets_are_refused_and_not_quoted(case: dict[str, Any]) -> None:
    with pytest.raises(IdentityError, match=case["reason"]) as caught:
        TwinKeys.from_secret(case["secret"])
    assert not {word for word in case["secret"].lower().split() if len(word) > 3 and word in str(caught.value)}
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(IdentityError, match="32 bytes"):
        TwinKeys(bytes(size))


def test_other_types_of_keys_are_refused() -> None:
    with pytest.raises(IdentityError, match="sr25519 or ed25519"):
        TwinKeys(b"\x01" * 32, "ecdsa")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", cases("rmb", "signatures"))
def test_signatures_as_specified(case: dict[str, Any]) -> None:
    account, message, signature = (bytes.fromhex(case[name]) for name in ("account", "message", "signature"))
    if case["valid"]:
        verify(account, signature, message)
    else:
        with pytest.raises(BadSignature):
            verify(account, signature, message)


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["sr25519", "ed25519"])
@given(message=st.binary(max_size=200), bit=st.integers(0, 65 * 8 - 1))
def test_a_flipped_bit_of_a_signature(keys: TwinKeys, message: bytes, bit: int) -> None:
    signature = bytearray(keys.sign(message))
    assert len(signature) == 65
    verify(keys.account, bytes(signature), message)
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        verify(keys.account, bytes(signature), message)


@given(st.binary(max_size=70), st.binary(max_size=40), st.binary(max_size=40))
def test_random_bytes_are_no_signature(signature: bytes, account: bytes, message: bytes) -> None:
    for letter in (b"", b"s", b"e"):
        with pytest.raises(BadSignature):
            verify(account, letter + signature, message)


def test_nothing_shows_or_copies_the_secrets() -> None:
    seed = b"\x01" * 32
    assert seed.hex() not in repr(ALICE)
    assert ALICE.account.hex() in repr(ALICE)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secrets"):
            act(ALICE)
