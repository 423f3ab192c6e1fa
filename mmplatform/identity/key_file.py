"""The key file on disk: private to its user, written whole or not at all, also through a power cut."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mmplatform.errors import IdentityError
from mmplatform.storage.replacing import replaced, sync_names

LONGEST: Final = 1024  # bytes that are read
RANDOM: Final = 8  # bytes in the name of a new key before it is published


def read(path: Path) -> bytes:
    """Return what is in the file. Raises FileNotFoundError, or IdentityError when it is unreadable or not private."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LONGEST)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IdentityError(f"{error}; make the key file readable for this user") from error
    if os.name == "posix" and mode & 0o077:
        raise IdentityError(f"{path} is open to other users; if nobody has read it, run: chmod 600 {path}")
    return content


def create(path: Path, content: bytes) -> None:
    """Write a new key file, and never over one that another process made meanwhile. Raises IdentityError."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(RANDOM)}")
    with _kept(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Write the key file anew, in the place of the one that is there. Raises IdentityError."""
    with _kept(path):
        with replaced(path) as file:
            file.write(content)
        _remove_left(path)


def _remove_left(path: Path) -> None:
    """Remove what was left beside a key file by whoever was killed while writing it: it may be the key as it is."""
    name = re.escape(path.name)
    left = re.compile(rf"\.{name}\.[a-z0-9_]{{8}}|{name}\.[0-9a-f]{{{2 * RANDOM}}}")  # of replaced() and create()
    for each in path.parent.iterdir():
        if left.fullmatch(each.name):
            each.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    """A link fails where a rename would replace; file systems without links have only the rename."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:
        temporary.rename(path)
    sync_names(path.parent)


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """Say of a key that could not be written what to do. Raises IdentityError."""
    try:
        yield
    except OSError as error:
        raise IdentityError(
            f"cannot keep a new key: {error}; make {path.parent} a folder this user can write"
        ) from error
