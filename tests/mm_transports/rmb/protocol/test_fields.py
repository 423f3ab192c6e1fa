"""Fields of protobuf: read as protobuf reads them, and refused where two readers could differ."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.fields import (
    BYTES,
    MOST_UNKNOWN,
    U32,
    U64,
    VARINT,
    bytes_field,
    key,
    number_field,
    read_fields,
    text,
    text_field,
)  # fmt: skip
from mmplatform.errors import ProtocolError

NUMBER, CHUNK, LISTED = key(1, VARINT), key(2, BYTES), key(200, BYTES)
SHAPE = {NUMBER: U64, CHUNK: 1000, LISTED: 10}
REPEATED = {LISTED: 3}


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_fields(data, SHAPE, REPEATED)
    assert caught.value.reason == reason


@given(st.integers(0, U64), st.none() | st.binary(max_size=1000), st.lists(st.binary(max_size=10), max_size=3))
def test_round_trip(number: int, chunk: bytes | None, listed: list[bytes]) -> None:
    data = number_field(NUMBER, number) + bytes_field(CHUNK, chunk) + b"".join(bytes_field(LISTED, x) for x in listed)
    found = read_fields(data, SHAPE, REPEATED)
    assert found.numbers == ({NUMBER: number} if number else {})
    assert found.chunks == ({CHUNK: chunk} if chunk is not None else {})
    assert found.lists == ({LISTED: listed} if listed else {})


@given(st.integers(1, U64), st.data())
def test_a_cut_one_is_refused(number: int, data: st.DataObject) -> None:
    whole = number_field(NUMBER, number) + bytes_field(CHUNK, b"abc")
    at = data.draw(st.integers(1, len(whole) - 1))
    if at != len(number_field(NUMBER, number)):
        refused(whole[:at], "cut")


@given(st.binary(max_size=300))
def test_random_bytes_are_fields_or_refused(data: bytes) -> None:
    with suppress(ProtocolError):  # anything else is a bug
        read_fields(data, SHAPE, REPEATED)


@given(st.text(max_size=50))
def test_texts(value: str) -> None:
    assert text(read_fields(text_field(CHUNK, value), SHAPE).chunks[CHUNK]) == value


def test_what_has_no_bytes_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not-utf-8"):
        text_field(CHUNK, "\ud800")
    with pytest.raises(ProtocolError, match="not-utf-8"):
        text(b"\xff")
    with pytest.raises(ProtocolError, match="too-large"):
        number_field(NUMBER, -1)


def test_nothing_is_an_empty_message() -> None:
    assert read_fields(b"", SHAPE).numbers == {}
    assert text_field(CHUNK, None) == bytes_field(CHUNK, None) == number_field(NUMBER, 0) == b""
    assert text_field(CHUNK, "") == bytes([CHUNK, 0])


def test_numbers_have_a_largest_value() -> None:
    for most in (U32, U64):
        data = number_field(NUMBER, most)
        assert read_fields(data, {NUMBER: most}).numbers == {NUMBER: most}
        with pytest.raises(ProtocolError, match="too-large"):
            read_fields(data, {NUMBER: most - 1})


def test_fields_of_later_versions_are_passed_over_up_to_a_bound() -> None:
    later = bytes([key(9, VARINT), 5]) * MOST_UNKNOWN
    assert read_fields(later + number_field(NUMBER, 7), SHAPE).numbers == {NUMBER: 7}
    refused(later + bytes([key(9, VARINT), 5]), "too-many")


def test_repeated_fields_have_a_bound() -> None:
    refused(bytes_field(LISTED, b"x") * 4, "too-many")


def test_a_length_costs_no_memory_before_it_was_compared() -> None:
    data = bytes([CHUNK]) + (1_000_000).to_bytes(3, "little").replace(b"\0", b"\1") + bytes(900_000)
    large = bytes_field(CHUNK, bytes(900_000))
    tracemalloc.start()
    for one in (data, large):
        with suppress(ProtocolError):
            read_fields(one, SHAPE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000
