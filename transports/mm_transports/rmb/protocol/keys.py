"""The keys of a twin, all made of one seed: that of its account, which signs, and the one that encrypts payloads.

A seed is given in hex, or as a BIP39 phrase, which Substrate stretches in its own way: it is the entropy that is
stretched, not the words.
"""

import hashlib
import re
from typing import Final, Literal, NoReturn

from mm_transports.rmb.protocol.primitives import (
    SEED_SIZE,
    Ed25519Signer,
    Secp256k1Key,
    Signer,
    Sr25519Signer,
    entropy_of,
    verify_ed25519,
    verify_sr25519,
)  # fmt: skip
from mmplatform.errors import BadSignature, IdentityError

KeyType = Literal["sr25519", "ed25519"]

_SR25519: Final = b"s"
_ED25519: Final = b"e"
_ROUNDS: Final = 2048
_HEX_SEED: Final = re.compile(rf"0x([0-9a-fA-F]{{{2 * SEED_SIZE}}})")


class TwinKeys:
    """The secrets of a twin. ``account`` (32 bytes) and ``pk`` (33 bytes) are what a registry has of it."""

    __slots__ = ("_signer", "account", "encryption", "key_type", "pk")

    def __init__(self, seed: bytes, key_type: KeyType = "sr25519") -> None:
        """Make the keys of a seed of 32 bytes. Raises IdentityError."""
        if len(seed) != SEED_SIZE:
            raise IdentityError(f"a seed has {SEED_SIZE} bytes, not {len(seed)}")
        if key_type not in ("sr25519", "ed25519"):
            raise IdentityError("a key of a twin is of the type sr25519 or ed25519")
        self.key_type: KeyType = key_type
        self._signer: Signer = Sr25519Signer(seed) if key_type == "sr25519" else Ed25519Signer(seed)
        self.account = self._signer.account
        self.encryption = Secp256k1Key(seed)
        self.pk = self.encryption.public

    @classmethod
    def from_secret(cls, secret: str, key_type: KeyType = "sr25519") -> "TwinKeys":
        """Make the keys of a phrase of 12 to 24 words, or of a seed in hex with 0x in front. Raises IdentityError."""
        return cls(seed_of(secret), key_type)

    def sign(self, message: bytes) -> bytes:
        """Return 65 bytes: the letter of the key type, and the signature."""
        return (_SR25519 if self.key_type == "sr25519" else _ED25519) + self._signer.sign(message)

    def __repr__(self) -> str:
        return f"TwinKeys(key_type={self.key_type!r}, account={self.account.hex()!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys of a twin are not to be pickled or copied: they hold the secrets")


def seed_of(secret: str) -> bytes:
    """Return the seed (Substrate's mini secret) of a phrase or of hex. Raises IdentityError, which never quotes it."""
    secret = secret.strip()
    if found := _HEX_SEED.fullmatch(secret):
        return bytes.fromhex(found[1])
    if secret.startswith("0x"):
        raise IdentityError(f"a seed in hex is 0x and {2 * SEED_SIZE} digits")
    return hashlib.pbkdf2_hmac("sha512", entropy_of(secret), b"mnemonic", _ROUNDS)[:SEED_SIZE]


def verify(account: bytes, signature: bytes, message: bytes) -> None:
    """Raise BadSignature unless ``account`` made ``signature``: its first byte says by which kind of key."""
    letter, rest = signature[:1], signature[1:]
    if letter == _SR25519:
        good = verify_sr25519(account, rest, message)
    elif letter == _ED25519:
        good = verify_ed25519(account, rest, message)
    else:
        raise BadSignature("a signature begins with s (sr25519) or e (ed25519)")
    if not good:
        raise BadSignature("not made by the account of this twin")
