"""Frames: every packet survives the trip, and nothing but a ProtocolError comes out of foreign bytes."""

import random
import resource
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.codec import encode
from mmplatform.delivery import wire
from mmplatform.delivery.wire import (
    MAX_ACKS,
    MAX_FRAME,
    MAX_OUTCOMES,
    MAX_RANGES,
    OVERHEAD,
    WINDOW,
    Ack,
    Again,
    Batch,
    Close,
    End,
    Event,
    Frame,
    Part,
    Piece,
    Ping,
    Pong,
    Record,
    Reply,
    Request,
    Resumption,
    decode_packet,
    decode_record,
    decode_resume,
    encode_packet,
    size_of,
    to_ranges,
    tombstone,
)
from mmplatform.errors import ProtocolError

numbers = st.integers(0, 2**53 - 1)
lanes = st.integers(0, 3)
data = st.binary(max_size=50)
topics = st.text(max_size=60)
protocols = st.text(max_size=20)

records = st.builds(Record, numbers, numbers, topics, protocols, data)
pieces = st.builds(Piece, numbers, numbers, numbers, data)
batches = st.builds(Batch, lanes, numbers, numbers, st.lists(records, max_size=5), st.lists(pieces, max_size=3))
acks = st.builds(
    Ack,
    lanes,
    numbers,
    numbers,
    st.lists(st.tuples(numbers, numbers), max_size=5),
    st.lists(st.tuples(numbers, numbers, st.sampled_from(End), protocols), max_size=5),
    st.lists(numbers, max_size=2),
)
frames = st.builds(
    Frame,
    numbers,
    numbers,
    st.lists(acks, max_size=3),
    st.lists(batches, max_size=3),
    st.lists(st.builds(Event, topics, protocols, data), max_size=3),
    st.lists(st.builds(Request, numbers, topics, protocols, data), max_size=3),
    st.lists(st.builds(Reply, numbers, numbers, data), max_size=3),
)
packets = st.one_of(
    frames,
    st.builds(Part, numbers, numbers, data),
    st.builds(Ping, numbers),
    st.builds(Pong, numbers),
    st.builds(Close, protocols),
    st.builds(Again, lanes, numbers),
)
resumes = st.builds(Resumption, numbers, numbers, st.lists(acks, max_size=5))

ACK = Ack(2, 5, 9, [(11, 12)], [(3, 3, End.REFUSED, "busy")], [13, 400])
FRAME = Frame(
    1000,
    7,
    [ACK],
    [Batch(1, 5, 1, [Record(1, 2000, "chat", "ms", b"hi")], [Piece(2, 0, 900, b"abc")])],
    [Event("e", "ms", b"1")],
    [Request(8, "r", "ms", b"2")],
    [Reply(9, 0, b"3")],
)


@given(packets)
def test_packets_survive_the_trip(packet: wire.Packet) -> None:
    assert decode_packet(encode_packet(packet)) == packet


@given(resumes)
def test_resumes_survive_the_trip(resume: Resumption) -> None:
    assert decode_resume(encode_packet(resume)) == resume


@given(records)
def test_records_survive_the_trip(record: Record) -> None:
    assert decode_record(encode_packet(record)) == record


def test_the_bytes_are_what_another_messagepack_reads() -> None:
    assert msgpack.unpackb(encode_packet(FRAME)) == [
        0, 1000, 7,
        [[2, 5, 9, [[11, 12]], [[3, 3, 4, "busy"]], [13, 400]]],
        [[1, 5, 1, [[1, 2000, "chat", "ms", b"hi"]], [[2, 0, 900, b"abc"]]]],
        [["e", "ms", b"1"]], [[8, "r", "ms", b"2"]], [[9, 0, b"3"]],
    ]  # fmt: skip


def test_a_tombstone_has_all_elements() -> None:
    assert encode_packet(tombstone(7)) == encode([7, 0, "", "", b""])
    assert decode_record(encode_packet(tombstone(7, 9))) == tombstone(7, 9)


def test_what_is_left_is_asked_for_by_lane_and_epoch() -> None:
    assert msgpack.unpackb(encode_packet(Again(2, 9))) == [5, 2, 9]


# Foreign bytes.


def refused(bytes_: bytes) -> None:
    for decode in (decode_packet, decode_resume, decode_record):
        with pytest.raises(ProtocolError) as caught:
            decode(bytes_)
        assert caught.value.reason == "bad-packet"


@pytest.mark.parametrize("cut", range(len(encode_packet(FRAME))))
def test_a_truncated_frame(cut: int) -> None:
    refused(encode_packet(FRAME)[:cut])


def test_a_frame_with_something_behind_it() -> None:
    refused(encode_packet(FRAME) + b"\0")


