"""The words of others, escaped: what steers a terminal, forges a line or hides in one is shown, all else stays."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.text import LONGEST, escaped, printable, printable_json, quoted, some

ANYTHING = st.text(st.characters(), max_size=60)  # surrogates, too


def harmful(text: str) -> list[str]:
    """Return what a terminal would obey, or would not show, in ``text``."""
    steering = {
        "\u200e",
        "\u200f",
        "\u061c",
        "\u200b",
        "\ufeff",
        *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    }
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in steering]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain words: ä 漢 👩‍💻 می‌خواهم", "plain words: ä 漢 👩‍💻 می‌خواهم"),
        ("gone\n2026-01-01 INFO forged", "gone\\n2026-01-01 INFO forged"),
        ("\x1b[2J\r\t\0\a\b\x7f", "\\x1b[2J\\r\\t\\x00\\x07\\x08\\x7f"),
        ("\x9b2J\x85\x80", "\\x9b2J\\x85\\x80"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u202egnp.exe\u2066\u2069", "\\u202egnp.exe\\u2066\\u2069"),
        ("\u200e\u200f\u061c", "\\u200e\\u200f\\u061c"),
        ("b\u200bob\ufeff\u2060", "b\\u200bob\\ufeff\\u2060"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        (ValueError("two\nlines"), "two\\nlines"),
        (None, "None"),
    ],
)
def test_what_others_say_is_one_line_and_steers_no_terminal(said: object, shown: str) -> None:
    assert escaped(said) == shown


def test_what_others_say_is_cut() -> None:
    assert escaped("x" * 100_000) == "x" * LONGEST + "..."
    assert escaped("x" * 100_000, 7) == "xxxxxxx..."


@given(ANYTHING)
def test_nothing_harmful_is_left_and_twice_is_once(text: str) -> None:
    assert harmful(printable(text)) == []
    assert printable(printable(text)) == printable(text)


@given(ANYTHING)
def test_a_json_text_stands_for_the_same_value(text: str) -> None:
    shown = printable_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert harmful(shown) == []
    assert shown.encode() == shown.encode(errors="replace")
    assert _joined(str(json.loads(shown))) == _joined(str({text: [text]}))


def _joined(text: str) -> str:
    """Two surrogates that make one character: JSON knows no difference."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_what_was_passed_is_quoted_up_to_a_bound() -> None:
    assert quoted("it's") == '"it\'s"'
    assert quoted(7) == "7"
    assert quoted("\u202e") == "'\\u202e'"
    assert quoted("x" * 5000) == f"'{'x' * 100}'... (5000 characters)"


def test_some_of_many_names_are_listed() -> None:
    assert some(["b", "a"]) == "a, b"
    assert some(map(str, range(10, 1034)), 2) == "10, 100, and 1,022 more"
