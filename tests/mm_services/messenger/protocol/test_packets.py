"""What carriers say to each other: each request and reply parses as itself alone, within bounds."""

import math
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol import blocks, packets
from mm_services.messenger.protocol.limits import BLOCK, MAX_CONTENT, MAX_HEADER, MAX_HOPS, MAX_TIME
from mm_services.messenger.protocol.packets import (
    MAX_COPIES,
    MAX_DIFF,
    MAX_PACKET,
    MAX_PARCEL,
    MAX_TABLE,
    MOST,
    Diff,
    Differs,
    Meet,
    Parcel,
    PullBlock,
    PullBundles,
    Pulled,
    PulledBlock,
    PushAnswer,
    PushAnswers,
    PushBlock,
    PushBundles,
    Reply,
    Request,
    Say,
)
from mmplatform.errors import ProtocolError
from tests.support.bundles import WAY, handed_over, header_of
from tests.support.sessions import reason_of, refused
from tests.support.vectors import cases, readable, unfolded

HEADER = header_of()
HOPS = handed_over(HEADER, *WAY)
IDS = [HEADER.id, bytes(16)]
PARCEL = Parcel(HEADER.encode(), HOPS, 1000, bytes(32), b"content", 8)
REQUESTS: list[Request] = [
    Meet(1, True, MAX_CONTENT, True, [(bytes(32), 0.5)]),
    Diff(b"step"),
    PushBundles([PARCEL, PARCEL]),
    PushBlock(HEADER.id, BLOCK, b"block"),
    PullBundles(IDS),
    PullBlock(HEADER.id, 0),
]
REPLIES: list[Reply] = [
    Meet(1, False, 0, False, []),
    Differs(b"step"),
    PushAnswers([PushAnswer(say) for say in Say]),
    Pulled([PARCEL], 1),
    PulledBlock(b""),
]
RAW: dict[str, Any] = {
    "meet": [1, 1, True, 0, True, []],
    "parcel": [b"h", [], 0, b"", b"", 0],
    "hop": [bytes(32), bytes(64)],
}
Parse = Callable[[bytes], object]
BOTH: tuple[Parse, Parse] = (packets.request, packets.reply)


@pytest.mark.parametrize("packet", REQUESTS, ids=lambda packet: type(packet).__name__)
def test_requests(packet: Request) -> None:
    data = packets.encoded(packet)
    assert packets.request(data) == packet
    if not isinstance(packet, Meet):
        refused("bad-packet", lambda: packets.reply(data))
    for size in range(len(data)):
        refused("bad-packet", partial(packets.request, data[:size]))
    refused("bad-packet", lambda: packets.request(data + b"\0"))


@pytest.mark.parametrize("packet", REPLIES, ids=lambda packet: type(packet).__name__)
def test_replies(packet: Reply) -> None:
    data = packets.encoded(packet)
    assert packets.reply(data) == packet
    if not isinstance(packet, Meet):
        refused("bad-packet", lambda: packets.request(data))
    for size in range(len(data)):
        refused("bad-packet", partial(packets.reply, data[:size]))
    refused("bad-packet", lambda: packets.reply(data + b"\0"))


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    for parse in BOTH:
        assert reason_of(partial(parse, data)) in ("bad-packet", "wrong-version", "")


@given(st.binary(min_size=300, max_size=3000))
def test_many_random_bytes(data: bytes) -> None:
    for parse in BOTH:
        with pytest.raises(ProtocolError):
            parse(data)


