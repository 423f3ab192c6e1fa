"""What ``-v``, ``-vv`` and ``--log-json`` switch on: lines of our loggers on stderr, for people or for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Final

from mmplatform.cli.output import debugging, to_json
from mmplatform.text import printable

OURS: Final = ("mmplatform", "mm_transports", "mm_services", "mm_relay")
FIELDS: Final = ("link", "connection", "peer")  # attributes of a record that JSON lines have, too
_handlers: Final[list[logging.Handler]] = []


def switch_on(verbosity: int, as_json: bool) -> None:
    """Log to stderr from now on, in place of what was switched on before.

    Args:
        verbosity: 0 for nothing, 1 for INFO of our loggers, 2 and more for DEBUG. Of libraries only warnings are shown:
            some of them log what they carry.
        as_json: one JSON object a line; with verbosity 0 it is INFO all the same.

    """
    switch_off()
    verbosity = max(verbosity, int(as_json), 2 * debugging())
    handler: logging.Handler = logging.NullHandler()  # else Python prints warnings itself
    if verbosity:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JSONFormatter() if as_json else PlainFormatter())
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    _handlers.append(handler)
    logging.getLogger().addHandler(handler)


def switch_off() -> None:
    """Log as before :func:`switch_on`."""
    for handler in _handlers:
        logging.getLogger().removeHandler(handler)
    _handlers.clear()
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


class PlainFormatter(logging.Formatter):
    """``2026-07-30T08:15:02.123Z INFO mmplatform.peers link 12 ...``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name} {printable(record.getMessage())}"
        return f"{line}\n{self._traceback(record)}" if record.exc_info else line

    def _traceback(self, record: logging.LogRecord) -> str:
        from mmplatform.logs import trace_of  # which needs asyncio

        return trace_of(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""


class JSONFormatter(PlainFormatter):
    """``{"time": ..., "level": ..., "logger": ..., "text": ...}``, with ``link``, ``connection``, ``peer`` and
    ``traceback`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "text": printable(record.getMessage()),
        }
        found |= {field: getattr(record, field) for field in FIELDS if hasattr(record, field)}
        if record.exc_info:
            found["traceback"] = self._traceback(record)
        return to_json(found)


def _time(record: logging.LogRecord) -> str:
    """UTC to the millisecond, as ISO 8601 has it."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
