"""docs/protocol/vectors/directory.json, made by a second implementation, against this one."""

from typing import Any

import pytest

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, box_id_key, is_proven, node_id, record_key
from mm_services.kademlia.protocol.records import make_record, open_record
from mm_services.kademlia.protocol.wire import pack, parse
from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import Identity
from tests.support.vectors import cases

NOW = 1_800_000_000
ALICE = Identity.from_seed(b"\x11" * 32)


@pytest.mark.parametrize("case", cases("directory", "ids"))
def test_ids(case: dict[str, Any]) -> None:
    owner = Identity.from_seed(bytes.fromhex(case["seed"]))
    assert owner.sign_key.hex() == case["signKey"]
    assert f"{node_id(owner.sign_key):064x}" == case["nodeId"]
    assert f"{box_id_key(owner.box_id):064x}" == case["boxKey"]
    assert f"{record_key(owner.sign_key, 'status'):064x}" == case["recordKey of status"]


@pytest.mark.parametrize("case", cases("directory", "records"))
def test_records(case: dict[str, Any]) -> None:
    value = bytes.fromhex(case["value"])
    data = make_record(ALICE, case["recordName"], value, case["seq"], case["expires"])
    assert data.hex() == case["record"]
    opened = open_record(data, NOW)
    assert (opened.name, opened.value, opened.seq) == (case["recordName"], value, case["seq"])
    assert f"{opened.keys[0]:064x}" == case["key"]


@pytest.mark.parametrize("case", cases("directory", "invalidRecords"))
def test_invalid_records(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match=f"^{case['reason']}:"):
        open_record(bytes.fromhex(case["record"]), NOW)


@pytest.mark.parametrize("case", cases("directory", "proofs"))
def test_proofs(case: dict[str, Any]) -> None:
    contact = Contact(bytes.fromhex(case["signKey"]), Address(bytes.fromhex(case["host"]), case["port"]))
    assert is_proven(contact, case["expires"], bytes.fromhex(case["signature"]), NOW) is case["valid"]


@pytest.mark.parametrize("case", cases("directory", "datagrams"))
def test_datagrams(case: dict[str, Any]) -> None:
    message = parse(bytes.fromhex(case["hex"]))
    assert message is not None
    assert pack(message).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("directory", "invalidDatagrams"))
def test_invalid_datagrams(case: dict[str, Any]) -> None:
    assert parse(bytes.fromhex(case["hex"])) is None
