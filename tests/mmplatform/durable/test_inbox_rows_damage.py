"""Rows of the inbox: what is kept is read again, and a damaged row is a CodecError or no key, never anything else."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.wire import OVERHEAD
from mmplatform.durable.inbox_rows import (
    FAILED,
    HELD,
    MAX_ERROR,
    InboxMessage,
    decode_message,
    encode_message,
    parse_key,
    topic_prefix,
)
from mmplatform.errors import CodecError

PEER = "A" * 43 + "="
numbers = st.integers(0, 2**53 - 1)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
topics = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
kept = st.builds(
    InboxMessage, st.just(PEER), st.integers(0, 3), numbers, numbers, topics, names, st.binary(max_size=20), numbers,
    numbers, st.booleans(), st.text(max_size=10),
)  # fmt: skip


@given(kept, numbers)
def test_what_is_kept_is_read_again(message: InboxMessage, number: int) -> None:
    key = message.key(number)
    assert parse_key(key.encoded) == key
    assert (key.number, key.size) == (number, len(message.payload) + OVERHEAD)
    assert key.encoded.startswith(
        topic_prefix(FAILED if message.error else HELD, PEER, message.protocol, message.topic)
    )
    assert decode_message(key, encode_message(message)) == message


@given(kept, st.lists(numbers, min_size=2, max_size=5, unique=True))
def test_keys_of_a_topic_sort_as_its_messages_came(message: InboxMessage, numbers_of: list[int]) -> None:
    held = message._replace(error="")
    assert [parse_key(key) for key in sorted(held.key(number).encoded for number in numbers_of)] == [
        held.key(number) for number in sorted(numbers_of)
    ]


@given(kept, kept)
def test_no_topic_begins_with_another(one: InboxMessage, other: InboxMessage) -> None:
    """``chat`` is no prefix of ``chat.room``, and none of protocol and topic runs into the other."""
    prefixes = [topic_prefix(HELD, PEER, message.protocol, message.topic) for message in (one, other)]
    same = (one.protocol, one.topic) == (other.protocol, other.topic)
    assert prefixes[0].startswith(prefixes[1]) == same


@pytest.mark.parametrize(("error", "noted"), [("", "failed"), ("x" * 2000, "x" * MAX_ERROR)])
def test_a_failed_message_is_told_and_has_an_error(error: str, noted: str) -> None:
    message = InboxMessage(PEER, 2, 7, 1, "chat", "ms", b"", 5, 1).among_failed(error)
    assert (message.error, message.told) == (noted, True)
    assert message.key(1).prefix == FAILED
    assert message.among_waiting(9).key(1).prefix == HELD


@given(st.sampled_from([HELD, FAILED, b"kept/", b""]), st.binary(max_size=120))
def test_foreign_keys_are_told_from_good_ones(prefix: bytes, rest: bytes) -> None:
    found = parse_key(prefix + rest)
    assert found is None or found.encoded == prefix + rest


@given(kept, st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_of_a_key_is_no_other_error(message: InboxMessage, position: int, value: int) -> None:
    key = bytearray(message.key(1).encoded)
    key[position % len(key)] = value
    parse_key(bytes(key))


@given(kept, st.binary(max_size=100))
def test_foreign_values_are_codec_errors(message: InboxMessage, value: bytes) -> None:
    with suppress(CodecError):
        decode_message(message.key(1), value)
