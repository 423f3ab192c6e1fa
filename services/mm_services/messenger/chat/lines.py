"""The lines of a conversation, and the records by which the history keeps them: one JSON object a line of a file. Pure.

::

    {"group": "#5f..", "members": [signId, ..]}                         a conversation with several
    {"in": "#5f..", "at": 1.5, "by": signId, "text": "hi", ..}          a line; by nobody: it is ours
    {"in": "#5f..", "back": 312, "id": "9c..", "state": "carried"}      how far the line is that begins 312 bytes before
    {"seen": "#5f.."}                                                   what stands before was on the screen

JSON, so that people can read and search the file; ASCII alone, so that nothing that others wrote steers a terminal that
shows it; a line each, so that one that is damaged takes no other with it.
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from mmplatform.identity.keys import SignId

OURS: Final = ""  # who says what is written here
NOTE: Final = "-"  # who says what the chat itself has to say


class LineState(IntEnum):
    """How far a line is. A higher one never gives way to a lower one."""

    HEARD = 0  # somebody else's
    UNSAVED = 1  # ours, and nobody has it but the screen and the history
    REFUSED = 2  # ours, and it cannot be sent
    WAITING = 3
    CARRIED = 4
    FAILED = 5  # it has arrived, and cannot be taken in there
    RECEIVED = 6
    READ = 7


STATES: Final = {state.name.lower(): state for state in LineState if state > LineState.HEARD}
MARKS: Final = {
    LineState.HEARD: "", LineState.UNSAVED: "?", LineState.REFUSED: "!", LineState.WAITING: "·",
    LineState.CARRIED: "»", LineState.FAILED: "✗", LineState.RECEIVED: "✓", LineState.READ: "✓✓",
}  # fmt: skip


class ChatLine(NamedTuple):
    """What somebody said.

    Args:
        at: when, in Unix seconds by the clock of who said it.
        by: his signId, OURS, or NOTE.
        text: as it was sent: escape it where it is shown.
        id: of the message, "" for ours.
        hops: how often it was handed on.
        age: seconds that it took.
        file: where the file is that came with it, "" for none.

    """

    at: float
    by: str
    text: str
    id: str = ""
    hops: int = 0
    age: float = 0.0
    file: str = ""


_decode: Final = json.JSONDecoder().decode
_DEFAULTS: Final = ChatLine._field_defaults


def record(fields: Mapping[str, Any]) -> bytes:
    """Return a record of the history, with its end."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def parsed(data: bytes) -> dict[str, Any] | None:
    """Return the fields of a record; None for one that is damaged."""
    try:
        found = _decode(data.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def line_record(key: str, line: ChatLine) -> bytes:
    """Return the record of a line in the conversation ``key``."""
    said = {name: value for name, value in line._asdict().items() if value != _DEFAULTS.get(name)}
    return record({"in": key, **said})


def state_record(key: str, back: int, state: LineState, *, message_id: str = "", peer: str = "") -> bytes:
    """Return the record of how far a line is.

    Args:
        key: of its conversation.
        back: how many bytes before this record the line begins.
        state: how far it is.
        message_id: once it has one.
        peer: who has it so far, where it is for several.

    """
    named = {name: value for name, value in (("id", message_id), ("peer", peer)) if value}
    return record({"in": key, "back": back, "state": state.name.lower(), **named})


def line_of(fields: Mapping[str, Any]) -> ChatLine | None:
    """Return the line in a record; None where there is none."""
    match fields:
        case {"in": str(), "at": int() | float() as at, "by": str(by), "text": str(text)}:
            id_, file = fields.get("id", ""), fields.get("file", "")
            hops, age = fields.get("hops", 0), fields.get("age", 0.0)
            if isinstance(id_, str) and isinstance(file, str) and type(hops) is int and isinstance(age, int | float):
                return ChatLine(float(at), by, text, id_, hops, float(age), file)
    return None


def members_of(fields: Mapping[str, Any]) -> tuple[SignId, ...]:
    """Return the members in a record of a group; nobody for what is none."""
    members = fields.get("members")
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        return ()
    return tuple(map(SignId, members))
