"""Rows of a window: nothing is lost but the spaces between, and none is too wide."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import get_character_cell_size

from mm_services.messenger.chat.window.wrapping import LEAST, breaks, rows


def cells(text: str) -> int:
    return sum(map(get_character_cell_size, text))


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("0123456789", ["0123456789"]),
        ("0123456789a", ["0123456789", "a"]),
        ("one two three", ["one two", "three"]),
        ("one two threefour", ["one two", "threefour"]),
        ("a 0123456789abcdef", ["a 01234567", "89abcdef"]),
        ("0123456789 a", ["0123456789", "a"]),
        ("文件文件文件", ["文件文件文", "件"]),
        ("文件 文件文件", ["文件 文件", "文件"]),
    ],
)
def test_rows_of_ten(text: str, broken: list[str]) -> None:
    assert [text[start:end] for start, end in breaks(text, 10)] == broken


@given(st.text(st.sampled_from("ab  文é😀\u0301"), max_size=200), st.integers(LEAST, 40))
def test_nothing_is_lost_and_nothing_is_too_wide(text: str, width: int) -> None:
    found = breaks(text, width)
    assert all(cells(text[start:end]) <= width for start, end in found)
    between = [text[end:begin] for (_, end), (begin, _) in itertools.pairwise(found)]
    assert all(gap in ("", " ") for gap in between)
    assert (found[0][0], found[-1][1]) == (0, len(text))


@given(st.lists(st.tuples(st.text("ab ", max_size=15), st.sampled_from(["time", "name", "text"])), max_size=5))
def test_parts_keep_what_they_are(parts: list[tuple[str, str]]) -> None:
    whole = "".join(kind[0] * len(text) for text, kind in parts)
    text = "".join(text for text, _ in parts)
    for row, (start, end) in zip(rows(parts, 10), breaks(text, 10), strict=True):
        assert "".join(piece for piece, _ in row) == text[start:end]
        assert "".join(kind[0] * len(piece) for piece, kind in row) == whole[start:end]


def test_a_window_without_room_ends() -> None:
    assert [text for ((text, _),) in rows([("0123456789", "text")], 0)] == ["01234567", "89"]
