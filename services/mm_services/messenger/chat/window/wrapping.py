"""Breaks a line into rows of a window, which are as wide as so many cells of a terminal. Pure."""

from collections.abc import Sequence
from typing import Final

from rich.cells import get_character_cell_size

Parts = Sequence[tuple[str, str]]  # texts, each with what it is

LEAST: Final = 8  # cells; a window that is narrower shows rows of so many, and cuts them


def rows(parts: Parts, width: int) -> list[list[tuple[str, str]]]:
    """Return the parts in rows of at most ``width`` cells, broken between words where there are any."""
    text = "".join(text for text, _ in parts)
    return [_between(parts, start, end) for start, end in breaks(text, max(width, LEAST))]


def breaks(text: str, width: int) -> list[tuple[int, int]]:
    """Return where each row of ``text`` begins and ends; a space at which it is broken is in none."""
    found: list[tuple[int, int]] = []
    start = 0
    while True:
        end = _fitting(text, start, width)
        if end >= len(text):
            return [*found, (start, len(text))]
        space = text.rfind(" ", start + width // 3, end + 1)
        if space > start:
            found.append((start, space))
            start = space + 1
        else:
            found.append((start, end))
            start = end


def _fitting(text: str, start: int, width: int) -> int:
    """Return where a row that begins at ``start`` is full."""
    if text.isascii():
        return start + width
    cells, at = 0, start
    while at < len(text):
        cells += get_character_cell_size(text[at])
        if cells > width:
            return max(at, start + 1)
        at += 1
    return at


def _between(parts: Parts, start: int, end: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    for text, kind in parts:
        piece = text[max(start - at, 0) : max(end - at, 0)]
        if piece:
            found.append((piece, kind))
        at += len(text)
    return found
