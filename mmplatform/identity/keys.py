"""Keys: one Ed25519 pair names a node and signs for it, its X25519 image receives (docs/protocol/identity.rst).

``signId`` and ``boxId`` are the same 44 characters of base64 to the eye and never interchangeable: they are
distinct types. Every signed or hashed string carries a label, so nothing signed for one purpose serves another.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from functools import cache, lru_cache
from os import PathLike
from pathlib import Path
from typing import Final, Literal, NamedTuple, NewType, NoReturn

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from mmplatform.errors import BadSignature, IdentityError, InvalidKey, PassphraseNeeded, WrongPassphrase
from mmplatform.identity import key_file, sealed_key
from mmplatform.identity.passphrases import passphrase_of
from mmplatform.identity.sealed_key import Keeper
from mmplatform.text import quoted

SignId = NewType("SignId", str)
BoxId = NewType("BoxId", str)

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

_FIELD_PRIME: Final = 2**255 - 19
_SECRET_SIZE: Final = 64


class Identity:
    """The secret half of a node. Shows only its signId and boxId when printed."""

    __slots__ = ("_sign_secret", "box_id", "box_key", "box_secret", "sign_id", "sign_key")

    def __init__(self, sign_secret: bytes) -> None:
        """From the 64-byte Ed25519 secret key: the seed, then the public key."""
        if len(sign_secret) != _SECRET_SIZE:
            raise IdentityError(f"an Ed25519 secret key has {_SECRET_SIZE} bytes, not {len(sign_secret)}")
        self.sign_key, self._sign_secret = sodium.crypto_sign_seed_keypair(sign_secret[:KEY_SIZE])
        if self._sign_secret != sign_secret:
            raise IdentityError("the two halves of the secret key do not belong together")
        self.box_secret = sodium.crypto_sign_ed25519_sk_to_curve25519(sign_secret)
        self.sign_id = sign_id_of(self.sign_key)
        self.box_id = box_id_of(self.sign_id)
        self.box_key = raw_key(self.box_id)

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Make the identity of a seed of 32 bytes: the same one each time. Raises IdentityError."""
        if len(seed) != KEY_SIZE:
            raise IdentityError(f"a seed has {KEY_SIZE} bytes, not {len(seed)}")
        return cls(sodium.crypto_sign_seed_keypair(seed)[1])

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = secrets.token_bytes) -> "Identity":
        """Make a new identity, of the randomness of the system."""
        return cls.from_seed(random(KEY_SIZE))

    @classmethod
    def load_or_create(cls, path: str | PathLike[str], passphrase: str | None = None) -> "Identity":
        """Load the identity in the file at ``path``; make one and keep it there when there is no such file.

        Args:
            path: the key file; that of a data folder is ``identity``.
            passphrase: opens an encrypted file, and encrypts a new one. None takes that of an encrypted file from the
                file that MM_PASSPHRASE_FILE names, or from the keyring that has it.

        Raises PassphraseNeeded, WrongPassphrase, or IdentityError for another file that is there and cannot be used; it
        is never replaced.

        """
        path = Path(path)
        try:
            content = key_file.read(path)
        except FileNotFoundError:
            made = cls.generate()
            key_file.create(path, made._file(passphrase))
            content = key_file.read(path)
        if passphrase is not None and not sealed_key.is_sealed(content):
            raise IdentityError(f"{path} is not encrypted, and a passphrase was given for it; run: mm id --encrypt")
        try:
            return _opened(path, content, passphrase)
        except (PassphraseNeeded, WrongPassphrase):
            raise
        except (binascii.Error, IdentityError) as error:
            raise _unusable(path, error) from None

    def save(self, path: str | PathLike[str], passphrase: str | None = None, keeper: Keeper = "passphrase") -> None:
        """Write the key file anew, in place of the one at ``path``.

        Args:
            path: the key file.
            passphrase: encrypts it; None writes it as it is.
            keeper: "passphrase" when people know it, "keyring" when the keyring of the operating system has it.

        Raises IdentityError.

        """
        key_file.replace(Path(path), self._file(passphrase, keeper))

    def _file(self, passphrase: str | None, keeper: Keeper = "passphrase") -> bytes:
        if passphrase is None:
            return base64.b64encode(self._sign_secret) + b"\n"
        return sealed_key.seal(self._sign_secret, self.sign_id, passphrase, secrets.token_bytes, keeper).encoded()

    def sign(self, label: str, *parts: bytes) -> bytes:
        """The Ed25519 signature over :func:`labelled`."""
        return sodium.crypto_sign(labelled(label, *parts), self._sign_secret)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return f"Identity(sign_id={self.sign_id!r}, box_id={self.box_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Identity is not to be pickled or copied: it holds the secret key")


class KeyFile(NamedTuple):
    """What a key file says without a passphrase; ``keeper`` is "" when it is not encrypted."""

    sign_id: SignId
    keeper: Keeper | Literal[""]


