"""What README begins with: three sentences, a picture, how to install, ten lines, others in a table, and links."""

import re
from typing import Final

import pytest

from tests.support.documents import ROOT, blocks

PAGE: Final = ROOT / "README.rst"
TEXT: Final = PAGE.read_text("utf-8")


def test_three_sentences_and_a_picture_come_first() -> None:
    head, first, picture, *_ = TEXT.split("\n\n")
    assert head == "mm-platform\n==========="
    assert len(re.findall(r"[.!?](?:\s|$)", first)) == 3
    assert picture.startswith(".. image:: docs/demo.svg")


def test_its_parts_stand_in_this_order() -> None:
    titles = re.findall(r"^(.+)\n-{4,}$", TEXT, re.MULTILINE)
    assert titles == ["Install", "Ten lines", "Beside others", "Set up a checkout", "Links"]


def test_ten_lines_are_ten() -> None:
    [program] = [block for block in blocks(PAGE) if block.language == "python"]
    assert len([line for line in program.code.splitlines() if line.strip()]) == 10


def test_others_are_compared_in_one_table_and_no_row_says_that_a_thing_works_today() -> None:
    tables = re.findall(r"^\.\. list-table::\n(?:(?: .*)?\n)+", TEXT, re.MULTILINE)
    assert len(tables) == 1
    rows = re.findall(r"^   \* - (.*)$", tables[0], re.MULTILINE)
    others = ("iroh", "libp2p", "Reticulum", "Zenoh", "NATS", "MQTT")
    assert rows[0] == "mm-platform"
    assert [name for name in others if not any(name in row for row in rows)] == []
    assert not re.search(r"\btoday\b|^ +- yes$", tables[0], re.IGNORECASE | re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"<(?!https?:)([^ >]+)>`__", TEXT))))
def test_what_it_links_to_is_there(target: str) -> None:
    assert (ROOT / target).exists()
