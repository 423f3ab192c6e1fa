"""The bytes of a relay connection: another implementation's, random ones, and more than there may be."""

import tracemalloc
from contextlib import suppress
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.relay.protocol.items import MAX_ITEMS, MAX_MESSAGE, Data, Noted
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.errors import ProtocolError
from tests.support.relay_values import ANY_ITEM
from tests.support.vectors import cases, readable


def refused(message: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_items(message)
    assert caught.value.reason == "bad-item"


@pytest.mark.parametrize("case", cases("relay", "messages"))
def test_messages_are_read_and_written_as_specified(case: dict[str, Any]) -> None:
    batch = decode_items(bytes.fromhex(case["hex"]))
    assert readable(batch) == case["items"]
    if not case.get("readOnly"):
        assert encode_items(batch).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("relay", "invalidMessages"))
def test_invalid_messages_are_refused_with_their_reason(case: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_items(bytes.fromhex(case["hex"]) + bytes(case.get("zeros", 0)))
    assert caught.value.reason == case["reason"]


@given(st.binary(max_size=400))
def test_random_bytes_are_items_or_refused(data: bytes) -> None:
    with suppress(ProtocolError):  # anything else is a bug
        assert isinstance(decode_items(data), list)


@given(st.lists(ANY_ITEM, min_size=1, max_size=3), st.data())
def test_a_cut_or_longer_message_is_refused(batch: list[Any], data: st.DataObject) -> None:
    message = encode_items(batch)
    refused(message[: data.draw(st.integers(0, len(message) - 1))])
    refused(message + b"\0")


@given(st.lists(ANY_ITEM, max_size=3))
def test_any_messagepack_library_reads_it(batch: list[Any]) -> None:
    assert readable(msgpack.unpackb(encode_items(batch))) == readable(batch)


def test_no_more_items_than_there_may_be() -> None:
    assert len(decode_items(encode_items([Noted(1)] * MAX_ITEMS))) == MAX_ITEMS
    refused(encode_items([Noted(1)] * (MAX_ITEMS + 1)))


def test_no_longer_message_than_there_may_be() -> None:
    pieces = [Data(bytes(32), 1, bytes(256 * 1024))] * 7
    room = MAX_MESSAGE - len(encode_items([*pieces, Data(bytes(32), 1, bytes(200_000))]))
    assert len(decode_items(encode_items([*pieces, Data(bytes(32), 1, bytes(200_000 + room))]))) == 8
    refused(encode_items([*pieces, Data(bytes(32), 1, bytes(200_001 + room))]))


def test_many_small_items_cost_no_memory_before_they_are_refused() -> None:
    message = b"\xdd\x00\x0f\x00\x00" + b"\x92\x0f\x01" * (960 * 1024 // 2)
    tracemalloc.start()
    refused(message)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
