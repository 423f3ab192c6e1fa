"""Envelopes: the bytes of the genuine clients, random ones, and more than there may be."""

import re
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol import envelope as rmb
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, decode_envelope, encode_envelope
from mmplatform.errors import InvalidPayload, ProtocolError
from tests.support.rmb_values import ENVELOPES, as_published, request
from tests.support.vectors import VECTORS, cases


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_envelope(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("case", cases("rmb", "envelopes"))
def test_envelopes_are_read_and_written_as_specified(case: dict[str, Any]) -> None:
    envelope = decode_envelope(bytes.fromhex(case["hex"]))
    assert as_published(envelope) == case["fields"]
    if not case.get("readOnly"):
        assert encode_envelope(envelope).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("rmb", "invalidEnvelopes"))
def test_invalid_envelopes_are_refused_with_their_reason(case: dict[str, Any]) -> None:
    refused(bytes.fromhex(case["hex"]) + bytes(case.get("zeros", 0)), case["reason"])


@given(ENVELOPES)
def test_round_trip(envelope: RmbEnvelope) -> None:
    data = encode_envelope(envelope)
    assert decode_envelope(data) == envelope
    assert encode_envelope(decode_envelope(data)) == data


@given(st.binary(max_size=400))
def test_random_bytes_are_an_envelope_or_refused(data: bytes) -> None:
    with suppress(ProtocolError):  # anything else is a bug
        assert isinstance(decode_envelope(data), RmbEnvelope)


@given(ENVELOPES, st.integers(0, 2000), st.integers(1, 255))
def test_a_changed_byte_is_another_envelope_or_refused(envelope: RmbEnvelope, at: int, change: int) -> None:
    data = bytearray(encode_envelope(envelope))
    data[at % len(data)] ^= change
    with suppress(ProtocolError):
        decode_envelope(bytes(data))


@given(ENVELOPES)
def test_every_field_that_comes_twice_is_refused_but_relays(envelope: RmbEnvelope) -> None:
    envelope.relays = []
    refused(encode_envelope(envelope) * 2, "twice")


def test_the_largest_that_there_may_be() -> None:
    room = rmb.MAX_ENVELOPE - len(encode_envelope(request(plain=bytes(1_000_000))))
    whole = encode_envelope(request(plain=bytes(1_000_000 + room)))
    assert len(whole) == rmb.MAX_ENVELOPE
    assert len(decode_envelope(whole).plain or b"") == 1_000_000 + room
    refused(whole + b"\0", "too-long")
    with pytest.raises(InvalidPayload, match="too-long"):
        encode_envelope(request(plain=bytes(1_000_001 + room)))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"uid": "u" * 256}, "too-long"),
        ({"uid": "\ud800"}, "not-utf-8"),
        ({"timestamp": -1}, "too-large"),
        ({"timestamp": 2**64}, "too-large"),
        ({"destination": TwinAddress(2**32)}, "too-large"),
        ({"source": TwinAddress(1, "s" * 256)}, "too-long"),
        ({"message": rmb.RmbRequest("")}, "no-command"),
        ({"message": rmb.RmbError(1, "e" * (64 * 1024 + 1))}, "too-long"),
        ({"plain": b"", "cipher": bytes(28)}, "two-payloads"),
        ({"cipher": bytes(27)}, "bad-cipher"),
        ({"relays": ["r"] * 17}, "too-many"),
    ],
)
def test_nothing_is_written_that_nobody_could_read(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidPayload, match=reason):
        encode_envelope(request(**fields))


@pytest.mark.parametrize(
    ("tags", "fast"),
    [
        (None, False), ("", False), ("fail-fast", True), ("a,fail-fast", True), ("fail-fast b", True),
        ("a, fail-fast ,b", True), ("Fail-Fast", False), ("fail-faster", False), ("fail-", False),
    ],
)  # fmt: skip
def test_the_tag_that_relays_read(tags: str | None, fast: bool) -> None:
    assert request(tags=tags).fail_fast is fast


def test_many_small_fields_cost_no_memory_before_they_are_refused() -> None:
    relays, unknown = b"\x8a\x01\x00" * 300_000, b"\x90\x01\x00" * 300_000
    tracemalloc.start()
    refused(relays, "too-many")
    refused(unknown, "too-many")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


def test_a_payload_is_allocated_once() -> None:
    data = encode_envelope(request(plain=bytes(1_000_000)))
    tracemalloc.start()
    decode_envelope(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_050_000


def test_the_specification_has_every_bound() -> None:
    spec = (VECTORS.parent / "rmb.rst").read_text()
    for name in (
        "MAX_ENVELOPE", "MAX_UID", "MAX_TAGS", "MAX_COMMAND", "MAX_ERROR", "MAX_SCHEMA", "MAX_FEDERATION", "MAX_RELAY",
        "MAX_RELAYS", "SIGNATURE_SIZE", "SEAL_SIZE",
    ):  # fmt: skip
        assert re.search(rf"\b{getattr(rmb, name)}\b", spec), name
