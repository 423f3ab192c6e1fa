"""How a message is printed, on one line: what others send must not steer the terminal."""

from collections.abc import Callable
from typing import Any

from mmplatform.cli.output import printable, to_json
from mmplatform.cli.stdio import is_terminal

Message = tuple[str, str, str, Any]  # scope and topic, sender, name, payload
Form = Callable[[Message], str]


def chosen(payload_only: bool, as_json: bool) -> Form:
    """The form that was asked for."""
    return _payload if payload_only else _as_json if as_json else _for_people


def _as_json(message: Message) -> str:
    topic, sender, name, payload = message
    return to_json({"topic": topic, "sender": sender, "name": name, "payload": payload})


def _for_people(message: Message) -> str:
    topic, sender, name, payload = message
    return f"{topic} {name or sender} {printable(payload)}"


def _payload(message: Message) -> str:
    payload = message[3]
    if isinstance(payload, str) and not is_terminal(1):
        return payload
    return printable(payload)
