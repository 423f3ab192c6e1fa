"""Signals: bytes both ways, and whatever else comes is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.webrtc.protocol.signalling import (
    ATTEMPT,
    END,
    KINDS,
    MAX_SIGNAL,
    Signal,
    decode_signal,
    encode_signal,
)  # fmt: skip
from mmplatform.errors import ProtocolError
from mmplatform.plugins.signalling import SIGNAL_LIMIT
from tests.support.vectors import cases

TEXT = st.text(st.characters(max_codepoint=127), max_size=200)
REASON = st.from_regex(r"[a-z][a-z-]{0,31}", fullmatch=True)


@given(st.sampled_from(KINDS), st.binary(min_size=ATTEMPT, max_size=ATTEMPT), TEXT, REASON)
def test_what_is_said_is_heard(kind: int, attempt: bytes, body: str, reason: str) -> None:
    signal = Signal(kind, attempt, reason if kind == END else body)
    assert decode_signal(encode_signal(signal)) == signal


@given(st.binary(max_size=100))
def test_any_bytes_are_a_signal_that_encodes_to_them_or_refused(data: bytes) -> None:
    try:
        signal = decode_signal(data)
    except ProtocolError as error:
        if error.reason != "bad-signal":
            raise
    else:
        assert encode_signal(signal) == data


def test_one_that_is_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="16385 bytes"):
        encode_signal(Signal(1, bytes(ATTEMPT), "v" * (MAX_SIGNAL - 9)))
    assert MAX_SIGNAL <= SIGNAL_LIMIT


@pytest.mark.parametrize("case", cases("webrtc", "signals"))
def test_vectors(case: dict[str, Any]) -> None:
    signal = Signal(case["kind"], bytes.fromhex(case["attempt"]), case["body"])
    assert encode_signal(signal) == bytes.fromhex(case["hex"])
    assert decode_signal(bytes.fromhex(case["hex"])) == signal


@pytest.mark.parametrize("case", cases("webrtc", "invalidSignals"))
def test_invalid_vectors(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="bad-signal"):
        decode_signal(bytes.fromhex(case["hex"]))
