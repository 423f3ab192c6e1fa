"""Limits what one address may cost us: tokens prove that it hears us, a rate bounds it ("Tokens and quotas")."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mm_services.kademlia.protocol.address import Address, payer_of
from mm_services.kademlia.protocol.wire import TOKEN

TOKEN_STEP: Final = 300.0  # seconds; a token is good for one to two of these
PAYERS: Final = 8192  # payers whose rate is remembered


class Tokens:
    """Hands out tokens without remembering them: each is a keyed hash of the address and the step of time."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._secret = random(32)
        self._at = lru_cache(maxsize=256)(self._hashed)  # a flood asks for the same few again and again

    def token(self, address: Address, now: float) -> bytes:
        return self._at(address, int(now // TOKEN_STEP))

    def good(self, token: bytes, address: Address, now: float) -> bool:
        """Whether ``address`` was given this token not long ago, which proves that it hears what is sent there."""
        step = int(now // TOKEN_STEP)
        return len(token) == TOKEN and (token == self._at(address, step) or token == self._at(address, step - 1))

    def _hashed(self, address: Address, step: int) -> bytes:
        told = step.to_bytes(8, "big") + address.port.to_bytes(2, "big") + address.host
        return hashlib.blake2b(told, digest_size=TOKEN, key=self._secret).digest()


class Rate:
    """Token buckets, one a payer: ``per_second`` in the long run, ``burst`` at once. The longest silent is dropped."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left: dict[bytes, tuple[float, float]] = {}

    def allows(self, address: Address, now: float, cost: float = 1.0) -> bool:
        """Whether one more from ``address`` is within its rate; counts it if so."""
        payer = payer_of(address)
        left, since = self._left.pop(payer, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - since) * self._per_second)
        allowed = left >= cost
        self._left[payer] = (left - cost if allowed else left, now)
        if len(self._left) > PAYERS:
            del self._left[next(iter(self._left))]
        return allowed
