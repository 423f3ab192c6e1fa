"""Every packet and receipt of docs/protocol/vectors/delivery.json, both ways, and every invalid one with its reason."""

import json
from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.delivery.receipts import decode_receipt
from mmplatform.delivery.wire import decode_packet, decode_resume
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
