"""Signed records of twins: as specified, one form, and each that is refused with its reason."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.protocol.twin_record import LONGEST, MAX_TWIN_RECORD, TwinRecord
from mmplatform.codec import decode, encode
from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.rmb_values import ALICE, BOB, NOW
from tests.support.vectors import cases

GOOD = TwinRecord.create(BOB, 30, ("relay.example",), 7, NOW + 60)


@pytest.mark.parametrize("case", cases("rmb", "twinRecords"))
def test_as_specified(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["record"])
    record = TwinRecord.decode(data, NOW)
    assert record == TwinRecord(
        TwinInfo(case["twin"], bytes.fromhex(case["account"]), bytes.fromhex(case["pk"]), tuple(case["relays"])),
        case["seq"],
        case["expires"],
        data,
    )
    if "seed" in case:  # no two signatures of sr25519 are the same
        keys = TwinKeys(bytes.fromhex(case["seed"]), "ed25519")
        made = TwinRecord.create(
            keys, record.twin.number, record.twin.relays, record.seq, record.expires, encrypted=bool(record.twin.pk)
        )
        assert made == record


@pytest.mark.parametrize("case", cases("rmb", "invalidTwinRecords"))
def test_invalid_records_are_refused_with_their_reason(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match=f"^{case['reason']}: "):
        TwinRecord.decode(bytes.fromhex(case["record"]), NOW)


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["sr25519", "ed25519"])
def test_both_kinds_of_key_sign(keys: TwinKeys) -> None:
    made = TwinRecord.create(keys, 2**32 - 1, ("a", "b"), 2**53 - 1, NOW + LONGEST)
    assert TwinRecord.decode(made.data, NOW) == made
    assert made.twin == TwinInfo(2**32 - 1, keys.account, keys.pk, ("a", "b"))


def test_the_longest_one_fits() -> None:
    relays = tuple(f"{number}".ljust(255, "x") for number in range(4))
    made = TwinRecord.create(BOB, 2**32 - 1, relays, 2**53 - 1, 2**53 - 1)
    assert len(made.data) <= MAX_TWIN_RECORD
    assert TwinRecord.proven(made.data) == made


def test_what_could_not_be_read_is_not_made() -> None:
    for number, relays, seq, expires in (
        (0, (), 1, NOW), (1, ("_",), 1, NOW), (1, (), -1, NOW), (1, (), 2**53, NOW), (1, (), 1, -1), (1, (), 1, 2**53),
    ):  # fmt: skip
        with pytest.raises(InvalidRecord):
            TwinRecord.create(BOB, number, relays, seq, expires)


def test_dates() -> None:
    for expires, reason in ((NOW, "expired"), (NOW - 1, "expired"), (NOW + LONGEST + 1, "expires")):
        record = TwinRecord.create(BOB, 30, (), 7, expires)
        assert TwinRecord.proven(record.data) == record
        with pytest.raises(InvalidRecord, match=f"^{reason}: "):
            TwinRecord.decode(record.data, NOW)


def test_cut_anywhere_longer_and_one_byte_changed_anywhere() -> None:
    data = GOOD.data
    wrong = [data[:size] for size in range(len(data))] + [data + b"\0", data + data, data.ljust(MAX_TWIN_RECORD + 1)]
    wrong += [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    for one in wrong:
        with pytest.raises(InvalidRecord):
            TwinRecord.decode(one, NOW)


def test_another_version_of_the_record_is_none_of_ours() -> None:
    fields = decode(GOOD.data)
    assert isinstance(fields, list)
    for other in ([*fields, 1], fields[:-1], [2, *fields], dict(enumerate(fields)), fields[::-1]):
        with pytest.raises(InvalidRecord, match=r"^malformed: "):
            TwinRecord.proven(encode(other))


def test_a_record_of_another_kind_is_none_of_a_twin() -> None:
    identity = Identity.from_seed(b"\x02" * 32)  # whose account is that of bob
    assert identity.sign_key == BOB.account
    info = NodeInfo.create(identity, ["tcp://127.0.0.1:1"], 7, NOW + 60)
    with pytest.raises(InvalidRecord, match=r"^malformed: "):
        TwinRecord.proven(info.encode())


@given(st.binary(max_size=300), st.lists(st.integers(0, len(GOOD.data) - 1), max_size=3))
def test_any_bytes_are_a_record_or_refused(data: bytes, places: list[int]) -> None:
    changed = bytearray(GOOD.data)
    for place, byte in zip(places, data, strict=False):
        changed[place] = byte
    for one in (data, bytes(changed)):
        with suppress(InvalidRecord):  # anything else is a bug
            assert TwinRecord.proven(one).data == one
