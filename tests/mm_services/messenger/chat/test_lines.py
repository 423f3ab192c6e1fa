"""Records of the history: what is written is read, what is damaged is none, and nothing in them steers a terminal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.chat import lines
from mm_services.messenger.chat.lines import MARKS, OURS, STATES, ChatLine, LineState

BOB = "b" * 43 + "="
LINE = ChatLine(1.5, BOB, "hi", "9c", 2, 3.25, "/tmp/a.jpg")


words = st.text(max_size=40)


@given(st.builds(ChatLine, st.floats(0, 2e9), st.just(BOB), words, words, st.integers(0, 99), st.floats(0, 9e9)))
def test_a_line_is_read_as_it_was_written(line: ChatLine) -> None:
    record = lines.line_record("*", line)
    assert record.isascii()
    assert record.index(b"\n") == len(record) - 1
    assert not any(byte < 0x20 for byte in record[:-1])
    fields = lines.parsed(record[:-1])
    assert fields is not None
    assert fields["in"] == "*"
    assert lines.line_of(fields) == line


def test_records_are_small_and_for_people() -> None:
    assert (
        lines.line_record(BOB, ChatLine(1.5, OURS, "hi")) == f'{{"in":"{BOB}","at":1.5,"by":"","text":"hi"}}\n'.encode()
    )
    assert lines.state_record(BOB, 312, LineState.CARRIED, message_id="9c") == (
        f'{{"in":"{BOB}","back":312,"state":"carried","id":"9c"}}\n'.encode()
    )
    assert lines.line_of(lines.parsed(lines.line_record("*", LINE)) or {}) == LINE


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"\xff", b'{"in":"*"', b"[" * 100_000, b'{"a":NaN', '{"ü":1}'.encode()]
)
def test_what_is_damaged_is_none(data: bytes) -> None:
    assert lines.parsed(data) is None


@pytest.mark.parametrize(
    "changed",
    [{"at": "now"}, {"by": None}, {"text": 1}, {"id": 1}, {"hops": "2"}, {"hops": True}, {"age": "1"}, {"file": []}],
)
def test_fields_of_other_kinds_are_no_line(changed: dict[str, Any]) -> None:
    fields = json.loads(lines.line_record("*", LINE)) | changed
    assert lines.line_of(fields) is None


def test_members_are_texts() -> None:
    assert lines.members_of({"members": [BOB]}) == (BOB,)
    for members in (None, BOB, [1], {"a": 1}):
        assert lines.members_of({"members": members}) == ()


def test_every_state_has_a_mark_and_a_word() -> None:
    assert MARKS.keys() == set(LineState)
    assert len(set(MARKS.values())) == len(LineState)
    assert set(STATES) == {"unsaved", "refused", "waiting", "carried", "failed", "received", "read"}
