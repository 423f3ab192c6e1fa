"""The encrypted form of a key file: a box that a passphrase opens (docs/protocol/identity.rst, "The key file")."""

import base64
import unicodedata
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from mmplatform.errors import IdentityError, WrongPassphrase

Keeper = Literal["passphrase", "keyring"]

MARK: Final = b"mm-key-"
VERSION: Final = "mm-key-1"
KEEPERS: Final[tuple[Keeper, ...]] = ("passphrase", "keyring")
SALT_SIZE: Final = 16
SECRET_SIZE: Final = 64
BOX_SIZE: Final = sodium.crypto_secretbox_NONCEBYTES + sodium.crypto_secretbox_MACBYTES + SECRET_SIZE
OPERATIONS: Final = 3  # of argon2id: a third of a second on a small server
MEMORY: Final = 64 * 1024  # KiB
MOST_OPERATIONS: Final = 20  # a file that wants more would stop a node for minutes,
MOST_MEMORY: Final = 1024 * 1024  # or take its memory
LONGEST_PASSPHRASE: Final = 1024  # characters


class SealedKey(NamedTuple):
    """What is written in an encrypted key file.

    ``sign_id`` is told to whoever reads the file. ``keeper``: who has the passphrase, a person or the keyring of the
    operating system. ``operations`` and ``memory`` (KiB) are what argon2id takes, ``box`` is the nonce and the box.
    """

    sign_id: str
    keeper: Keeper
    operations: int
    memory: int
    salt: bytes
    box: bytes

    def open(self, passphrase: str) -> bytes:
        """Return the secret key. Raises WrongPassphrase, or IdentityError when this host has too little memory."""
        key = _derived(passphrase, self.salt, self.operations, self.memory)
        nonce, box = self.box[: sodium.crypto_secretbox_NONCEBYTES], self.box[sodium.crypto_secretbox_NONCEBYTES :]
        try:
            return sodium.crypto_secretbox_open(box, nonce, key)
        except CryptoError:
            raise WrongPassphrase("this is not the passphrase of the key, or the file is damaged; try again") from None

    def encoded(self) -> bytes:
        """Return the content of the file."""
        words = (VERSION, self.sign_id, self.keeper, "argon2id", str(self.operations), str(self.memory))
        return b" ".join([*(word.encode() for word in words), *map(base64.b64encode, (self.salt, self.box))]) + b"\n"


def is_sealed(content: bytes) -> bool:
    """Whether this is an encrypted key file, of this version or another one."""
    return content.startswith(MARK)


def seal(
    secret: bytes, sign_id: str, passphrase: str, random: Callable[[int], bytes], keeper: Keeper = "passphrase"
) -> SealedKey:
    """Encrypt a secret key. Raises IdentityError for a passphrase that is none."""
    salt, nonce = random(SALT_SIZE), random(sodium.crypto_secretbox_NONCEBYTES)
    box = sodium.crypto_secretbox(secret, nonce, _derived(passphrase, salt, OPERATIONS, MEMORY))
    return SealedKey(sign_id, keeper, OPERATIONS, MEMORY, salt, nonce + box)


def parse(content: bytes) -> SealedKey:
    """Read an encrypted key file. Raises IdentityError."""
    try:
        version, sign_id, keeper, method, operations, memory, salt, box = (
            content.decode("ascii").removesuffix("\n").split(" ")
        )
        found = SealedKey(
            sign_id,
            next(known for known in KEEPERS if known == keeper),
            _number(operations, MOST_OPERATIONS),
            _number(memory, MOST_MEMORY),
            base64.b64decode(salt, validate=True),
            base64.b64decode(box, validate=True),
        )
    except (ValueError, StopIteration) as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise IdentityError(f"not an encrypted key of {VERSION} ({error or 'an unknown keeper'})") from None
    if version != VERSION or method != "argon2id" or len(found.salt) != SALT_SIZE or len(found.box) != BOX_SIZE:
        raise IdentityError(f"not an encrypted key of {VERSION}; a newer release may have written it")
    return found


def _number(text: str, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 0 < number <= most or str(number) != text:
        raise ValueError(f"{text[:20]!r} is not from 1 to {most}")
    return number


def _derived(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    """The key of the box. One passphrase typed on two keyboards is the same text, in the normal form NFC."""
    if not passphrase or len(passphrase) > LONGEST_PASSPHRASE:
        raise IdentityError(f"a passphrase has 1 to {LONGEST_PASSPHRASE} characters")
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    try:
        return sodium.crypto_pwhash_alg(
            sodium.crypto_secretbox_KEYBYTES, text, salt, operations, memory * 1024, sodium.crypto_pwhash_ALG_ARGON2ID13
        )
    except (CryptoError, MemoryError, ValueError) as error:
        raise IdentityError(f"the key cannot be opened here: argon2id takes {memory} KiB of memory ({error})") from None
