"""Passphrases of keys: asked for on a terminal, without an echo; and the key of a folder, encrypted and decrypted."""

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmplatform.cli.command import Failure, interruptible
from mmplatform.cli.terminal import is_terminal
from mmplatform.errors import PassphraseNeeded
from mmplatform.identity import os_keyring
from mmplatform.identity.passphrases import VARIABLE, asking, from_file
from mmplatform.text import printable

if TYPE_CHECKING:
    from mmplatform.identity.keys import KeyFile

COMPLETION: Final = "_MM_COMPLETE"  # set while a shell completes a line

_typed: Final[dict[Path, str]] = {}  # a command that opens a folder twice asks once


@contextmanager
def asked_for() -> Iterator[None]:
    """Ask for passphrases while the block runs, where somebody is there to be asked."""
    token = asking.set(_ask if _somebody() else None)
    try:
        yield
    finally:
        asking.reset(token)
        _typed.clear()


def encrypt(folder: Path, keyring: bool) -> "KeyFile":
    """Encrypt the key of a folder on which no node runs, or a new one. Raises Failure, IdentityError or FolderInUse."""
    from mmplatform.identity.keys import Identity, look_into
    from mmplatform.storage.folder import DataFolder

    with DataFolder(folder) as data:
        there = data.identity.exists()
        identity = Identity.load_or_create(data.identity) if there else Identity.generate()
        passphrase = _kept_by_keyring(identity.sign_id) if keyring else _new()
        identity.save(data.identity, passphrase, "keyring" if keyring else "passphrase")
        return look_into(data.identity)


def decrypt(folder: Path) -> "KeyFile":
    """Write the key of a folder as it is. Raises Failure, IdentityError or FolderInUse."""
    from mmplatform.identity.keys import Identity, look_into
    from mmplatform.storage.folder import DataFolder

    with DataFolder(folder) as data:
        if not data.identity.exists():
            raise Failure(f"there is no key in {folder}")
        before, identity = look_into(data.identity), Identity.load_or_create(data.identity)
        identity.save(data.identity)
        if before.keeper == "keyring":
            os_keyring.forget(before.sign_id)
        return look_into(data.identity)


def _kept_by_keyring(sign_id: str) -> str:
    """The passphrase that the keyring has for a key, which copies of the folder may need, too; else a new one.

    Another one in its place would be kept before the file is written anew: where that fails, nothing opens the key.
    """
    passphrase = os_keyring.find(sign_id)
    if passphrase is None:
        passphrase = secrets.token_urlsafe(32)
        os_keyring.write(sign_id, passphrase)
    return passphrase


def _somebody() -> bool:
    return COMPLETION not in os.environ and (is_terminal(0) or is_terminal(2))


def _ask(path: Path) -> str:
    if path not in _typed:
        _typed[path] = _prompt(f"Passphrase of {printable(str(path))}: ")
    return _typed[path]


def _new() -> str:
    found = from_file()
    if found is not None:
        return found
    if not _somebody():
        raise Failure(f"there is no terminal to ask for a passphrase: name a file that has it in {VARIABLE}")
    passphrase = _prompt("New passphrase: ")
    if _prompt("The same again: ") != passphrase:
        raise Failure("these were two different ones; nothing was changed")
    return passphrase


def _prompt(text: str) -> str:
    """What is typed. Ctrl-C ends the command, though its event loop waits meanwhile."""
    ours = threading.current_thread() is threading.main_thread()
    with interruptible() if ours else nullcontext():
        try:
            return getpass(text)
        except EOFError:
            raise PassphraseNeeded("no passphrase was typed") from None
