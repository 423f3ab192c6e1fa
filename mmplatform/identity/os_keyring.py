"""The keyring of the operating system, by the package ``keyring``: keeps the passphrases of keys on a desktop."""

from typing import Any, Final

from mmplatform.errors import IdentityError, PassphraseNeeded

SERVICE: Final = "mm-platform"


def read(sign_id: str) -> str:
    """Return the passphrase of a key. Raises PassphraseNeeded when the keyring of this user has none."""
    found = find(sign_id)
    if found is None:
        raise PassphraseNeeded(f"the keyring of this user has no passphrase for {sign_id}; that of another machine may")
    return found


def find(sign_id: str) -> str | None:
    """Return the passphrase of a key, None when the keyring of this user has none. Raises IdentityError."""
    found = _asked("get_password", sign_id)
    return found if isinstance(found, str) else None


def write(sign_id: str, passphrase: str) -> None:
    """Keep the passphrase of a key. Raises IdentityError."""
    _asked("set_password", sign_id, passphrase)


def forget(sign_id: str) -> None:
    """Remove the passphrase of a key. Raises IdentityError."""
    _asked("delete_password", sign_id)


def _asked(what: str, *arguments: str) -> Any:
    try:
        import keyring  # of an extra
    except ModuleNotFoundError:
        raise IdentityError("keyrings take the package keyring: pip install 'mm-platform[keyring]'") from None
    try:
        return getattr(keyring, what)(SERVICE, *arguments)
    except Exception as error:  # of whatever keyring there is
        raise IdentityError(f"the keyring of this user cannot be used: {type(error).__name__}: {error}") from error
