"""Records prove themselves, wherever they come from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.kademlia.protocol.contact import box_id_key, node_id, record_key, sign_id_key
from mm_services.kademlia.protocol.records import LONGEST, MAX_NAME, MAX_VALUE, make_record, newer, open_record
from mm_services.kademlia.protocol.wire import MAX_RECORD
from mmplatform.codec import decode, encode
from mmplatform.errors import InvalidRecord
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.kademlia import NOW, identity, record

EXPIRES = int(NOW) + 100


def test_an_application_record_belongs_under_its_signer_and_name() -> None:
    owner = identity(1)
    opened = open_record(make_record(owner, "näme", b"value", 3, EXPIRES), NOW)
    assert (opened.name, opened.value, opened.seq, opened.expires) == ("näme", b"value", 3, EXPIRES)
    assert opened.keys == (record_key(owner.sign_key, "näme"),)
    assert opened.info is None


def test_a_node_info_belongs_under_its_signid_and_its_boxid() -> None:
    owner = identity(1)
    info = NodeInfo.create(owner, ["kad://1.2.3.4:5"], 7, EXPIRES)
    opened = open_record(info.encode(), NOW)
    assert opened.info == info
    assert (
        opened.keys
        == (node_id(owner.sign_key), box_id_key(owner.box_id))
        == (sign_id_key(owner.sign_id), opened.keys[1])
    )


def test_the_largest_fits() -> None:
    data = make_record(identity(1), "n" * MAX_NAME, bytes(MAX_VALUE), 2**53 - 1, EXPIRES)
    assert len(data) <= MAX_RECORD
    open_record(data, NOW)


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("name", ("", b"", 1, EXPIRES)),
        ("name", ("n" * 65, b"", 1, EXPIRES)),
        ("name", ("\ud800", b"", 1, EXPIRES)),
        ("value", ("n", bytes(1025), 1, EXPIRES)),
        ("seq", ("n", b"", -1, EXPIRES)),
        ("seq", ("n", b"", 2**53, EXPIRES)),
        ("expires", ("n", b"", 1, -1)),
    ],
)
def test_what_cannot_be_signed(reason: str, arguments: tuple[str, bytes, int, int]) -> None:
    with pytest.raises(InvalidRecord, match=f"^{reason}:"):
        make_record(identity(1), *arguments)


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("size", bytes(MAX_RECORD + 1)),
        ("malformed", b""),
        ("malformed", b"\x96"),
        ("malformed", record(identity(1)).data + b"\x00"),
        ("malformed", b"\x97" + record(identity(1)).data[1:]),
        ("expired", make_record(identity(1), "n", b"", 1, int(NOW))),
        ("expires", make_record(identity(1), "n", b"", 1, int(NOW) + LONGEST + 1)),
        ("signature", record(identity(1)).data[:-1] + b"\x00"),
    ],
)
def test_what_is_refused(reason: str, data: bytes) -> None:
    with pytest.raises(InvalidRecord, match=f"^{reason}:"):
        open_record(data, NOW)


@given(st.integers(0, 5), st.binary(min_size=1, max_size=40))
def test_no_field_can_be_changed(field: int, other: bytes) -> None:
    fields = decode(record(identity(1)).data)
    assert isinstance(fields, list)
    if isinstance(fields[field], str):
        fields[field] += "x"
    else:
        fields[field] = other if isinstance(fields[field], bytes) else fields[field] + 1
    if encode(fields) != record(identity(1)).data:
        with pytest.raises(InvalidRecord):
            open_record(encode(fields), NOW)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InvalidRecord):
        open_record(data, NOW)


def test_the_newest_wins_and_of_equals_the_same_one_everywhere() -> None:
    old, new = record(identity(1), seq=1), record(identity(1), seq=2)
    assert newer(old, new) is newer(new, old) is new
    twin = record(identity(1), value=b"other", seq=2)
    assert newer(twin, new) is newer(new, twin)
    assert newer(None, old) is newer(old, None) is old
    assert newer(None, None) is None
    info = NodeInfo.create(identity(1), [], 7, EXPIRES)
    assert replace(info, seq=8) != info
