"""Every packet and receipt of docs/protocol/vectors/delivery.json, both ways, and every invalid one with its reason."""

import json
from typing import Any

import pytest

from mmplatform.codec import encode, holds_more
from mmplatform.delivery.receipts import decode_receipt
from mmplatform.delivery.wire import decode_joined, decode_packet, decode_resume
from mmplatform.errors import CodecError, ProtocolError
from tests.support.vectors import VECTORS, cases, readable


@pytest.mark.parametrize("case", cases("delivery", "packets"))
def test_packet_is_read_and_written_as_specified(case: dict[str, Any]) -> None:
    packet = decode_packet(bytes.fromhex(case["hex"]))
    assert readable(packet) == case["packet"]
    assert encode(packet).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("delivery", "invalid"))
def test_invalid_packet_is_refused_with_its_reason(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_packet(bytes.fromhex(case["hex"]))
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("case", cases("delivery", "joined"))
def test_what_was_put_together_holds_one_large_item(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["head"]) + bytes(case["zeros"]) + bytes.fromhex(case["tail"])
    if "valid" in case:
        assert encode(decode_joined(data)) == data
        return
    with pytest.raises(ProtocolError) as caught:
        decode_joined(data)
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("case", cases("delivery", "values"))
def test_values_of_a_payload_are_counted_as_specified(case: dict[str, Any]) -> None:
    data, number = bytes.fromhex(case["hex"]), case["values"]
    assert (holds_more(data, number - 1), holds_more(data, number)) == (True, False)


def test_resume_is_read_and_written_as_specified() -> None:
    case = json.loads((VECTORS / "delivery.json").read_text("utf-8"))["resume"]
    resume = decode_resume(bytes.fromhex(case["hex"]))
    assert readable(resume) == case["value"]
    assert encode(resume).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("delivery", "receipts"))
def test_receipt_is_read_and_written_as_specified(case: dict[str, Any]) -> None:
    entries = decode_receipt(bytes.fromhex(case["hex"]))
    assert readable(entries) == case["entries"]
    assert encode(entries).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("delivery", "invalidReceipts"))
def test_invalid_receipt_is_refused(case: dict[str, Any]) -> None:
    """Its sender is told ``bad-payload``, whatever is wrong with it."""
    assert case["reason"] == "bad-payload"
    with pytest.raises(CodecError):
        decode_receipt(bytes.fromhex(case["hex"]))
