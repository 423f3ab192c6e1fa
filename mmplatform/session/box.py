"""Seals and opens data frames straight with libsodium: XSalsa20-Poly1305 under a key that was agreed before.

PyNaCl's own binding takes and gives ``bytes``, through two more copies and a cleared buffer: 4 us of the 60 that 64 KiB
take, a third of what 100 bytes take. Its ``ffi`` checks no lengths, so they are checked here and nowhere else.
"""

from collections.abc import Callable
from typing import Any, Final

from nacl._sodium import ffi, lib  # type: ignore[import-not-found]  # compiled, without types
from nacl.exceptions import CryptoError

from mmplatform.session.packets import KEY, MAC

NONCE: Final = 24

_Box = Callable[[Any, Any, int, bytes, bytes], int]

_buffer: Final[Callable[[Any], Any]] = ffi.from_buffer
_seal: Final[_Box] = lib.crypto_box_easy_afternm
_open: Final[_Box] = lib.crypto_box_open_easy_afternm


def seal(plaintext: bytes, nonce: bytes, key: bytes) -> bytearray:
    """Seal ``plaintext`` in a box. Raises CryptoError for a key that is not 32 bytes or a nonce that is not 24."""
    if len(key) != KEY or len(nonce) != NONCE:
        raise CryptoError("not a key, or not a nonce")
    size = len(plaintext)
    box = bytearray(size + MAC)
    _seal(_buffer(box), plaintext, size, nonce, key)
    return box


def unseal(box: bytes | memoryview, nonce: bytes, key: bytes) -> bytearray:
    """Return the content of ``box``. Raises CryptoError when it is not a box of this key and nonce."""
    size = len(box)
    if len(key) != KEY or len(nonce) != NONCE or size < MAC:
        raise CryptoError("not a key, not a nonce, or not a box")
    plaintext = bytearray(size - MAC)
    if _open(_buffer(plaintext), _buffer(box), size, nonce, key):
        raise CryptoError("it does not open")
    return plaintext
