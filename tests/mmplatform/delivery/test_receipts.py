"""Receipts: what is told is read again, and nothing but a CodecError comes out of foreign bytes."""

from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.receipts import MAX_ENTRIES, MAX_RECEIPT, Entry, decode_receipt, encode_receipts
from mmplatform.delivery.wire import End
from mmplatform.errors import CodecError

FINAL = [End.DELIVERED, End.EXPIRED, End.FAILED, End.REFUSED]

ends: st.SearchStrategy[tuple[int, int, int, End, str]] = st.tuples(
    st.integers(0, 3), st.integers(1, 3), st.integers(1, 40), st.sampled_from(FINAL), st.sampled_from(["", "no", "é"])
)
fields = st.one_of(st.integers(-1, 2**53), st.text(max_size=3), st.binary(max_size=3), st.none(), st.booleans())
entries = st.lists(st.one_of(fields, st.lists(fields, max_size=8)), max_size=3)


@given(st.lists(ends, unique_by=lambda end: end[:3]))
def test_what_is_told_is_read_again(told: list[tuple[int, int, int, End, str]]) -> None:
    ended = [(lane, epoch, seq, seq, end, text) for lane, epoch, seq, end, text in told]
    read = [entry for payload in encode_receipts(ended) for entry in decode_receipt(payload)]
    spread = [
        (lane, epoch, seq, end, text) for lane, epoch, low, high, end, text in read for seq in range(low, high + 1)
    ]
    assert spread == sorted(told)


def test_neighbours_that_ended_alike_share_an_entry() -> None:
    [payload] = encode_receipts([(2, 7, seq, seq + 1, End.DELIVERED, "") for seq in range(1, 100_001, 2)])
    assert decode_receipt(payload) == [(2, 7, 1, 100_000, End.DELIVERED, "")]


def test_more_ends_than_an_entry_list_holds_are_several_receipts() -> None:
    told: list[Entry] = [(2, 7, 2 * n, 2 * n, End.FAILED, "é" * 60) for n in range(1, MAX_ENTRIES + 2)]
    first, second = encode_receipts(told)
    assert (len(decode_receipt(first)), len(decode_receipt(second))) == (MAX_ENTRIES, 1)


def test_a_receipt_that_is_too_large_is_refused() -> None:
    with pytest.raises(CodecError):
        decode_receipt(msgpack.packb([]) + bytes(MAX_RECEIPT))


@pytest.mark.parametrize("end", FINAL)
def test_a_message_that_is_kept_has_not_ended(end: End) -> None:
    entry = [2, 7, 1, 1, end, ""]
    assert len(decode_receipt(msgpack.packb([entry]))) == 1
    with pytest.raises(CodecError, match="not ended"):
        decode_receipt(msgpack.packb([entry, [2, 7, 2, 2, End.KEPT, ""]]))


@given(st.binary(max_size=200))
def test_foreign_bytes(data: bytes) -> None:
    with suppress(CodecError):
        decode_receipt(data)


@given(entries)
def test_foreign_values(value: object) -> None:
    with suppress(CodecError):
        for lane, epoch, low, high, end, text in decode_receipt(msgpack.packb(value)):
            assert lane <= 3
            assert max(epoch, low, high) < 2**53
            assert end in FINAL
            assert len(text) <= 200


def test_long_texts_are_told_in_receipts_that_can_be_read() -> None:
    told: list[Entry] = [
        (2, 7, seq, seq, End.FAILED, f"{seq:04}" + "\N{PILE OF POO}" * 195) for seq in range(1, 3 * MAX_ENTRIES)
    ]
    payloads = encode_receipts(told)
    assert max(map(len, payloads)) <= MAX_RECEIPT
    assert [entry[2] for payload in payloads for entry in decode_receipt(payload)] == [end[2] for end in told]
    assert encode_receipts([]) == []


def test_a_range_that_ends_before_it_begins_is_no_receipt() -> None:
    """It would cut what is known into ranges that overlap, more with each."""
    with pytest.raises(CodecError):
        decode_receipt(msgpack.packb([[2, 7, 9, 3, End.REFUSED, ""]]))
