"""What the chat says and takes: within bounds, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.chat import payloads
from mm_services.messenger.chat.payloads import MAX_FILE, MAX_NAME, MAX_TEXT, ChatFile, ChatPing, ChatPong, ChatText
from mm_services.messenger.protocol.content import padded
from mm_services.messenger.protocol.limits import MAX_CONTENT

SOUND = [
    (payloads.text("hi"), ChatText("hi")),
    ("hi", ChatText("hi")),
    ({"text": "hi", "later": 1}, ChatText("hi")),
    (payloads.file("a.jpg", b"\x00"), ChatFile("a.jpg", b"\x00")),
    (payloads.ping("1f"), ChatPing("1f")),
    (payloads.pong(ChatPing("1f"), 3), ChatPong("1f", 3)),
]
UNSOUND = [
    None, 1, b"hi", [], {}, {"text": 1}, {"text": b"hi"}, {"file": "a"}, {"file": {"name": "a"}},
    {"file": {"name": 1, "data": b""}}, {"file": {"name": "a", "data": "text"}}, {"ping": ""}, {"ping": "x" * 65},
    {"ping": 1}, {"pong": "x"}, {"pong": "x", "hops": -1}, {"pong": "x", "hops": 1 << 40},
    {"pong": "x" * 65, "hops": 1},
    {"pong": "x", "hops": "1"}, {"file": {"name": "a", "data": bytes(MAX_FILE + 1)}},
]  # fmt: skip
words = st.sampled_from(["text", "file", "ping", "pong", "hops", "name", "data"])
values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
)


@pytest.mark.parametrize(("payload", "said"), SOUND)
def test_what_is_said_is_taken(payload: Any, said: Any) -> None:
    assert payloads.parse(payload) == said


@pytest.mark.parametrize("payload", UNSOUND)
def test_what_is_nothing_of_the_chat_is_none(payload: Any) -> None:
    assert payloads.parse(payload) is None


def test_long_texts_and_names_are_cut_and_said_to_be() -> None:
    said = payloads.parse({"text": "x" * (MAX_TEXT + 1)})
    assert said == ChatText("x" * MAX_TEXT, MAX_TEXT + 1)
    assert payloads.parse({"text": "x" * MAX_TEXT}) == ChatText("x" * MAX_TEXT, 0)
    assert payloads.parse(payloads.file("n" * 5000, b"")) == ChatFile("n" * MAX_NAME, b"")


@given(values)
def test_whatever_comes_is_something_or_none(payload: Any) -> None:
    said = payloads.parse(payload)
    assert said is None or isinstance(said, ChatText | ChatFile | ChatPing | ChatPong)


def test_the_largest_file_fits_into_a_bundle() -> None:
    """Sealed to as many as there can be: 17 bytes for each 64 KiB, 48 for each recipient, and the beginning."""
    plain = padded(MAX_FILE + 8 * 1024)
    assert plain + 17 * (plain // 65536 + 1) + 48 * 256 + 1024 <= MAX_CONTENT
