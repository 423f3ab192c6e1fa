"""Draw the picture of the README, docs/demo.svg, from a real run of ``mm demo``: ``make picture``.

Times, keys and numbers of processes are those of that run; tests/test_picture.py compares the rest with a run of today.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

PICTURE: Final = Path(__file__).parents[1] / "docs" / "demo.svg"

COLUMNS: Final = 84  # longer lines are cut
ADVANCE: Final = 8.2  # pixels from one character to the next
LEADING: Final = 19
MARGIN: Final = 16
BAR: Final = 34  # pixels of the title

FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PAPER, FRAME, TEXT, FAINT, STRONG, GOOD = "#0d1117", "#30363d", "#c9d1d9", "#8b949e", "#ffffff", "#7ee787"
LINE: Final = re.compile(r"(?P<time> *\d+\.\d s) {2}(?P<what>.{9}) (?P<details>.*)")


def run() -> list[str]:
    """Return what ``mm demo`` prints, the command first. Raises CalledProcessError."""
    command = [sys.executable, "-m", "mmplatform.cli", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return ["$ mm demo", *done.stdout.splitlines()]


def draw(lines: Sequence[str]) -> str:
    """Return the picture of a terminal with these lines."""
    width = round(2 * MARGIN + COLUMNS * ADVANCE)
    height = BAR + 2 * MARGIN + LEADING * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" font-size="13.5" role="img">',
        "<title>mm demo</title>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{PAPER}" stroke="{FRAME}"/>',
        f'<text x="{width / 2:.0f}" y="22" text-anchor="middle" fill="{FAINT}">mm demo</text>',
    ]
    parts += [_row(line, BAR + MARGIN + LEADING * number) for number, line in enumerate(lines)]
    return "\n".join([*parts, "</svg>", ""])


def told(picture: str) -> list[str]:
    """Return the lines of a picture as :func:`draw` was given them, but for what was cut."""
    rows = re.findall(r"<text [^>]*xml:space.*?</text>", picture)
    return [_unescaped(re.sub(r"<[^>]*>", "", row)) for row in rows]


def _row(line: str, y: int) -> str:
    shown = line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."
    found = LINE.fullmatch(shown)
    if found is None:
        spans = _span(shown, GOOD if shown.startswith("sent ") else STRONG)
    else:
        spans = _span(f"{found['time']}  ", FAINT) + _span(f"{found['what']} ", STRONG) + _span(found["details"], TEXT)
    return f'<text x="{MARGIN}" y="{y}" xml:space="preserve">{spans}</text>'


def _span(text: str, colour: str) -> str:
    return f'<tspan fill="{colour}">{escape(text)}</tspan>'


def _unescaped(text: str) -> str:
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


if __name__ == "__main__":
    PICTURE.write_text(draw(run()), "utf-8")
    print(PICTURE)
