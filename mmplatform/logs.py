"""Helps log lines of every package: bounds how many lines others cause, and writes down what failed.

Loggers are those of the standard library, one a package, and no handler is installed here: that is the program's
affair (docs/logging.rst).
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from mmplatform.text import escaped, printable

LINES: Final = 20  # lines a minute about one subject
MINUTE: Final = 60.0  # seconds
SUBJECTS: Final = 256  # subjects told apart within a minute; those beyond share one allowance
KINDS: Final = 32  # kinds of lines that are counted apart
CHAIN: Final = 16  # exceptions of one chain that are written down


def log_failure(log: logging.Logger, text: str, error: BaseException) -> None:
    """Log that something here raised ``error``, with its traceback, in which the words of others are escaped.

    Handlers of the program get the exception itself, too (``exc_info``); ``exc_text`` is what formatters of the
    standard library write in its place.
    """
    if log.isEnabledFor(logging.ERROR):
        file, line, function, _ = log.findCaller(stacklevel=2)
        caught = (type(error), error, error.__traceback__)
        record = log.makeRecord(log.name, logging.ERROR, file, line, "%s", (printable(text),), caught, function)
        record.exc_text = trace_of(error)
        log.handle(record)


def trace_of(error: BaseException) -> str:
    """Return the traceback of ``error`` as Python writes it, but with the text of each exception on one line."""
    lines: list[str] = []
    for one, how in _chain(error):
        if how:
            lines += ["", how, ""]
        if one.__traceback__ is not None:
            lines.append("Traceback (most recent call last):")
            lines += [printable(line) for line in "".join(traceback.format_tb(one.__traceback__)).splitlines()]
        lines += [_named(one), *(escaped(note) for note in getattr(one, "__notes__", ()))]
        for inner in one.exceptions[:CHAIN] if isinstance(one, BaseExceptionGroup) else ():
            lines += [f"  | {line}" for line in trace_of(inner).splitlines()]
    return "\n".join(lines)


def raised_at(error: BaseException) -> str:
    """Return file, line and function in which ``error`` was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return "raised nowhere"
    code = last.tb_frame.f_code
    return printable(f"{code.co_filename}:{last.tb_lineno} in {code.co_name}")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Yield ``error`` and what led to it, the first one first; each with how it came about."""
    found: list[tuple[BaseException, str]] = []
    one: BaseException | None = error
    while one is not None and len(found) < CHAIN and all(one is not other for other, _ in found):
        direct = one.__cause__ is not None
        before = one.__cause__ if direct or one.__suppress_context__ else one.__context__
        how = "The above exception was the direct cause of the following exception:"
        found.append((one, how if direct else "During handling of the above exception, another exception occurred:"))
        one = before
    found[-1] = (found[-1][0], "")
    return reversed(found)


def _named(error: BaseException) -> str:
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        said = escaped(error)
    except Exception:
        return f"{name}: <its text cannot be read>"
    return f"{name}: {said}" if said else name


def short_id(value: bytes) -> str:
    """Return the name of an envelope in log lines: enough of its id to tell it from others."""
    return value[:4].hex()


class LineLimit:
    """Bounds the lines that others cause: ``lines`` a minute at INFO about each subject.

    Those beyond are DEBUG, and counted by their kind; one line at INFO says the counts when the minute is over. With 0
    lines only that one is left. No timer runs while nothing is logged.
    """

    def __init__(self, log: logging.Logger, lines: int = LINES) -> None:
        self._log, self._lines = log, lines
        self._said: Counter[str] = Counter()  # lines about each subject in this minute
        self._left_out: Counter[str] = Counter()  # lines of each kind that were too many
        self._timer: asyncio.TimerHandle | None = None

    def info(self, subject: str, kind: str, text: str, *values: object, **fields: object) -> None:
        """Log a line about ``subject``.

        Args:
            subject: shares its allowance with nobody else; strangers share one, "".
            kind: what is counted when the line is one too many, as in "linked".
            text: as for ``Logger.info``.
            *values: as for ``Logger.info``.
            **fields: attributes of the record: ``link``, ``peer``.

        """
        if self._log.isEnabledFor(logging.INFO):
            level = logging.INFO if self.allows(subject, kind) else logging.DEBUG
            self._log.log(level, text, *values, extra=fields, stacklevel=2)

    def allows(self, subject: str, kind: str) -> bool:
        """Count a line about ``subject``, and whether it may be written; see :meth:`info`."""
        if subject not in self._said and len(self._said) >= SUBJECTS:
            subject = ""
        self._said[subject] += 1
        if self._timer is None:
            with suppress(RuntimeError):  # where no loop runs, lines are counted until the end
                self._timer = asyncio.get_running_loop().call_later(MINUTE, self.close)
        if self._said[subject] <= self._lines:
            return True
        told_apart = kind in self._left_out or len(self._left_out) < KINDS
        self._left_out[kind if told_apart else "others"] += 1
        return False

    def close(self) -> None:
        """End the minute: say what was left out, and begin anew with the next line."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left_out, self._left_out = self._left_out, Counter()
        self._said.clear()
        if left_out:
            counts = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
            self._log.info("within a minute, not said one by one: %s", counts)
