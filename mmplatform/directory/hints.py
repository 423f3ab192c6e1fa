"""Addresses that somebody names for a peer without proof; the handshake proves who is there."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import SignId, parse_sign_id
from mmplatform.identity.nodeinfo import is_address

VALID: Final = 3600.0  # seconds
MAX_PEERS: Final = 1024
MAX_ADDRESSES: Final = 4  # a peer: they are tried behind those of its record


class Hint(NamedTuple):
    addresses: tuple[str, ...]
    found_by: str
    until: float


class Hints:
    """The last hint of each peer; when there are too many the oldest gives way."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hints: dict[SignId, Hint] = {}

    def __len__(self) -> int:
        return len(self._hints)

    def put(self, payload: Any) -> SignId:
        """Take up ``{signId, connectionInfo, foundBy}``; raises InvalidRecord or InvalidKey."""
        addresses = payload.get("connectionInfo") if isinstance(payload, dict) else None
        if not isinstance(addresses, list) or not all(map(is_address, addresses)):
            raise InvalidRecord("malformed: addresses come as {signId, connectionInfo: [URI], foundBy}")
        peer = parse_sign_id(payload.get("signId", ""))
        self._hints.pop(peer, None)
        if len(self._hints) >= MAX_PEERS:
            del self._hints[next(iter(self._hints))]
        found_by = str(payload.get("foundBy", "service"))[:32]
        self._hints[peer] = Hint(tuple(addresses[:MAX_ADDRESSES]), found_by, self._now() + VALID)
        return peer

    def of(self, peer: SignId) -> tuple[str, ...]:
        """What was named for ``peer`` lately."""
        hint = self._hints.get(peer)
        return hint.addresses if hint is not None and hint.until > self._now() else ()

    def discard(self, peer: SignId, found_by: str) -> None:
        """Whoever named these addresses takes them back."""
        if peer in self._hints and self._hints[peer].found_by == found_by:
            del self._hints[peer]
