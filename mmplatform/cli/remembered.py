"""Remembers, per data folder, what was said last of relays, of STUN and TURN servers, of where to listen, and so on.

Every command uses that until something else is said. It is lines of the files ``relays``, ``stun``, ``turn``,
``proxy``, ``listen``, ``services`` and ``without`` in the folder, for people to read and change.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mmplatform.errors import LocalError, StorageError
from mmplatform.links.stun import check_servers
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.replacing import replaced

NONE: Final = "none"
DEFAULT: Final = "default"


class Remembered(NamedTuple):
    """One kind of words: the file in the folder, the environment variable and the option that say them.

    ``by_itself``: without a word there is a default, so that "none" is worth remembering and "default" forgets.
    """

    file: str
    variable: str
    option: str
    separators: str
    by_itself: bool = False


RELAYS: Final = Remembered("relays", "MM_RELAYS", "--relay", r"[\s,]+")
STUN: Final = Remembered("stun", "MM_STUN", "--stun", r"[\s,]+")
TURN: Final = Remembered("turn", "MM_TURN", "--turn", r"\s+")  # each has commas of its own
PROXY: Final = Remembered("proxy", "MM_PROXY", "--proxy", r"\s+", by_itself=True)
LISTEN: Final = Remembered("listen", "MM_LISTEN", "--listen", r"[\s,]+", by_itself=True)
SERVICES: Final = Remembered("services", "MM_SERVICES", "--service", r"[\s,]+", by_itself=True)
WITHOUT: Final = Remembered("without", "MM_WITHOUT", "--without", r"[\s,]+")
ALL: Final = (RELAYS, STUN, TURN, PROXY, LISTEN, SERVICES, WITHOUT)


def addresses(folder: Path, given: Sequence[str] = (), kind: Remembered = RELAYS) -> list[str]:
    """The words to use: the ``given`` ones, else those of the environment, else those the folder remembers."""
    return choice(folder, given, kind) or []


def choice(folder: Path, given: Sequence[str], kind: Remembered) -> list[str] | None:
    """As :func:`addresses`; None when nobody has said anything, or the last word was "default"."""
    if not given:
        given = _from_environment(kind) or _from_folder(folder, kind)
    if not given or DEFAULT in given:
        return None
    return list(dict.fromkeys(name for name in given if name != NONE))


def one(words: Sequence[str] | None) -> str | None:
    """The last of the words, "" for none; None when nobody has said anything."""
    return None if words is None else ["", *words][-1]


def remember(folder: Path, names: Sequence[str] | None, kind: Remembered = RELAYS) -> None:
    """Use these from now on; None forgets. The folder is ours while this happens. Raises StorageError."""
    path = DataFolder(folder).path / kind.file
    lines = names or ([NONE] if kind.by_itself and names is not None else [])
    try:
        if not lines:
            path.unlink(missing_ok=True)
            return
        with replaced(path) as file:  # for this user alone: there may be a password in it
            file.write("".join(f"{name}\n" for name in lines).encode())
    except OSError as error:
        raise StorageError(f"{error}; what {kind.option} names is used, and not remembered") from None


def _from_environment(kind: Remembered) -> list[str]:
    named = os.environ.get(kind.variable)
    if named is None:
        return []
    return [name for name in re.split(kind.separators, named) if name] or [NONE]


def _from_folder(folder: Path, kind: Remembered) -> list[str]:
    try:
        return (DataFolder(folder).path / kind.file).read_text().split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"the {kind.file} of {folder} cannot be read: {error}; mm run {kind.option} says them anew"
        ) from None


class HelperServers(NamedTuple):
    """As :class:`mmplatform.Platform` takes them."""

    stun: list[str]
    turn: list[tuple[str, str, str]]


def servers(stun: Sequence[str], turn: Sequence[str]) -> HelperServers:
    """Those of ``URL`` and ``URL[,USER,PASSWORD]``. Raises LocalError."""
    found = HelperServers(list(stun), [_turn(server) for server in turn])
    try:
        check_servers(*found)
    except ValueError as error:
        raise LocalError(str(error)) from None
    return found


def _turn(text: str) -> tuple[str, str, str]:
    url, _, login = text.partition(",")
    user, _, password = login.partition(",")
    return url, user, password
