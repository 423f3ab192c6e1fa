"""NodeInfo: vectors, forgery, expiry, caching, the form on the bus, which record wins."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import InvalidRecord
from mmplatform.identity import nodeinfo
from mmplatform.identity.keys import Identity, verify
from mmplatform.identity.nodeinfo import MAX_RECORD, NodeInfo, newest
from mmplatform.identity.record_checks import MAX_NUMBER
from tests.support.vectors import cases

NOW = 1_799_999_999
ALICE = Identity.from_seed(b"\x11" * 32)
BOB = Identity.from_seed(b"\x22" * 32)

addresses = st.lists(st.from_regex(r"[a-z][a-z0-9+.-]{0,8}:[!-~]{0,240}", fullmatch=True), max_size=16)
numbers = st.integers(0, MAX_NUMBER)


def info(seq: int = 1, expires: int = NOW + 60, identity: Identity = ALICE) -> NodeInfo:
    return NodeInfo.create(identity, ["tcp://192.0.2.7:4000"], seq, expires)


@pytest.mark.parametrize("case", cases("nodeinfo", "valid"))
def test_valid_records(case: dict[str, Any]) -> None:
    record = bytes.fromhex(case["record"])
    decoded = NodeInfo.decode(record, NOW)
    assert decoded == NodeInfo.create(
        Identity.from_seed(bytes.fromhex(case["seed"])),
        case["connectionInfo"],
        case["seq"],
        case["expires"],
        bytes.fromhex(case["mailKey"]),
    )
    assert (decoded.sign_id, decoded.box_id) == (case["signId"], case["boxId"])
    assert decoded.signature.hex() == case["signature"]
    assert decoded.encode() == record


@pytest.mark.parametrize("case", cases("nodeinfo", "invalid"))
def test_invalid_records(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match=rf"^{case['reason']}: "):
        NodeInfo.decode(bytes.fromhex(case["record"]), NOW)


@given(addresses, numbers, st.integers(NOW + 1, MAX_NUMBER), st.sampled_from([b"", BOB.box_key]))
def test_what_is_created_decodes_to_itself(uris: list[str], seq: int, expires: int, mail_key: bytes) -> None:
    made = NodeInfo.create(ALICE, uris, seq, expires, mail_key)
    assert len(made.encode()) <= MAX_RECORD
    assert NodeInfo.decode(made.encode(), NOW) == made


@given(st.binary(max_size=300))
def test_random_bytes_are_invalid(data: bytes) -> None:
    with pytest.raises(InvalidRecord):
        NodeInfo.decode(data, NOW)


@given(st.data())
def test_no_changed_byte_is_accepted(data: st.DataObject) -> None:
    record = bytearray(info().encode())
    position = data.draw(st.integers(0, len(record) - 1))
    record[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidRecord):
        NodeInfo.decode(bytes(record), NOW)


@pytest.mark.parametrize("length", range(len(info().encode())))
def test_no_part_of_a_record_is_accepted(length: int) -> None:
    with pytest.raises(InvalidRecord):
        NodeInfo.decode(info().encode()[:length], NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"connection_info": ["webrtc:"] * 17}, "addresses"),
        ({"connection_info": ["no scheme"]}, "addresses"),
        ({"connection_info": ["tcp://\udc80"]}, "addresses"),
        ({"seq": -1}, "seq"),
        ({"seq": 2**53}, "seq"),
        ({"expires": 2**53}, "expires"),
        ({"mail_key": bytes(31)}, "mail-key"),
        ({"mail_key": bytes(32)}, "mail-key"),
    ],
)
def test_what_nobody_would_accept_is_not_created(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRecord, match=rf"^{reason}: "):
        NodeInfo.create(ALICE, **{"connection_info": [], "seq": 1, "expires": NOW, **changes})


def test_identical_bytes_are_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []

    def counted(key: bytes, signature: bytes, label: str, *parts: bytes) -> None:
        verified.append(signature)
        verify(key, signature, label, *parts)

    monkeypatch.setattr(nodeinfo, "verify", counted)
    record = info(seq=4711).encode()
    first = NodeInfo.decode(record, NOW)
    assert NodeInfo.decode(bytes(bytearray(record)), NOW) is first
    assert len(verified) == 1
    forged = record[:-1] + bytes([record[-1] ^ 1])
    for _ in range(2):
        with pytest.raises(InvalidRecord, match=r"^signature"):
            NodeInfo.decode(forged, NOW)


def test_a_cached_record_still_expires() -> None:
    record = info(expires=NOW + 60).encode()
    NodeInfo.decode(record, NOW + 59.9)
    with pytest.raises(InvalidRecord, match=r"^expired"):
        NodeInfo.decode(record, NOW + 60)
    NodeInfo.decode(record, NOW)


def test_the_cache_is_bounded() -> None:
    assert nodeinfo._proven.cache_info().maxsize == 1024


def test_the_form_on_the_bus_has_the_names_of_microminion() -> None:
    made = info()
    assert made.payload() == {
        "signId": ALICE.sign_id,
        "boxId": ALICE.box_id,
        "connectionInfo": ["tcp://192.0.2.7:4000"],
        "expireTime": (NOW + 60) * 1000,
        "record": made.encode(),
    }
    assert NodeInfo.from_payload(made.payload(), NOW) == made
    assert NodeInfo.from_payload({"record": made.encode()}, NOW) == made


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "text",
        info().encode(),
        {},
        {"record": None},
        {"record": "text"},
        {"record": b"garbage"},
        {"signId": ALICE.sign_id, "boxId": ALICE.box_id, "connectionInfo": ["tcp://192.0.2.66:1"]},
        {**info().payload(), "signId": BOB.sign_id},
        {**info().payload(), "boxId": BOB.box_id},
    ],
)
def test_an_unproven_form_on_the_bus_is_invalid(value: object) -> None:
    with pytest.raises(InvalidRecord):
        NodeInfo.from_payload(value, NOW)


def test_an_expired_form_on_the_bus_is_invalid() -> None:
    with pytest.raises(InvalidRecord, match=r"^expired"):
        NodeInfo.from_payload(info().payload(), NOW + 60)


def test_the_highest_seq_wins() -> None:
    older, newer = info(seq=1, expires=NOW + 600), info(seq=2, expires=NOW + 60)
    assert newest(older, newer) is newest(newer, older) is newer
    longer = info(seq=2, expires=NOW + 61)
    assert newest(longer, newer) is newest(newer, longer) is longer


records = st.builds(info, st.integers(0, 3), st.integers(NOW, NOW + 3))


@given(records, records, records)
def test_everybody_agrees_on_the_newest(first: NodeInfo, second: NodeInfo, third: NodeInfo) -> None:
    assert newest(first, second) == newest(second, first)
    assert newest(newest(first, second), third) == newest(first, newest(second, third))
    assert newest(first, first) == first


def test_records_of_two_keys_do_not_compete() -> None:
    with pytest.raises(ValueError, match="two different keys"):
        newest(info(), info(identity=BOB))


def test_a_record_is_frozen() -> None:
    with pytest.raises(AttributeError):
        info().seq = 5  # type: ignore[misc]
    assert replace(info(), seq=5) != info()
