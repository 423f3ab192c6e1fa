"""MessagePack with limits: what goes in comes out, and foreign bytes raise one error only."""

import datetime
import random
import resource
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.codec import LONGEST_PLACE, MAX_VALUES, Decoder, Struct, decode, encode, holds_more
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


@pytest.mark.parametrize("value", [object(), 2**64, -(2**63) - 1, 1j, {object(): 1}, deep(20_000), lambda: 1, "\ud800"])
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


def test_a_bomb_of_empty_lists_is_refused_before_it_takes_memory() -> None:
    size = 16 * 1024 * 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, empty in (b"\xdd", b"\x90"), (b"\xdd", b"\x80"), (b"\xdf", b"\x01\x90"):
        with pytest.raises(CodecError, match=f"more than {MAX_VALUES} values"):
            decode(kind + (size // len(empty)).to_bytes(4) + empty * (size // len(empty)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def number_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(number_of, value))
    if isinstance(value, dict):
        return 1 + sum(number_of(key) + number_of(each) for key, each in value.items())
    return 1


@settings(deadline=None)
@given(values)
def test_values_are_counted_exactly(value: Any) -> None:
    data, number = encode(value), number_of(value)
    assert (holds_more(data, number - 1), holds_more(data, number)) == (True, False)


SIZES = (0, 1, 2, 4, 8, 16, 31, 32, 255, 256, 65535, 65536)


@pytest.mark.parametrize(
    "value",
    [msgpack.ExtType(5, bytes(size)) for size in SIZES] + [bytes(size) for size in SIZES]
    + ["x" * size for size in SIZES] + [-(2**bits) for bits in (4, 7, 15, 31, 63)] + [2**bits for bits in range(63)]
    + [1.5, True, False, None, {}, msgpack.Timestamp(1), msgpack.Timestamp(2**33), msgpack.Timestamp(2**35)],
)  # fmt: skip
def test_every_kind_of_value_counts_once(value: Any) -> None:
    for data in (msgpack.packb([value, value]), msgpack.packb([value, value], use_single_float=True)):
        assert (holds_more(data, 2), holds_more(data, 3)) == (True, False)


class Pairs(list[Any]):
    """The pairs of a map, whose keys may repeat."""


def number_with_pairs(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + sum(number_with_pairs(key) + number_with_pairs(each) for key, each in value)
    return 1 + sum(map(number_with_pairs, value)) if isinstance(value, list) else 1


def test_counting_broken_bytes_ends_and_never_counts_too_few() -> None:
    draw = random.Random(4)
    for _ in range(30_000):
        data, most = draw.randbytes(draw.randrange(40)), draw.randrange(1, 40)
        more = holds_more(data, most)
        try:
            value = msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=Pairs)
        except Exception:
            continue
        assert more == (number_with_pairs(value) > most)


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


@pytest.mark.parametrize("kind", [b"\xdc", b"\xdd", b"\xde", b"\xdf"])
def test_lists_and_maps_that_say_that_they_hold_too_much_are_counted_by_that(kind: bytes) -> None:
    """What follows is not looked at: a payload of 64 KiB would be a loop of 65,536 steps."""
    width, each = (2, 4)[kind in (b"\xdd", b"\xdf")], (1, 2)[kind >= b"\xde"]
    most = 1000
    head = b"\x92\xc0" + kind

    def says(number: int) -> bool:
        return holds_more(head + number.to_bytes(width) + b"\xc6" + (2**31).to_bytes(4) + bytes(5000), most)

    assert not says((most - 3) // each)
    assert says((most - 3) // each + 1)


class Held(Struct):
    inner: Any


@dataclass
class Reading:
    at: Any


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1j, "value, a complex"),
        ({"readings": [1, 2, 3, Reading(1j)]}, "value.readings[3].at, a complex"),
        (Held([Pair(1, 2**64)]), "value.inner[0].right, a int"),
        ({"a b": {5: {"\x1b": 1j}}}, r"value['a b'][5]['\x1b'], a complex"),
        ([{1j: 2}], "value[0] (a key), a complex"),
        ([{1, (2, 3j)}], "value[0][...][1], a complex"),
        ({"x" * 300: 1j}, f"value.{'x' * (LONGEST_PLACE - 6)}..., a complex"),
        ([[], "\ud800"], "value[1], a str"),
    ],
)
def test_where_the_value_is_that_cannot_be_sent(value: Any, says: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        encode(value)
    assert str(caught.value).startswith(f"cannot encode {says}: ")
    assert str(caught.value).isprintable()
