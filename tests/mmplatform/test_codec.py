"""MessagePack with limits: what goes in comes out, and foreign bytes raise one error only."""

import datetime
import random
import resource
import uuid
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.codec import Decoder, Struct, decode, encode
from mmplatform.errors import CodecError, InvalidPayload

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(-5, 5), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(values)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert decode(encode(value)) == value


@settings(deadline=None)
@given(values)
def test_another_messagepack_agrees(value: Any) -> None:
    assert msgpack.unpackb(encode(value), strict_map_key=False) == value
    assert decode(msgpack.packb(value)) == value


def test_what_else_can_be_sent() -> None:
    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    number = uuid.UUID(int=5)
    assert decode(encode((1, {2}, bytearray(b"3")))) == [1, [2], b"3"]
    assert decode(encode(moment)) == moment
    assert decode(encode(number)) == str(number)


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, 1j, {object(): 1}, deep(5000), lambda: 1, "\ud800"])
def test_what_cannot_be_sent(value: Any) -> None:
    with pytest.raises(InvalidPayload, match="cannot encode"):
        encode(value)


def test_a_list_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidPayload):
        encode(loop)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x92\x01", b"\x01\x02", b"\xa2\xff\xff", b"\x81\x80\x01", b"\x81\x91\x80\x01", b"\x91" * 100_000,
     b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc7\x0c\xff" + b"\xff" * 12],
)  # fmt: skip
def test_what_does_not_decode(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


def test_announced_sizes_cost_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"):
        for length in (2**32 - 1, 2**31, 2**24):
            with pytest.raises(CodecError):
                decode((kind + length.to_bytes(4)) * 50)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_random_bytes() -> None:
    draw = random.Random(3)
    for _ in range(30_000):
        try:
            decode(draw.randbytes(draw.randrange(30)))
        except CodecError:
            continue


class Point(Struct, array_like=True):
    x: int
    y: int = 0


def test_typed_values() -> None:
    decoder = Decoder(Point, 20)
    assert decoder.decode(encode([1, 2])) == Point(1, 2)
    assert decoder.decode(encode([1])) == Point(1)
    for data in (encode([]), encode(["1"]), encode({"x": 1}), encode([1, 2]) + b"\0", b"", b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(CodecError):
            decoder.decode(data)
    with pytest.raises(CodecError, match="21 bytes, at most 20"):
        decoder.decode(bytes(21))
