"""What the chat says in a message, and what it takes from others. Pure.

::

    {"text": "hi"}                                  a line
    {"file": {"name": "a.jpg", "data": bytes}}      a file that is shared
    {"ping": token}                                 who is there?
    {"pong": token, "hops": n}                      the answer; n is how many hops the question took
"""

from typing import Any, Final, NamedTuple

TOPIC: Final = "chat"
MAX_TEXT: Final = 4096  # characters of one line; of a longer one the beginning is shown
MAX_FILE: Final = 62 * 1024 * 1024  # bytes; a content has 64 MiB, and padding and sealing add up to 1 MiB
MAX_NAME: Final = 1024  # characters of the name of a file, before it is made a safe one
MAX_TOKEN: Final = 64
MAX_HOPS: Final = 1 << 16


class ChatText(NamedTuple):
    """A line. ``cut``: characters that it had before it was shortened, 0 when nothing is missing."""

    text: str
    cut: int = 0


class ChatFile(NamedTuple):
    """A file that is shared."""

    name: str
    data: bytes


class ChatPing(NamedTuple):
    """A question who is there."""

    token: str


class ChatPong(NamedTuple):
    """The answer; ``hops`` of the question."""

    token: str
    hops: int


ChatPayload = ChatText | ChatFile | ChatPing | ChatPong


def text(said: str) -> dict[str, Any]:
    """Return the payload of a line."""
    return {"text": said}


def file(name: str, data: bytes) -> dict[str, Any]:
    """Return the payload of a file that is shared under ``name``."""
    return {"file": {"name": name, "data": data}}


def ping(token: str) -> dict[str, Any]:
    """Return the payload that asks who is there."""
    return {"ping": token}


def pong(asked: ChatPing, hops: int) -> dict[str, Any]:
    """Return the payload that answers ``asked``, which took ``hops``."""
    return {"pong": asked.token, "hops": hops}


def parse(payload: Any) -> ChatPayload | None:
    """Return what somebody says, within bounds; None for what is nothing of the chat."""
    if isinstance(payload, str):  # of programs that send a text and nothing else
        return _text(payload)
    if not isinstance(payload, dict):
        return None
    match payload:
        case {"text": str(said)}:
            return _text(said)
        case {"file": {"name": str(name), "data": bytes(data)}} if len(data) <= MAX_FILE:
            return ChatFile(name[:MAX_NAME], data)
        case {"ping": str(token)} if 0 < len(token) <= MAX_TOKEN:
            return ChatPing(token)
        case {"pong": str(token), "hops": int(hops)} if len(token) <= MAX_TOKEN and 0 <= hops <= MAX_HOPS:
            return ChatPong(token, hops)
        case _:
            return None


def _text(said: str) -> ChatText:
    return ChatText(said[:MAX_TEXT], len(said) if len(said) > MAX_TEXT else 0)
