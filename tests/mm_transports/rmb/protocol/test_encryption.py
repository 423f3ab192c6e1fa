"""Payloads: encrypted as the genuine clients do, under nonces that are fresh, with keys that are few."""

import itertools
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.keys import TwinKeys
from mmplatform.errors import InvalidKey, ProtocolError
from tests.support.rmb_values import ALICE, BOB
from tests.support.vectors import cases


def payload_keys(seed: str, nonce: str = "") -> PayloadKeys:
    return PayloadKeys(TwinKeys(bytes.fromhex(seed)), lambda size: bytes.fromhex(nonce) or bytes(size))


@pytest.mark.parametrize("case", cases("rmb", "payloads"))
def test_as_specified(case: dict[str, Any]) -> None:
    raw = {name: bytes.fromhex(value) for name, value in case.items() if name != "name"}
    ours = payload_keys(case["seed"], case["nonce"])
    assert ours.encrypt(raw["plain"], raw["pk"]) == raw["cipher"]
    assert ours.decrypt(raw["cipher"], raw["pk"]) == raw["plain"]
    assert payload_keys(case["peerSeed"]).decrypt(raw["cipher"], raw["peerPk"]) == raw["plain"]


@pytest.mark.parametrize("case", cases("rmb", "invalidPayloads"))
def test_invalid_ones_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        payload_keys(case["seed"]).decrypt(bytes.fromhex(case["cipher"]), bytes.fromhex(case["pk"]))
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("case", cases("rmb", "invalidPks"))
def test_invalid_pks_are_refused(case: dict[str, Any]) -> None:
    ours, pk = PayloadKeys(ALICE, os.urandom), bytes.fromhex(case["pk"])
    with pytest.raises(InvalidKey, match="pk"):
        ours.encrypt(b"", pk)
    with pytest.raises(InvalidKey, match="pk"):
        ours.decrypt(bytes(28), pk)


@given(st.binary(max_size=2000))
def test_round_trip(plain: bytes) -> None:
    cipher = PayloadKeys(ALICE, os.urandom).encrypt(plain, BOB.pk)
    assert len(cipher) == len(plain) + 28
    assert PayloadKeys(BOB, os.urandom).decrypt(cipher, ALICE.pk) == plain


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(cipher: bytes) -> None:
    with pytest.raises(ProtocolError):
        PayloadKeys(BOB, os.urandom).decrypt(cipher, ALICE.pk)


def test_each_payload_has_12_fresh_bytes_as_its_nonce() -> None:
    drawn = itertools.count()
    ours = PayloadKeys(ALICE, lambda size: next(drawn).to_bytes(size))
    ciphers = [ours.encrypt(b"the same", BOB.pk) for _ in range(3)]
    assert [cipher[:12] for cipher in ciphers] == [number.to_bytes(12) for number in range(3)]
    assert len({cipher[12:] for cipher in ciphers}) == 3


def test_shared_keys_are_kept_and_no_more_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [TwinKeys(bytes([number]) * 32).pk for number in range(3, 6)]
    ours = PayloadKeys(ALICE, os.urandom, cached=2)
    made: list[bytes] = []
    shared_x = type(ALICE.encryption).shared_x
    monkeypatch.setattr(type(ALICE.encryption), "shared_x", lambda self, pk: (made.append(pk), shared_x(self, pk))[1])
    first, second, third = others
    for pk in (first, second, first, first, third, first, second):
        ours.encrypt(b"", pk)
    assert made == [first, second, third, second]  # the one that was not used for longest went
