"""The picture of the README: a real run of mm demo, which still looks like that."""

import re
from xml.etree import ElementTree

import pytest

from tools import picture


def shape(lines: list[str]) -> list[str]:
    """What is the same in every run: the steps, and the last line without its numbers. Progress comes as it comes."""
    steps = [found["what"].strip() for line in lines if (found := picture.LINE.fullmatch(line))]
    return [lines[0], *(step for step in steps if step != "progress"), re.sub(r"\d+", "N", lines[-1])]


def test_it_is_a_run_in_which_nothing_was_lost() -> None:
    text = picture.PICTURE.read_text("utf-8")
    ElementTree.fromstring(text)  # our own file
    assert "href" not in text
    lines = picture.told(text)
    assert lines[0] == "$ mm demo"
    assert re.fullmatch(r"sent (\d+), delivered \1, lost 0, duplicated 0, out of order 0", lines[-1])
    assert picture.draw(lines) == text


def test_what_is_long_is_cut_and_what_steers_is_written() -> None:
    drawn = picture.draw(["$ mm demo", f"  0.1 s  alice     <&> {'x' * 200}"])
    ElementTree.fromstring(drawn)
    line = picture.told(drawn)[1]
    assert (line[:23], len(line), line[-3:]) == ("  0.1 s  alice     <&> ", picture.COLUMNS, "...")


@pytest.mark.slow
def test_the_demo_still_looks_like_that() -> None:
    assert shape(picture.run()) == shape(picture.told(picture.PICTURE.read_text("utf-8")))