@given(
    st.lists(
        st.builds(
            Parcel,
            st.binary(max_size=300),
            st.just(HOPS),
            st.integers(0, MAX_TIME),
            st.binary(max_size=300),
            st.binary(max_size=300),
            st.integers(0, MAX_COPIES),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, MAX_TIME),
)
def test_round_trip(parcels: list[Parcel], left: int) -> None:
    assert packets.request(packets.encoded(PushBundles(parcels))) == PushBundles(parcels)
    assert packets.reply(packets.encoded(Pulled(parcels, left))) == Pulled(parcels, left)


@pytest.mark.parametrize("version", [0, 2, 9, 127])
def test_another_version_is_told_whatever_follows(version: int) -> None:
    for parse in BOTH:
        for rest in (b"", b"\xff" * 9, packets.encoded(REQUESTS[0])[3:]):
            refused("wrong-version", partial(parse, bytes((0x96, 1, version)) + rest))
    refused("bad-packet", lambda: packets.request(msgpack.packb([1, 200, *RAW["meet"][2:]])))


@pytest.mark.parametrize(
    "value",
    [
        [1, 1, True, -1, True, []],
        [1, 1, True, MAX_TIME + 1, True, []],
        [1, 1, 1, 0, True, []],
        [1, 1, True, 0, True, [[bytes(32), -0.1]]],
        [1, 1, True, 0, True, [[bytes(32), math.inf]]],
        [1, 1, True, 0, True, [[bytes(32), math.nan]]],
        [1, 1, True, 0, True, [[bytes(33), 0.5]]],
        [1, 1, True, 0, True, [[bytes(32), 0.5]] * (MAX_TABLE + 1)],
        [2, bytes(MAX_DIFF + 1)],
        [4, []],
        [4, [RAW["parcel"]] * (MOST + 1)],
        [4, [[bytes(MAX_HEADER + 1), *RAW["parcel"][1:]]]],
        [4, [[b"", [RAW["hop"]] * (MAX_HOPS + 1), *RAW["parcel"][2:]]]],
        [4, [[b"", [[bytes(31), bytes(64)]], *RAW["parcel"][2:]]]],
        [4, [[b"", [[bytes(32), bytes(65)]], *RAW["parcel"][2:]]]],
        [4, [[b"", [], -1, b"", b"", 0]]],
        [4, [[b"", [], 0, bytes(64 * 1024 + 1), b"", 0]]],
        [4, [[b"", [], 0, b"", bytes(BLOCK + 1), 0]]],
        [4, [[b"", [], 0, b"", b"", MAX_COPIES + 1]]],
        [4, [[b"", [], 0, b"", b""]]],
        [5, bytes(15), 0, b"x"],
        [5, bytes(16), -1, b"x"],
        [5, bytes(16), MAX_CONTENT + 1, b"x"],
        [5, bytes(16), 0, b""],
        [5, bytes(16), 0, bytes(BLOCK + 1)],
        [6, []],
        [6, [[0, 0]] * (MOST + 1)],
        [6, [[12, 0]]],
        [6, [[0, MAX_CONTENT + 1]]],
        [7, []],
        [7, [bytes(16)] * (MOST + 1)],
        [8, [RAW["parcel"]] * (MOST + 1)],
        [9, bytes(17), 0],
        [10, bytes(BLOCK + 1)],
        [11, b""],
    ],
    ids=lambda value: str(value)[:30],
)
def test_bounds(value: list[Any]) -> None:
    for parse in BOTH:
        refused("bad-packet", partial(parse, msgpack.packb(value)))


def test_longer_than_any() -> None:
    data = packets.encoded(REQUESTS[1])
    for parse in BOTH:
        refused("bad-packet", partial(parse, data + bytes(MAX_PACKET)))


@pytest.mark.parametrize("start", ["92049", "920796", "9606", "96010101000101dd", "930494dd"])
def test_lists_that_say_they_are_long_cost_nothing(start: str) -> None:
    data = bytes.fromhex(start.ljust(8, "d")) + b"\xdd\x7f\xff\xff\xff" * 3
    tracemalloc.start()
    try:
        for parse in BOTH:
            with pytest.raises(ProtocolError):
                parse(data)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def test_a_packet_makes_few_times_its_bytes() -> None:
    """The dearest: 64 bundles with 64 hops each, in 431 KiB."""
    hop = RAW["hop"]
    data = msgpack.packb([4, [[b"", [hop] * MAX_HOPS, 0, b"", b"", 0]] * MOST])
    assert len(data) <= MAX_PACKET
    tracemalloc.start()
    try:
        assert packets.request(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()


def test_the_largest_parcels_fit() -> None:
    chain = [HOPS[0]] * MAX_HOPS
    small = Parcel(bytes(MAX_HEADER), chain, MAX_TIME, bytes(32), bytes(BLOCK), MAX_COPIES)
    large = Parcel(bytes(MAX_HEADER), chain, MAX_TIME, bytes(32 * blocks.count(MAX_CONTENT)), b"", MAX_COPIES)
    for parcel in (small, large):
        assert len(packets.encoded(parcel)) <= MAX_PARCEL
    assert packets.reply(packets.encoded(Pulled([large] * (MAX_PACKET // MAX_PARCEL))))


def test_which_answers_are_final() -> None:
    assert [say.name for say in Say if not say.final] == ["GO_ON", "FUTURE", "NO_ROOM", "RATE", "BUSY"]


# Another implementation's bytes.


@pytest.mark.parametrize(("group", "parse"), [("requests", packets.request), ("replies", packets.reply)])
def test_read_and_written_as_specified(group: str, parse: Parse) -> None:
    for case in [each.values[0] for each in cases("messenger", group)]:
        packet = parse(bytes.fromhex(case["hex"]))
        assert readable(packet) == case["packet"], case["name"]
        assert packets.encoded(packet).hex() == case["hex"], case["name"]


@pytest.mark.parametrize("case", cases("messenger", "invalidRequests"))
def test_requests_are_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: packets.request(unfolded(case["hex"])))


@pytest.mark.parametrize("case", cases("messenger", "invalidReplies"))
def test_replies_are_refused_as_specified(case: dict[str, Any]) -> None:
    refused(case["reason"], lambda: packets.reply(unfolded(case["hex"])))