FIELDS = {
    "integer": [-1, 2**53, 2**64 - 1, 1.5, "1", b"1", None, True, []],
    "lane": [-1, 4, 255, None],
    "topic": ["x" * 256, b"x", 1, None],
    "end": [-1, 5, 255, 2**64 - 1, 1.0, True, "4", None, []],
    "short": ["x" * 201, b"x", 1, None],
    "bytes": ["x", 1, None, [1]],
    "list": [1, None, "x", {}, [1], [[]], [None]],
}
LAYOUT = {
    (1,): "integer", (2,): "integer", (3,): "list", (4,): "list", (5,): "list", (6,): "list", (7,): "list",
    (3, 0, 0): "lane", (3, 0, 1): "integer", (3, 0, 2): "integer", (3, 0, 3, 0, 0): "integer",
    (3, 0, 4, 0, 1): "integer", (3, 0, 4, 0, 2): "end", (3, 0, 4, 0, 3): "short", (3, 0, 5, 1): "integer",
    (4, 0, 0): "lane", (4, 0, 1): "integer", (4, 0, 2): "integer", (4, 0, 3, 0, 0): "integer",
    (4, 0, 3, 0, 1): "integer", (4, 0, 3, 0, 2): "topic", (4, 0, 3, 0, 3): "short", (4, 0, 3, 0, 4): "bytes",
    (4, 0, 4, 0, 1): "integer", (4, 0, 4, 0, 3): "bytes", (5, 0, 0): "topic", (5, 0, 1): "short", (5, 0, 2): "bytes",
    (6, 0, 0): "integer", (6, 0, 1): "topic", (7, 0, 1): "integer", (7, 0, 2): "bytes",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, kind in LAYOUT.items() for value in FIELDS[kind]], ids=str
)
def test_a_wrong_value_in_any_field(path: tuple[int, ...], value: Any) -> None:
    packet = msgpack.unpackb(encode_packet(FRAME))
    place = packet
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ProtocolError):
        decode_packet(msgpack.packb(packet))


@pytest.mark.parametrize("tag", [-1, 6, 255, "0", None, 2**53])
def test_an_unknown_kind_of_packet(tag: Any) -> None:
    refused(msgpack.packb([tag, *msgpack.unpackb(encode_packet(FRAME))[1:]]))


@pytest.mark.parametrize("size", range(8))
def test_too_few_fields(size: int) -> None:
    with pytest.raises(ProtocolError):
        decode_packet(msgpack.packb(msgpack.unpackb(encode_packet(FRAME))[:size]))


@pytest.mark.parametrize(
    "packet",
    [
        Frame(0, 0, [ACK] * (MAX_ACKS + 1), [], [], [], []),
        Frame(0, 0, [], [Batch(0, 1, 1, [], [])] * (MAX_ACKS + 1), [], [], []),
        Frame(0, 0, [], [Batch(0, 1, 1, [tombstone(1)] * (WINDOW + 1), [])], [], [], []),
        Frame(0, 0, [], [Batch(0, 1, 1, [], [Piece(1, 0, 1, b"")] * (WINDOW + 1))], [], [], []),
        Frame(0, 0, [Ack(0, 1, 1, [(1, 1)] * (MAX_RANGES + 1), [], [])], [], [], [], []),
        Frame(0, 0, [Ack(0, 1, 1, [], [(1, 1, End.KEPT, "")] * (MAX_OUTCOMES + 1), [])], [], [], [], []),
        Frame(0, 0, [Ack(0, 1, 1, [], [], [1, 2, 3])], [], [], [], []),
    ],
)
def test_lists_that_are_too_long(packet: Frame) -> None:
    with pytest.raises(ProtocolError):
        decode_packet(encode_packet(packet))


def test_a_packet_larger_than_any_frame() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        decode_packet(bytes(MAX_FRAME + 1))
    with pytest.raises(ProtocolError, match="at most"):
        decode_resume(bytes(64 * 1024 + 1))


HUGE = [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"]  # array, map, bytes, text, extension with a 32-bit length


@pytest.mark.parametrize("kind", HUGE, ids=["array", "map", "bytes", "text", "ext"])
@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 2**24])
def test_a_huge_announced_length_costs_no_memory(kind: bytes, length: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = kind + length.to_bytes(4)
    whole = encode_packet(FRAME)
    refused(bomb)
    refused(bomb * 20)
    for place in range(len(whole)):
        with pytest.raises(ProtocolError):
            decode_packet(whole[:place] + bomb + whole[place + 5 :])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x91", b"\x81\x01", b"\xdd\x00\x00\x00\x01"])
def test_deep_nesting(opening: bytes) -> None:
    refused(opening * 60_000)


def test_random_bytes() -> None:
    draw = random.Random(1)
    for _ in range(20_000):
        noise = draw.randbytes(draw.randrange(40))
        for decode in (decode_packet, decode_resume, decode_record):
            try:
                decode(noise)
            except ProtocolError as error:
                assert error.reason == "bad-packet"  # noqa: PT017 - both ends are fine


def test_flipped_bytes() -> None:
    """What still decodes is a packet that encodes again."""
    draw = random.Random(2)
    whole = encode_packet(FRAME)
    for _ in range(20_000):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        try:
            packet = decode_packet(bytes(changed))
        except ProtocolError:
            continue
        assert decode_packet(encode_packet(packet)) == packet


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(), st.lists))
def test_any_messagepack_value(value: Any) -> None:
    for decode in (decode_packet, decode_resume, decode_record):
        try:
            decode(msgpack.packb(value))
        except ProtocolError as error:
            assert error.reason == "bad-packet"  # noqa: PT017 - both ends are fine


# Small things.


@given(st.sets(st.integers(1, 60)))
def test_ranges_are_the_numbers(chosen: set[int]) -> None:
    ranges = to_ranges(chosen)
    assert {n for low, high in ranges for n in range(low, high + 1)} == chosen
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(ranges))


def test_size_of() -> None:
    assert size_of(Record(1, 2, "topic", "ms", b"1234")) == 4 + OVERHEAD
