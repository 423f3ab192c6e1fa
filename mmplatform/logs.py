"""Helps log lines of every package: makes the words of others harmless, and bounds how many lines others cause.

Loggers are those of the standard library, one a package, and no handler is installed here: that is the program's
affair (docs/logging.rst).
"""

import asyncio
import json
import logging
import re
from collections import Counter
from typing import Final

LINES: Final = 20  # lines a minute about one subject
MINUTE: Final = 60.0  # seconds
SUBJECTS: Final = 256  # subjects told apart within a minute; those beyond share one allowance
KINDS: Final = 32  # kinds of lines that are counted apart
LONGEST: Final = 512  # characters of the words of others in one line
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def escaped(text: object) -> str:
    """Return ``text`` on one line, at most LONGEST characters: what peers and relays say must not forge lines of a log,
    nor steer the terminal of whoever reads it."""
    words = str(text)
    return escape_controls(words if len(words) <= LONGEST else f"{words[:LONGEST]}...")


def escape_controls(text: str, but: str = "") -> str:
    """Write every control character, line break and change of writing direction in ``text`` as JSON does; those in
    ``but`` stay."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in but else json.dumps(match[0])[1:-1], text)


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
        if not self._log.isEnabledFor(logging.INFO):
            return
        if subject not in self._said and len(self._said) >= SUBJECTS:
            subject = ""
        self._said[subject] += 1
        level = logging.INFO
        if self._said[subject] > self._lines:
            level = logging.DEBUG
            told_apart = kind in self._left_out or len(self._left_out) < KINDS
            self._left_out[kind if told_apart else "others"] += 1
        self._log.log(level, text, *values, extra=fields, stacklevel=2)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(MINUTE, self.close)

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
