"""What a request of a comparison may ask, and what it may not make us do."""

import pytest

from mm_services.messenger.protocol.id_ranges import PRINT
from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.reconcile import answer
from mm_services.messenger.protocol.reconcile_packets import MOST_PRINTS, Compare, Whole, request
from mmplatform.codec import encode
from mmplatform.errors import ProtocolError
from tests.support.id_stores import SALT, ids_of, joined

STORE = joined(ids_of(500))


def compare(depth: int, bits: int, ranges: list[int], prints: int | None = None, start: bytes = b"") -> bytes:
    count = len(ranges) << bits if prints is None else prints
    return encode(Compare(SALT, depth, bits, ranges, bytes(PRINT * count), start))


@pytest.mark.parametrize(
    "data",
    [
        compare(0, 0, []),
        compare(4, 0, [16]),  # no such range
        compare(4, 0, [1, 1]),  # hashed once, however often it is named
        compare(4, 0, [2, 1]),
        compare(4, 2, [1, 2], prints=7),
        compare(4, 2, [1, 2], prints=9),
        compare(4, 0, [1], start=b"\0"),
        compare(4, 0, [1], start=bytes(ID + 1)),
        compare(13, 0, [1]),
        compare(4, 9, [1], prints=512),
        compare(12, 8, list(range(33)), prints=33 * 256),
        compare(12, 8, list(range(4096)), prints=0),
        compare(-1, 0, [0]),
        encode(Whole(SALT, 13, bytes(PRINT))),
        encode(Whole(SALT[:-1], 3, bytes(PRINT))),
        encode(Whole(SALT, 3, bytes(PRINT + 1))),
    ],
)
def test_what_breaks_the_rules_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="bad-diff"):
        request(data)
    with pytest.raises(ProtocolError, match="bad-diff"):
        answer(STORE, data)


def test_the_largest_request_is_answered_within_its_cost() -> None:
    """Every range of the deepest split: our ids are hashed once, however many ranges there are."""
    answered = answer(STORE, compare(12, 1, list(range(4096))))
    assert answered.cost == 2 * len(STORE) + 128 * MOST_PRINTS
    ranges = range(0, 4096, 128)
    assert answer(STORE, compare(12, 8, list(ranges))).cost <= 2 * len(STORE) + 128 * MOST_PRINTS


def test_each_cut_off_request_is_refused() -> None:
    whole = compare(3, 1, [0, 5], start=bytes(ID))
    for end in range(len(whole)):
        with pytest.raises(ProtocolError, match="bad-diff"):
            request(whole[:end])
    with pytest.raises(ProtocolError, match="bad-diff"):
        request(whole + b"\0")
