"""Where the passphrase of an encrypted key comes from: a file that MM_PASSPHRASE_FILE names, a keyring, or a person."""

import os
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmplatform.errors import PassphraseNeeded
from mmplatform.identity import os_keyring

if TYPE_CHECKING:  # mm imports this before it knows whether it needs a key
    from mmplatform.identity.sealed_key import SealedKey

VARIABLE: Final = "MM_PASSPHRASE_FILE"
LONGEST: Final = 4096  # bytes of such a file that are read
OPEN: Final = 0o026  # to all, or to a group that writes; systemd's credentials are readable for a group

asking: ContextVar[Callable[[Path], str] | None] = ContextVar("mm passphrase", default=None)
"""Asks a person for the passphrase of a key file; programs may set it, ``mm`` does so on a terminal."""


def passphrase_of(path: Path, sealed: "SealedKey") -> str:
    """Return the passphrase of the key in the file at ``path``. Raises PassphraseNeeded, or IdentityError."""
    if (found := from_file()) is not None:
        return found
    if sealed.keeper == "keyring":
        return os_keyring.read(sealed.sign_id)
    ask = asking.get()
    if ask is None:
        raise PassphraseNeeded(
            f"{path} is encrypted, and nobody can be asked for its passphrase: name a file with it in {VARIABLE}"
        )
    return ask(path)


def from_file() -> str | None:
    """Return the passphrase in the file that the environment names, None when it names none.

    Raises PassphraseNeeded when it cannot be used: of any other IdentityError the key file is blamed.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    try:
        with Path(named).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            word = file.read(LONGEST).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PassphraseNeeded(f"{VARIABLE}={named}: {error}") from None
    if os.name == "posix" and mode & OPEN:
        remedy = f"if nobody has read it, run: chmod 600 {named}"
        raise PassphraseNeeded(f"{VARIABLE}={named} is open to other users; {remedy}")
    return word
