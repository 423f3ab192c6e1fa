"""How commands speak: results on stdout, everything else on stderr, with ``--json`` one JSON object a line.

All that commands write passes here, and has no control character but the line ends written here and the colours of
mm itself: whatever others have sent steers no terminal, and forges no line.
"""

import base64
import errno
import json
import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, Final

import click

from mmplatform.cli.terminal import has_colours, is_terminal
from mmplatform.text import printable, printable_json

GAP: Final = 2  # columns between two of a table
NARROW: Final = 80  # columns below which a table that does not fit becomes blocks
LEAST_WIDTH: Final = 16

_lastly: Final[list[str]] = []


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get("MM_DEBUG", "") not in ("", "0")


def jsonable(value: Any) -> Any:
    """What JSON has no form for: bytes become {"base64": ...}, the rest text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


def to_json(value: Any) -> str:
    """One line, and the characters that steer a terminal as JSON escapes them.

    JSON has no NaN and no infinity, which become null, with a note, and no keys but texts.
    """
    try:
        text = _dumped(value)
    except TypeError:  # a key
        return to_json(_with_text_keys(value))
    except ValueError:
        note("a number that is not finite is shown as null: JSON has no form for it", once=True)
        text = _dumped(_finite(value))
    return printable_json(text)


def emit(value: dict[str, Any], *, err: bool = False) -> None:
    """A result for machines; ``err``: on stderr."""
    click.echo(to_json(value).encode(), err=err)


def say(text: str, *, mark: str = "") -> None:
    """A result for people, on one line; ``mark`` is what mm itself has coloured, before it."""
    click.echo(mark + printable(text))


def news(line: str | dict[str, Any]) -> None:
    """A line about a node or a server that runs, for people or for machines. It goes on when that cannot be written:
    whoever read it is gone, or the disk of the log is full."""
    from mmplatform.cli.stdio import write_all

    text = printable(line) if isinstance(line, str) else to_json(line)
    try:
        write_all(1, f"{text}\n".encode(errors="replace"))  # of what a file object cannot write, it keeps the rest
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        with suppress(OSError):
            note(f"mm: stdout cannot be written ({error.strerror}); it goes on without", once=True)


def columns(*cells: str) -> None:
    """A result for people and for cut(1): cells between tabs."""
    click.echo("\t".join(map(printable, cells)))


def show(text: str, *, nl: bool = True) -> None:
    """What is fit to be written as it is: a script or a QR code of mm itself, a message in its form (forms.py)."""
    click.echo(text, nl=nl)


def note(text: str, *, once: bool = False) -> None:
    """News that are no result; ``once``: not when they are the same as the last."""
    if once and _lastly == [text]:
        return
    _lastly[:] = [text]
    click.echo(printable(text), err=True)


def note_trace(error: BaseException) -> None:
    """The traceback of what went wrong, for who looks for the defect."""
    from mmplatform.logs import trace_of  # which needs asyncio

    for line in trace_of(error).splitlines():
        click.echo(printable(line), err=True)


def payload_text(value: Any) -> str:
    """A payload on one line. What strangers send must not steer the terminal: control characters are shown escaped."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return to_json(value)
    return printable(value) if isinstance(value, str) else to_json(value)


def styled(text: str, **style: Any) -> str:
    """``text`` of mm itself in a colour, or bold, where stdout shows that."""
    return click.style(text, **style) if has_colours(1) else text


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns for people; plain and uncut when stdout is no terminal, a block for each row where it is narrow."""
    if not is_terminal(1):
        for row in rows:
            columns(*row)
        return
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    across = shutil.get_terminal_size().columns
    if sum(widths) + GAP * len(widths) - GAP > across and across < NARROW:
        for row in cells:
            fields([(heading.capitalize(), cell) for heading, cell in zip(headings, row, strict=True) if cell])
            click.echo()
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold" if has_colours(1) else "")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in cells:
        shown.add_row(*row)
    Console(markup=False, highlight=False, width=across).print(shown)


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """A name and a value on each line; on a terminal, a long value goes on below its beginning."""
    shown = [(printable(name), printable(value)) for name, value in pairs]
    begin = max((len(name) for name, _ in shown), default=0) + GAP
    across = shutil.get_terminal_size().columns if is_terminal(1) else None
    for name, value in shown:
        lines = [value] if across is None else _wrapped(value, max(across - begin, LEAST_WIDTH))
        for number, line in enumerate(lines):
            click.echo(f"{'' if number else name:{begin}}{line}".rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words; what is longer than a line, a key as it may be, is cut where the line ends."""
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def lasting(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3 h, 6 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def amount(size: int) -> str:
    """Bytes for people: 900 B, 12 KiB, 3.4 GiB."""
    if size < 1024:
        return f"{size} B"
    scaled = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        scaled /= 1024
        if scaled < 1000 or unit == "TiB":
            break
    return f"{scaled:.3g} {unit}"


def counted(number: int, what: str) -> str:
    """Return ``number`` with its noun, a plural in s: "1,200 contacts", "1 contact"."""
    return f"{number:,} {what}" if number != 1 else f"1 {what.removesuffix('s')}"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=jsonable)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else payload_text(key): _with_text_keys(inner) for key, inner in value.items()
        }
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list | tuple) else value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
