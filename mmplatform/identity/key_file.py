"""The key file on disk: private to its user, written whole or not at all, also through a power cut."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from mmplatform.errors import IdentityError

LONGEST: Final = 1024  # bytes that are read


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
    _write(path, content, over=False)


def replace(path: Path, content: bytes) -> None:
    """Write the key file anew, in the place of the one that is there. Raises IdentityError."""
    _write(path, content, over=True)


def _write(path: Path, content: bytes, over: bool) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path, over)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise IdentityError(
            f"cannot keep a new key: {error}; make {path.parent} a folder this user can write"
        ) from error


def _publish(temporary: Path, path: Path, over: bool) -> None:
    """A link fails where a rename would replace; file systems without links have only the rename."""
    try:
        if over:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:
        if over:
            raise
        temporary.rename(path)
    if os.name == "posix":  # pragma: no branch
        folder = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):  # some network file systems cannot sync a folder
            os.fsync(folder)
        os.close(folder)
