"""The token that programs show at the HTTP door: who can read the data folder may use its node."""

import secrets
from pathlib import Path
from typing import Final

from mmplatform.errors import LocalError
from mmplatform.storage.replacing import replaced

NAME: Final = "http.token"
LONGEST: Final = 256  # bytes that are read
SHORTEST: Final = 16  # characters: one that a person has chosen is not to be guessed either


def token_in(folder: Path) -> str:
    """Return the token of a data folder; make one, in a file for this user alone, when there is none.

    Raises LocalError when the file cannot be used.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            token = file.read(LONGEST).decode("ascii").strip()
        if path.stat().st_mode & 0o077:
            raise LocalError(f"{path} is open to other users; remove it, and a new token is made at the next start")
    except FileNotFoundError:
        return _made(path)
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"{path} cannot be read: {error}") from error
    if len(token) < SHORTEST or not token.isprintable() or " " in token:
        raise LocalError(f"{path} is no token; remove it, and a new one is made at the next start")
    return token


def _made(path: Path) -> str:
    token = secrets.token_urlsafe(24)
    try:
        with replaced(path) as file:
            file.write(f"{token}\n".encode())
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error}") from error
    return token
