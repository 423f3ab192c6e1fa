"""How a line is written, in a window and line by line: when, who, how many hops, how old, and what. Pure."""

import time
from datetime import datetime
from typing import Final

from mm_services.messenger.chat.lines import MARKS, NOTE, OURS, ChatLine, LineState
from mmplatform.cli.output import counted, lasting
from mmplatform.text import printable

ME: Final = "me"
DAY: Final = 86400.0  # seconds


def when(at: float, now: float | None = None) -> str:
    """Return the time of a line, in the time zone here: with the date when it is not of the last day."""
    now = time.time() if now is None else now
    try:
        moment = datetime.fromtimestamp(at)
    except (OverflowError, OSError, ValueError):
        return "--:--:--"
    return moment.strftime("%H:%M:%S" if abs(now - at) < DAY else "%Y-%m-%d %H:%M")


def way(line: ChatLine) -> str:
    """Return how a line of somebody else came: how often it was handed on, and how long it took."""
    return f"{counted(line.hops, 'hops')} {lasting(line.age)}"


def said(line: ChatLine) -> str:
    """Return what a line says, harmless whatever its sender wrote."""
    return printable(f"[file] {line.text} -> {line.file}" if line.file else line.text)


def parts(line: ChatLine, name: str, state: LineState) -> list[tuple[str, str]]:
    """Return a line as texts, each with what it is: time, name, mine, way, state, note or text.

    Args:
        line: what was said.
        name: of who said it.
        state: how far it is, when it is ours.

    """
    time_ = (f"{when(line.at)} ", "time")
    if line.by == NOTE:
        return [time_, (f"-- {printable(line.text)}", "note")]
    if line.by == OURS:
        return [time_, (f"{ME} ", "mine"), (f"{MARKS[state]} ", "state"), (said(line), "text")]
    return [time_, (f"{name} ", "name"), (f"{way(line)}: ", "way"), (said(line), "text")]
