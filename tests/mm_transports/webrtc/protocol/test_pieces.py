"""Frames in pieces and back, whatever their sizes; nothing is kept beyond one frame."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.webrtc.protocol.pieces import LAST, MORE, PIECE, SMALLEST, Assembly, split
from mmplatform.errors import ProtocolError
from mmplatform.plugins.transport import LENGTH_LIMIT
from tests.support.vectors import VECTORS, cases


def assembled(pieces: list[bytes], limit: int = LENGTH_LIMIT) -> list[bytes]:
    assembly = Assembly(limit)
    return [bytes(frame) for piece in pieces if (frame := assembly.add(piece)) is not None]


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(2, 64))
def test_what_is_split_comes_whole_and_in_order(frames: list[bytes], size: int) -> None:
    pieces = [piece for frame in frames for piece in split(frame, size)]
    assert assembled(pieces) == frames
    assert all(1 <= len(piece) <= size for piece in pieces)


@given(st.lists(st.tuples(st.sampled_from([MORE, LAST]), st.binary(max_size=20)), max_size=30))
def test_no_pieces_make_more_than_the_limit(parts: list[tuple[int, bytes]]) -> None:
    try:
        frames = assembled([bytes([kind]) + data for kind, data in parts], limit=50)
    except ProtocolError as error:
        if error.reason not in ("too-long", "bad-piece"):
            raise
    else:
        assert all(len(frame) <= 50 for frame in frames)


def test_the_longest_frame_passes_and_one_byte_more_does_not() -> None:
    assert assembled(list(split(bytes(LENGTH_LIMIT)))) == [bytes(LENGTH_LIMIT)]
    with pytest.raises(ProtocolError, match="too-long"):
        assembled(list(split(bytes(LENGTH_LIMIT + 1))))


@pytest.mark.parametrize("case", cases("webrtc", "pieces"))
def test_vectors(case: dict[str, Any]) -> None:
    pieces, frame = [bytes.fromhex(piece) for piece in case["pieces"]], bytes.fromhex(case["frame"])
    assert list(split(frame, case["size"])) == pieces
    assert assembled(pieces) == [frame]


@pytest.mark.parametrize("case", cases("webrtc", "lenientPieces"))
def test_vectors_of_pieces_that_we_would_not_make(case: dict[str, Any]) -> None:
    assert assembled([bytes.fromhex(piece) for piece in case["pieces"]]) == [bytes.fromhex(case["frame"])]


def test_the_specification_names_the_limits() -> None:
    spec = (VECTORS.parent / "webrtc.rst").read_text()
    for limit in (PIECE, SMALLEST, LENGTH_LIMIT):
        assert str(limit) in spec
