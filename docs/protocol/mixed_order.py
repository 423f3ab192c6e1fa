"""A key of mixed order, and signatures by it that the plain equation accepts: only a look at the key refuses them."""

from hashlib import sha512

import nacl.bindings as sodium

ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


class MixedPair:
    """The pair of a seed, with a point of order 8 added to its public key."""

    def __init__(self, seed: bytes) -> None:
        scalar = bytearray(sha512(seed).digest()[:32])
        scalar[0] &= 248
        scalar[31] = scalar[31] & 127 | 64
        self.scalar = sodium.crypto_core_ed25519_scalar_reduce(bytes(scalar) + bytes(32))
        self.public = sodium.crypto_core_ed25519_add(sodium.crypto_sign_seed_keypair(seed)[0], ORDER_8)

    def sign(self, message: bytes) -> bytes:
        """R | S with S B = R + h key: nonces are tried until h times the added point is nothing."""
        for attempt in range(1000):
            nonce = _reduced(sha512(b"%d" % attempt + message).digest())
            commitment = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
            challenge = _reduced(sha512(commitment + self.public + message).digest())
            if challenge[0] % 8 == 0:
                product = sodium.crypto_core_ed25519_scalar_mul(challenge, self.scalar)
                signature: bytes = commitment + sodium.crypto_core_ed25519_scalar_add(nonce, product)
                assert sodium.crypto_sign_open(signature + message, self.public) == message
                return signature
        raise AssertionError("a thousand nonces, none of them good")


def _reduced(value: bytes) -> bytes:
    return bytes(sodium.crypto_core_ed25519_scalar_reduce(value))
