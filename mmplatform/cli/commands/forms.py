"""How a message is printed, on one line: what others send must not steer the terminal, nor forge a line.

The one form that keeps a text as it came is ``--payload`` to something that is no terminal: a file, or the program at
the other end of a pipe, which wants what was sent.
"""

from collections.abc import Callable
from typing import Any

from mmplatform.cli.output import payload_text, to_json
from mmplatform.cli.terminal import is_terminal
from mmplatform.text import printable

Message = tuple[str, str, str, Any, dict[str, Any]]  # scope and topic, sender, name, payload, kind, time, id, priority
Form = Callable[[Message], str]


def chosen(payload_only: bool, as_json: bool) -> Form:
    """The form that was asked for."""
    return _payload if payload_only else _as_json if as_json else _for_people


def _as_json(message: Message) -> str:
    topic, sender, name, payload, about = message
    return to_json({"topic": topic, "sender": sender, "name": name, "payload": payload, **about})


def _for_people(message: Message) -> str:
    topic, sender, name, payload, _ = message
    return printable(f"{topic} {name or sender} ") + payload_text(payload)


def _payload(message: Message) -> str:
    payload = message[3]
    if isinstance(payload, str) and not is_terminal(1):
        return payload
    return payload_text(payload)
