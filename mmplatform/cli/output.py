"""How commands speak: results on stdout, everything else on stderr, with ``--json`` one JSON object a line."""

import base64
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from mmplatform.logs import escape_controls

TAB: Final = "\t"  # the one control character that steers no terminal
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
    """One line."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=jsonable)
    except TypeError:  # a key of a dictionary that JSON does not have
        return json.dumps(_keys_as_text(value), ensure_ascii=False, separators=(",", ":"), default=jsonable)


def emit(value: dict[str, Any]) -> None:
    """A result for machines."""
    click.echo(to_json(value).encode(errors="surrogateescape"))


def say(text: str) -> None:
    """A result for people."""
    click.echo(text)


def note(text: str, *, once: bool = False) -> None:
    """News that are no result; ``once``: not when they are the same as the last."""
    if once and _lastly == [text]:
        return
    _lastly[:] = [text]
    click.echo(text, err=True)


def printable(value: Any) -> str:
    """A payload on one line. What strangers send must not steer the terminal: control characters are shown escaped."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return to_json(value)
    return escape_controls(value, but=TAB) if isinstance(value, str) else to_json(value)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns for people; plain and uncut when stdout is no terminal."""
    if not sys.stdout.isatty():
        for row in rows:
            say("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console(markup=False, highlight=False).print(shown)


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


def _keys_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else printable(key): _keys_as_text(inner) for key, inner in value.items()}
    return [_keys_as_text(inner) for inner in value] if isinstance(value, list | tuple) else value
