"""The relays a data folder is at home at: those it was told of last are used by every command, until told otherwise.

They are lines of the file ``relays`` in the folder, for people to read and change.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mmplatform.errors import StorageError
from mmplatform.storage.folder import DataFolder

FILE: Final = "relays"
NONE: Final = "none"


def homes(folder: Path, given: Sequence[str] = ()) -> list[str]:
    """The relays to use: those ``given`` with --relay, else those of MM_RELAYS, else those the folder remembers."""
    named = os.environ.get("MM_RELAYS")
    if not given and named is not None:
        given = named.replace(",", " ").split() or [NONE]
    if given:
        return list(dict.fromkeys(relay for relay in given if relay != NONE))
    try:
        return (DataFolder(folder).path / FILE).read_text().split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"the relays of {folder} cannot be read: {error}; mm run --relay says them anew") from None


def remember(folder: Path, relays: Sequence[str]) -> None:
    """Use these from now on. The folder is ours while this happens. Raises StorageError."""
    path = DataFolder(folder).path / FILE
    try:
        if not relays:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.write_text("".join(f"{relay}\n" for relay in relays))
        new.replace(path)
    except OSError as error:
        raise StorageError(f"{error}; the relays are used, and not remembered") from None
