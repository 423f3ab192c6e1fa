"""What may be said: every item, its tag, and bounds that hold before anything else looks at it."""

import re
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.relay.protocol import items
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.codec import encode
from mmplatform.errors import ProtocolError
from mmplatform.session.envelope import MAX_ENVELOPE
from mmplatform.session.packets import MAX_FRAME
from tests.support.relay_values import ANY_ITEM, ITEMS, SAID
from tests.support.vectors import VECTORS

KEY, ID, SIGNATURE = bytes(32), bytes(16), bytes(64)


def refused(value: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_items(encode([value]))
    assert caught.value.reason == "bad-item"


def test_every_item_has_a_strategy_here_and_a_tag_of_its_own() -> None:
    kinds = typing.get_args(items.Item)
    assert set(ITEMS) == set(kinds)
    assert set(SAID) == set(typing.get_args(items.Forwardable))
    assert sorted(kind.__struct_config__.tag for kind in kinds) == list(range(20))


def test_the_specification_lists_every_item_and_its_fields() -> None:
    spec = (VECTORS.parent / "relay.rst").read_text()
    rows = re.findall(r"^   \* - ([0-9, ]+)\n     - (.+)\n     - .+\n     - (.+)$", spec, re.M)
    listed = {}
    for tags, names, fields in rows:
        for tag, name in zip(tags.split(", "), names.split(", "), strict=True):
            listed[int(tag)] = (name, re.sub(r" \([^)]*\)", "", fields).split(", "))
    assert sorted(listed) == list(range(20))
    for kind in typing.get_args(items.Item):
        name, fields = listed[kind.__struct_config__.tag]
        assert name == kind.__name__
        assert len(fields) == len(kind.__struct_fields__)
        assert sum("=" in field for field in fields) == len(kind.__struct_defaults__)
    for limit in (items.MAX_FRAME, items.MAX_MAIL, items.MAX_ITEMS, items.MAX_MESSAGE, items.VERSION):
        assert str(limit) in spec


@given(st.lists(ANY_ITEM, max_size=10))
def test_round_trip(batch: list[Any]) -> None:
    assert decode_items(encode_items(batch)) == batch


@given(ANY_ITEM)
def test_a_later_version_may_add_fields_and_omit_none(item: Any) -> None:
    fields = [getattr(item, name) for name in item.__struct_fields__]
    tag, needed = item.__struct_config__.tag, len(fields) - len(type(item).__struct_defaults__)
    assert decode_items(encode([[tag, *fields, "more", 1]])) == [item]
    refused([tag, *fields[: needed - 1]]) if needed else None


def test_sizes_agree_with_what_is_carried() -> None:
    assert items.MAX_FRAME == MAX_FRAME
    assert items.MAX_MAIL == MAX_ENVELOPE
    largest = items.Forwarded(KEY, KEY, items.Deposit(KEY, ID, 2**53 - 1, bytes(items.MAX_MAIL), "a" * 256))
    assert decode_items(encode_items([largest])) == [largest]
    full = [items.Noted(2**53 - 1)] * items.MAX_ITEMS
    assert decode_items(encode_items(full)) == full  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_have_32_bytes(size: int) -> None:
    key = bytes(size)
    for value in (
        [0, key, KEY, ""], [0, KEY, key, ""], [1, key, KEY, SIGNATURE], [1, KEY, key, SIGNATURE], [4, key, 1, b""],
        [5, key, 1, b""], [6, key, 1, ""], [7, key], [8, key], [9, key], [10, key, ID, 1, b""], [11, key, ID, 1],
        [12, key, ID, ""], [13, key], [14, 1, key, ID, ""], [16, 1, key, b""], [18, key, KEY, [7, KEY]],
        [18, KEY, key, [7, KEY]], [18, KEY, KEY, [7, key]],
    ):  # fmt: skip
        refused(value)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_ids_have_16_bytes(size: int) -> None:
    for value in (
        [10, KEY, bytes(size), 1, b""], [11, KEY, bytes(size), 1], [12, KEY, bytes(size), ""],
        [14, 1, KEY, bytes(size), ""],
    ):  # fmt: skip
        refused(value)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_signatures_have_64_bytes(size: int) -> None:
    refused([1, KEY, KEY, bytes(size)])
    refused([2, bytes(size), 1, [0] * 11])


@pytest.mark.parametrize("number", [-1, 2**53, 2**64 - 1, 1.5, True, None, "1", b"1"])
def test_numbers_are_below_two_to_53(number: Any) -> None:
    for value in (
        [1, KEY, KEY, SIGNATURE, number], [2, SIGNATURE, number, [0] * 11], [2, SIGNATURE, 1, [0] * 10 + [number]],
        [3, "", number], [4, KEY, number, b""], [5, KEY, number, b""], [6, KEY, number, ""], [10, KEY, ID, number, b""],
        [11, KEY, ID, number], [12, KEY, ID, "", number], [14, number, KEY, ID, ""], [15, number],
        [16, number, KEY, b""], [17, [number]],
    ):  # fmt: skip
        refused(value)


@pytest.mark.parametrize(
    "value",
    [
        [0, KEY, KEY, "n" * 256],
        [1, KEY, KEY, SIGNATURE, 1, "a" * 257],
        [3, "r" * 201],
        [4, KEY, 1, bytes(items.MAX_FRAME + 1)],
        [4, KEY, 1, b"", "a" * 257],
        [5, KEY, 1, bytes(items.MAX_FRAME + 1)],
        [6, KEY, 1, "r" * 201],
        [10, KEY, ID, 1, bytes(items.MAX_MAIL + 1)],
        [10, KEY, ID, 1, b"", "a" * 257],
        [12, KEY, ID, "r" * 201],
        [14, 1, KEY, ID, "r" * 201],
        [16, 1, KEY, bytes(items.MAX_MAIL + 1)],
        [17, [1] * (items.MAX_ITEMS + 1)],
        [18, KEY, KEY, [10, KEY, ID, 1, bytes(items.MAX_MAIL + 1)]],
        [19, "a" * 257],
    ],
)
def test_what_is_too_long(value: Any) -> None:
    refused(value)


@pytest.mark.parametrize("inner", [[0, KEY, KEY, ""], [16, 1, KEY, b""], [17, []], [18, KEY, KEY, [7, KEY]], [3, ""]])
def test_what_is_never_carried(inner: Any) -> None:
    refused([18, KEY, KEY, inner])


@pytest.mark.parametrize(
    "value", [[], [20], [-1], ["4"], [None], {}, None, 4, "4", b"4", [[7, KEY]], [2, SIGNATURE, 1, []]]
)
def test_what_is_no_item(value: Any) -> None:
    refused(value)
