"""What somebody types: a message, or a command that begins with a slash. Pure."""

import shlex
from typing import Final, NamedTuple

from mmplatform.errors import LocalError

COMMANDS: Final = {
    "/ping": ("", "ask who is there; each answer tells its round trip"),
    "/share": ("FILE", "send a file, up to 62 MiB"),
    "/to": ("PEER|@LIST|*", "talk to somebody else; * is everybody"),
    "/history": ("[TEXT]", "show what was said before, or where TEXT was said last"),
    "/clear": ("", "clear the screen; /history brings the lines back"),
    "/debug": ("", "show carriers near, and what the messenger says of itself"),
    "/help": ("", "show this"),
    "/quit": ("", "leave; messages that wait are sent the next time"),
}
NEEDED: Final = ("/share", "/to")  # which of them mean nothing without a word behind


class Typed(NamedTuple):
    """A command with what stands behind it; or no command, and ``rest`` is the message."""

    command: str
    rest: str


def parse(line: str) -> Typed:
    """Return what ``line`` means. A message that begins with a slash is typed with two. Raises LocalError."""
    if line.startswith("//"):
        return Typed("", line[1:])
    if not line.startswith("/"):
        return Typed("", line)
    command, _, rest = line.partition(" ")
    command, rest = command.lower(), rest.strip()
    if command not in COMMANDS:
        raise LocalError(f"there is no {command}; /help lists commands, and //text says /text")
    if command in NEEDED and not rest:
        raise LocalError(f"{command} {COMMANDS[command][0]}: {COMMANDS[command][1]}")
    return Typed(command, rest)


def path(rest: str) -> str:
    """Return the path that stands behind /share, as a shell would take it: quotes and backslashes may be there."""
    try:
        words = shlex.split(rest)
    except ValueError:  # a quote that is part of the name
        return rest
    return words[0] if len(words) == 1 else rest


def help_lines() -> list[str]:
    """Return what /help shows."""
    wide = max(len(f"{name} {what}") for name, (what, _) in COMMANDS.items())
    return [f"{f'{name} {what}'.strip():{wide}}  {does}" for name, (what, does) in COMMANDS.items()]
