"""Descriptions: hostile text becomes few checked fields, or an error with a name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.webrtc.protocol.sdp import MAX_CANDIDATES, Description, IceCandidate, parse, parse_candidate
from mmplatform.errors import ProtocolError
from tests.support.vectors import VECTORS, cases

FINGERPRINT = ":".join(["AB"] * 32)
GOOD = Description(
    "abcd", "p" * 22, FINGERPRINT, "actpass", candidates=(IceCandidate("1", 1, "10.9.0.1", 5000, "host"),)
)
LINES = st.lists(st.sampled_from([*GOOD.text().splitlines(), "a=setup:active", "a=mid:", "a=", "m=audio", "a=:"]))
NOISE = st.text(st.characters(max_codepoint=255), max_size=80)


@given(
    st.from_regex("[A-Za-z0-9+/]{4,40}", fullmatch=True),
    st.sampled_from(["actpass", "active", "passive"]),
    st.integers(1, 65535),
    st.one_of(st.just(0), st.integers(1200, 2**32 - 1)),
    st.lists(
        st.builds(
            IceCandidate,
            st.from_regex("[A-Za-z0-9+/]{1,32}", fullmatch=True),
            st.integers(0, 2**32 - 1),
            st.one_of(st.integers(1, 254).map(lambda n: f"10.9.0.{n}"), st.just("2001:db8::7")),
            st.integers(1024, 65535),
            st.just("host"),
        ),
        max_size=MAX_CANDIDATES,
        unique=True,
    ),
    st.booleans(),
)
def test_what_is_written_is_read(
    ufrag: str, setup: str, port: int, size: int, candidates: list[IceCandidate], complete: bool
) -> None:
    whole = Description(ufrag, "p" * 22, FINGERPRINT, setup, "0", port, size, tuple(candidates), complete)
    assert parse(whole.text()) == whole


@given(st.one_of(NOISE, LINES.map("\n".join), st.tuples(LINES, NOISE).map(lambda two: "\n".join([*two[0], two[1]]))))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        description = parse(text)
    except ProtocolError as error:
        if error.reason != "bad-sdp":
            raise
    else:
        assert parse(description.text()) == description


@given(st.one_of(NOISE, NOISE.map("candidate:1 1 udp 1 ".__add__), NOISE.map("candidate:".__add__)))
def test_any_candidate_is_parsed_or_refused(line: str) -> None:
    try:
        candidate = parse_candidate(line)
    except ProtocolError as error:
        if error.reason != "bad-sdp":
            raise
    else:
        assert candidate is None or parse_candidate(candidate.line()) == candidate


@pytest.mark.parametrize("case", cases("webrtc", "descriptions"))
def test_vectors(case: dict[str, Any]) -> None:
    found = parse(case["sdp"])
    assert (found.ufrag, found.password, found.fingerprint) == (case["ufrag"], case["password"], case["fingerprint"])
    assert (found.setup, found.complete) == (case["setup"], case["complete"])
    assert [candidate.line() for candidate in found.candidates] == case["candidates"]
    assert found.text() == case["sdp"]


@pytest.mark.parametrize("case", cases("webrtc", "foreignDescriptions"))
def test_what_others_write_is_written_anew(case: dict[str, Any]) -> None:
    assert parse(case["sdp"]).text() == case["writtenAnew"]


@pytest.mark.parametrize("case", cases("webrtc", "invalidDescriptions"))
def test_invalid_vectors(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="bad-sdp"):
        parse(case["sdp"])


@pytest.mark.parametrize("case", cases("webrtc", "usefulCandidates"))
def test_useful_candidates(case: dict[str, Any]) -> None:
    candidate = parse_candidate(case["line"])
    assert candidate is not None
    assert candidate.host in case["line"]


@pytest.mark.parametrize("case", cases("webrtc", "uselessCandidates"))
def test_useless_candidates(case: dict[str, Any]) -> None:
    assert parse_candidate(case["line"]) is None


@pytest.mark.parametrize("case", cases("webrtc", "invalidCandidates"))
def test_invalid_candidates(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="bad-sdp"):
        parse_candidate(case["line"])


def test_the_specification_names_the_limits() -> None:
    spec = (VECTORS.parent / "webrtc.rst").read_text()
    assert f"{MAX_CANDIDATES} in all are tried" in spec
