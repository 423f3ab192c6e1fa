"""Encrypts payloads from twin to twin: AES-256-GCM under a key that two twins share for as long as their seeds live.

There is no forward secrecy, and both directions have one key. A nonce that comes twice under it gives away what two
payloads have in common and lets anybody forge, so nonces are random, and never those of anybody else.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from mm_transports.rmb.protocol.envelope import SEAL_SIZE
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.primitives import NONCE_SIZE, AesGcm
from mmplatform.errors import ProtocolError

CACHED: Final = 4096  # twins whose shared keys are remembered


class PayloadKeys:
    """The keys that one twin shares with others. The one that was not used for longest is forgotten first."""

    def __init__(self, keys: TwinKeys, entropy: Callable[[int], bytes], cached: int = CACHED) -> None:
        """From the keys of the twin; ``entropy`` gives as many random bytes as it is asked for."""
        self._keys, self._entropy, self._cached = keys, entropy, cached
        self._shared: OrderedDict[bytes, AesGcm] = OrderedDict()

    def encrypt(self, plain: bytes, pk: bytes) -> bytes:
        """Encrypt to the twin with this pk; return the nonce, the encrypted bytes and the tag. Raises InvalidKey."""
        nonce = self._entropy(NONCE_SIZE)
        return nonce + self._with(pk).encrypt(nonce, plain)

    def decrypt(self, cipher: bytes, pk: bytes) -> bytes:
        """Decrypt what the twin with this pk has encrypted. Raises ProtocolError, or InvalidKey."""
        if len(cipher) < SEAL_SIZE:
            raise ProtocolError("bad-cipher", f"an encrypted payload has at least {SEAL_SIZE} bytes")
        return self._with(pk).decrypt(cipher[:NONCE_SIZE], cipher[NONCE_SIZE:])

    def _with(self, pk: bytes) -> AesGcm:
        found = self._shared.get(pk)
        if found is None:
            found = self._shared[pk] = AesGcm(hashlib.sha256(self._keys.encryption.shared_x(pk)).digest())
            if len(self._shared) > self._cached:
                self._shared.popitem(last=False)
        else:
            self._shared.move_to_end(pk)
        return found