def look_into(path: Path) -> KeyFile:
    """Say whose key is in a file, and whether it is encrypted. Raises FileNotFoundError or IdentityError."""
    content = key_file.read(path)
    try:
        if not sealed_key.is_sealed(content):
            return KeyFile(_opened(path, content, None).sign_id, "")
        sealed = sealed_key.parse(content)
        return KeyFile(parse_sign_id(sealed.sign_id), sealed.keeper)
    except (binascii.Error, IdentityError, InvalidKey) as error:
        raise _unusable(path, error) from None


def labelled(label: str, *parts: bytes) -> bytes:
    """The label and each part, every one behind its length in 4 bytes: two different lists never look alike."""
    pieces = [_label(label)]
    for part in parts:
        pieces += (len(part).to_bytes(4, "big"), part)
    return b"".join(pieces)


def digest(label: str, *parts: bytes) -> bytes:
    """``H`` of the specification: BLAKE2b-256 over :func:`labelled`."""
    return hashlib.blake2b(labelled(label, *parts), digest_size=32).digest()


def verify(sign_key: bytes, signature: bytes, label: str, *parts: bytes) -> None:
    """Raises :class:`BadSignature` unless ``sign_key`` made ``signature`` for this label and these parts."""
    if len(sign_key) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        raise BadSignature(f"a key has {KEY_SIZE} bytes and a signature {SIGNATURE_SIZE}")
    try:
        box_id_of(sign_id_of(sign_key))  # libsodium takes keys of mixed order here
    except InvalidKey as error:
        raise BadSignature(f"the key is none: {error}") from None
    try:
        sodium.crypto_sign_open(signature + labelled(label, *parts), sign_key)
    except CryptoError:
        raise BadSignature(f"not made by this key for {label!r}") from None


def parse_sign_id(text: str) -> SignId:
    """``text`` as a signId: canonical base64 of 32 bytes that are a sound Ed25519 public key, or InvalidKey."""
    if not isinstance(text, str):
        raise InvalidKey(f"a signId is text, not {type(text).__name__}")
    sign_id = SignId(text)
    box_id_of(sign_id)
    return sign_id


@lru_cache(maxsize=4096)
def raw_key(key: SignId | BoxId) -> bytes:
    """The 32 bytes of a signId or boxId."""
    if not isinstance(key, str) or len(key) != 44 or not key.isascii():
        raise InvalidKey(f"{quoted(key)}: a key is 44 characters of standard base64")
    try:
        raw = base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise InvalidKey(f"a key is 44 characters of standard base64: {error}") from None
    if len(raw) != KEY_SIZE or _text(raw) != key:
        raise InvalidKey("not the canonical base64 of 32 bytes")
    return raw


def sign_id_of(sign_key: bytes) -> SignId:
    """The text form of a raw Ed25519 public key."""
    if len(sign_key) != KEY_SIZE:
        raise InvalidKey(f"a key has {KEY_SIZE} bytes, not {len(sign_key)}")
    return SignId(_text(sign_key))


@lru_cache(maxsize=4096)
def box_id_of(sign_id: SignId) -> BoxId:
    """The X25519 image; InvalidKey when the bytes are no point, not canonical, or of low or mixed order."""
    raw = raw_key(sign_id)
    if int.from_bytes(raw, "little") & (2**255 - 1) >= _FIELD_PRIME:
        raise InvalidKey("not the canonical form of a point")
    try:
        return BoxId(_text(sodium.crypto_sign_ed25519_pk_to_curve25519(raw)))
    except CryptoError:
        raise InvalidKey("not a point of the prime-order group, so nobody holds a secret for it") from None


def is_box_key(raw: bytes) -> bool:
    """Whether a box to this raw X25519 key can be made: 32 bytes that are not of low order."""
    try:
        return len(raw) == KEY_SIZE and len(sodium.crypto_scalarmult(b"\x01" * KEY_SIZE, raw)) == KEY_SIZE
    except CryptoError:
        return False


@cache
def _label(label: str) -> bytes:
    raw = label.encode()
    return len(raw).to_bytes(4, "big") + raw


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _opened(path: Path, content: bytes, passphrase: str | None) -> Identity:
    if not sealed_key.is_sealed(content):
        return Identity(base64.b64decode(content.strip(), validate=True))
    sealed = sealed_key.parse(content)
    made = Identity(sealed.open(passphrase_of(path, sealed) if passphrase is None else passphrase))
    if made.sign_id != sealed.sign_id:
        raise IdentityError(f"the key inside is that of {made.sign_id}")
    return made


def _unusable(path: Path, error: Exception) -> IdentityError:
    return IdentityError(
        f"{path} is not a key file ({error}); restore it from a backup, or move it away to become somebody new"
    )
