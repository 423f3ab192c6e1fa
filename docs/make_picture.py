"""Draws docs/architecture.svg from docs/architecture.txt; ``--check`` fails when the file on disk is another.

The same text gives the same bytes: nothing but the text decides where a box or an arrow is.
"""

import argparse
import sys
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

TEXT: Final = Path(__file__).with_name("architecture.txt")
PICTURE: Final = Path(__file__).with_name("architecture.svg")

WIDTH: Final = 960
MARGIN: Final = 16
GAP: Final = 36  # between two boxes, and
ROW_GAP: Final = 44  # between two rows
LINE: Final = 17
PADDING: Final = 10

HEAD: Final = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" role="img">
<title>The house: what calls what, from your program down to the network</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>"""


class Box(NamedTuple):
    """``lines``: where it stands, then what it is."""

    name: str
    lines: tuple[str, ...]
    left: float
    top: float
    width: float
    height: float
    row: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when the picture differs")
    check = parser.parse_args().check
    drawn = draw(TEXT.read_text("utf-8"))
    if not check:
        PICTURE.write_text(drawn, "utf-8")
    elif not PICTURE.exists() or PICTURE.read_text("utf-8") != drawn:
        print(f"{PICTURE.name} is not what {Path(__file__).name} draws", file=sys.stderr)
        return 1
    return 0


def draw(text: str) -> str:
    """The picture. Raises ValueError for an arrow from or to no box, or over a row."""
    rows, arrows = parse(text)
    boxes, height = place(rows)
    parts = [HEAD.format(width=WIDTH, height=round(height))]
    parts += [arrow_of(boxes, *arrow) for arrow in arrows]
    parts += [box_of(box) for box in boxes.values()]
    return "\n".join([*parts, "</svg>", ""])


def parse(text: str) -> tuple[list[list[list[str]]], list[tuple[str, str]]]:
    """Rows of boxes, each a list of its parts; and the arrows."""
    rows: list[list[list[str]]] = [[]]
    arrows: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if " -> " in line:
            start, _, end = line.partition(" -> ")
            arrows.append((start.strip(), end.strip()))
        elif line.strip():
            rows[-1].append([part.strip() for part in line.split("|")])
        elif rows[-1]:
            rows.append([])
    return [row for row in rows if row], arrows


def place(rows: list[list[list[str]]]) -> tuple[dict[str, Box], float]:
    """Every box by name, and the height of all."""
    boxes: dict[str, Box] = {}
    top: float = MARGIN
    for number, row in enumerate(rows):
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        height = 2 * PADDING + LINE * max(len(parts) - 1 for parts in row)
        for column, (name, *lines) in enumerate(row):
            left = MARGIN + column * (width + GAP)
            boxes[name] = Box(name, tuple(lines), left, top, width, height, number)
        top += height + ROW_GAP
    return boxes, top - ROW_GAP + MARGIN


def box_of(box: Box) -> str:
    fill = "#eef4fb" if box.lines[0].startswith("mmplatform") else "#f6f1e7"
    parts = [
        f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" '
        f'fill="{fill}" stroke="#57606a"/>'
    ]
    for number, line in enumerate(box.lines):
        y = box.top + PADDING + LINE * number + 13
        weight = "" if number else ' font-weight="bold"'
        parts.append(
            f'<text x="{box.left + box.width / 2:.1f}" y="{y:.1f}" text-anchor="middle" fill="#1f2328"{weight}>'
            f"{escape(line)}</text>"
        )
    return "\n".join(parts)


def arrow_of(boxes: dict[str, Box], start: str, end: str) -> str:
    """From the lower edge to the upper one in the next row, or to the neighbour on the right."""
    try:
        a, b = boxes[start], boxes[end]
    except KeyError as error:
        raise ValueError(f"{start} -> {end}: there is no box {error}") from None
    if a.row == b.row:
        ends = a.left + a.width, a.top + a.height / 2, b.left, b.top + b.height / 2
    elif b.row == a.row + 1:
        x1, x2 = a.left + a.width / 2, b.left + b.width / 2
        lean = (x2 - x1) / WIDTH  # arrows that share an end do not share the point
        ends = x1 + lean * a.width / 2, a.top + a.height, x2 - lean * b.width / 2, b.top
    else:
        raise ValueError(f"{start} -> {end}: an arrow leads to the row below, or to the right")
    coordinates = " ".join(f'{name}="{value:.1f}"' for name, value in zip(("x1", "y1", "x2", "y2"), ends, strict=True))
    return f'<line {coordinates} stroke="#57606a" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    sys.exit(main())
