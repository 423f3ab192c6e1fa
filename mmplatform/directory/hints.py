"""Keeps hints: addresses that somebody names for a peer without proof. The handshake proves who is there."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import SignId, parse_sign_id
from mmplatform.identity.nodeinfo import is_address

VALID: Final = 3600.0  # seconds that a hint is used
MAX_PEERS: Final = 1024  # peers with a hint
MAX_HINTED: Final = 4  # addresses in a hint; they are tried after those of the record


class Hint(NamedTuple):
    """The addresses that ``found_by`` named for one peer; good ``until`` a time in Unix seconds."""

    addresses: tuple[str, ...]
    found_by: str
    until: float


class Hints:
    """The last hint of each peer; when there are too many, the oldest is dropped."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hints: dict[SignId, Hint] = {}

    def __len__(self) -> int:
        return len(self._hints)

    def put(self, payload: Any) -> SignId:
        """Keep the hint ``{signId, connectionInfo, foundBy}``; return the peer. Raises InvalidRecord or InvalidKey."""
        addresses = payload.get("connectionInfo") if isinstance(payload, dict) else None
        if not isinstance(addresses, list) or not all(map(is_address, addresses)):
            raise InvalidRecord("malformed: addresses come as {signId, connectionInfo: [URI], foundBy}")
        peer = parse_sign_id(payload.get("signId", ""))
        self._hints.pop(peer, None)
        if len(self._hints) >= MAX_PEERS:
            del self._hints[next(iter(self._hints))]
        found_by = str(payload.get("foundBy", "service"))[:32]
        self._hints[peer] = Hint(tuple(addresses[:MAX_HINTED]), found_by, self._now() + VALID)
        return peer

    def of(self, peer: SignId) -> tuple[str, ...]:
        """Return the addresses that were named for ``peer`` lately."""
        hint = self._hints.get(peer)
        return hint.addresses if hint is not None and hint.until > self._now() else ()

    def forget(self, peer: SignId) -> None:
        """Drop the hint of ``peer``, whoever named it."""
        self._hints.pop(peer, None)

    def discard(self, peer: SignId, found_by: str) -> None:
        """Drop the hint of ``peer``, if it is one that ``found_by`` named."""
        if peer in self._hints and self._hints[peer].found_by == found_by:
            del self._hints[peer]
