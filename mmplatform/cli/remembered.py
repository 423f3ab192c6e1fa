"""Remembers, per data folder, the home relays and the STUN and TURN servers given last.

Every command uses them until others are given. They are lines of the files ``relays``, ``stun`` and ``turn`` in the
folder, for people to read and change.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mmplatform.errors import LocalError, StorageError
from mmplatform.links.stun import check_servers
from mmplatform.storage.folder import DataFolder

NONE: Final = "none"


class RememberedAddresses(NamedTuple):
    """One kind of addresses: the file in the folder, the environment variable and the option that name them."""

    file: str
    variable: str
    option: str
    separators: str


RELAYS: Final = RememberedAddresses("relays", "MM_RELAYS", "--relay", r"[\s,]+")
STUN: Final = RememberedAddresses("stun", "MM_STUN", "--stun", r"[\s,]+")
TURN: Final = RememberedAddresses("turn", "MM_TURN", "--turn", r"\s+")  # each has commas of its own


def addresses(folder: Path, given: Sequence[str] = (), kind: RememberedAddresses = RELAYS) -> list[str]:
    """The addresses to use: the ``given`` ones, else those of the environment, else those the folder remembers."""
    named = os.environ.get(kind.variable)
    if not given and named is not None:
        given = [name for name in re.split(kind.separators, named) if name] or [NONE]
    if given:
        return list(dict.fromkeys(name for name in given if name != NONE))
    try:
        return (DataFolder(folder).path / kind.file).read_text().split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"the {kind.file} of {folder} cannot be read: {error}; mm run {kind.option} says them anew"
        ) from None


def remember(folder: Path, names: Sequence[str], kind: RememberedAddresses = RELAYS) -> None:
    """Use these from now on. The folder is ours while this happens. Raises StorageError."""
    path = DataFolder(folder).path / kind.file
    try:
        if not names:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.touch(0o600)  # there may be a password in it
        new.write_text("".join(f"{name}\n" for name in names))
        new.replace(path)
    except OSError as error:
        raise StorageError(f"{error}; what {kind.option} names is used, and not remembered") from None


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
