"""The home of the libraries of RMB, which come with the extra [rmb]: curves, AES-GCM and the word list.

sr25519 draws its nonces itself, so that no two signatures are the same; everything else here is a function of what it
is given.
"""

from functools import cache
from typing import Any, Final, NoReturn

from mmplatform.errors import IdentityError, InvalidKey, PluginError, ProtocolError
from mmplatform.identity.keys import parse_sign_id, sign_id_of

try:
    import sr25519  # type: ignore[import-untyped]
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from mnemonic import Mnemonic
except ImportError as error:
    raise PluginError(f"RMB needs a library ({error}); pip install 'mm-platform[rmb]'") from None

SEED_SIZE: Final = 32
ACCOUNT_SIZE: Final = 32  # bytes of the public key of a twin's account
PK_SIZE: Final = 33  # bytes of the public key that payloads are encrypted to: a compressed point
SIGNATURE_SIZE: Final = 64
NONCE_SIZE: Final = 12

_NEUTRAL: Final = bytes(ACCOUNT_SIZE)  # Ristretto's neutral element: for this "key" anybody makes signatures
_COMPRESSED: Final = (2, 3)
_CURVE: Final = ec.SECP256K1()
_schnorrkel: Final[Any] = sr25519  # compiled, without types


class Sr25519Signer:
    """Schnorr signatures over Ristretto, in the signing context of Substrate."""

    def __init__(self, seed: bytes) -> None:
        self._pair: tuple[bytes, bytes] = _schnorrkel.pair_from_seed(seed)
        self.account = self._pair[0]

    def sign(self, message: bytes) -> bytes:
        return bytes(_schnorrkel.sign(self._pair, message))

    def __reduce__(self) -> NoReturn:
        raise _kept()


class Ed25519Signer:
    """Ed25519 (RFC 8032)."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.account = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def __reduce__(self) -> NoReturn:
        raise _kept()


Signer = Sr25519Signer | Ed25519Signer


def verify_sr25519(account: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``account`` made the signature. It has one form: marked as Schnorr's, its scalar reduced."""
    if account == _NEUTRAL:
        return False
    try:
        return bool(_schnorrkel.verify(signature, message, account))
    except ValueError:
        return False


def verify_ed25519(account: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``account``, a point of the prime-order group in its one form, made the signature."""
    try:
        parse_sign_id(sign_id_of(account))
        Ed25519PublicKey.from_public_bytes(account).verify(signature, message)
    except (InvalidKey, InvalidSignature, ValueError):
        return False
    return True


class Secp256k1Key:
    """The key by which payloads are encrypted. ``public`` is the pk of the twin, as the registry has it."""

    def __init__(self, seed: bytes) -> None:
        try:
            self._key = ec.derive_private_key(int.from_bytes(seed), _CURVE)
        except ValueError:
            raise IdentityError("the seed is no key of secp256k1") from None
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)

    def shared_x(self, pk: bytes) -> bytes:
        """Return the x coordinate (32 bytes) of the point shared with ``pk``. Raises InvalidKey."""
        return self._key.exchange(ec.ECDH(), _point(pk))

    def __reduce__(self) -> NoReturn:
        raise _kept()


def check_pk(pk: bytes) -> None:
    """Raise InvalidKey unless payloads can be encrypted to this key."""
    _point(pk)


class AesGcm:
    """AES-256-GCM under one key, with nothing but the payload authenticated."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, nonce: bytes, plain: bytes) -> bytes:
        """Return the encrypted bytes and the tag."""
        return self._aead.encrypt(nonce, plain, None)

    def decrypt(self, nonce: bytes, sealed: bytes) -> bytes:
        """Return the payload. Raises ProtocolError."""
        try:
            return self._aead.decrypt(nonce, sealed, None)
        except InvalidTag:
            raise ProtocolError("bad-cipher", "the payload was not encrypted by this pair of twins") from None


def entropy_of(phrase: str) -> bytes:
    """Return the entropy that the words of a BIP39 phrase stand for. Raises IdentityError, which holds none of them."""
    words = phrase.split()
    try:
        return bytes(_english().to_entropy(words))
    except (LookupError, ValueError):
        unknown = sum(word not in _known() for word in words)
    if len(words) not in (12, 15, 18, 21, 24):
        raise IdentityError(f"a phrase has 12, 15, 18, 21 or 24 words, not {len(words)}")
    if unknown:
        raise IdentityError(f"{unknown} words of the phrase are not in the English list of BIP39")
    raise IdentityError("the checksum of the phrase is wrong: a word is another one, or stands elsewhere")


def _point(pk: bytes) -> ec.EllipticCurvePublicKey:
    """Raises InvalidKey."""
    if len(pk) != PK_SIZE or pk[0] not in _COMPRESSED:
        raise InvalidKey(f"a pk is a compressed point of secp256k1, of {PK_SIZE} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, pk)
    except ValueError:
        raise InvalidKey("the pk is no point of secp256k1") from None


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")


@cache
def _known() -> frozenset[str]:
    return frozenset(_english().wordlist)


def _kept() -> TypeError:
    return TypeError("a key of a twin is not to be pickled or copied: it holds the secret")
