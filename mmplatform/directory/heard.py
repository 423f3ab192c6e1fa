"""Remembers on which networks peers were heard of: an address there may be dialled though it is not public."""

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any, Final

from mmplatform.addresses import IPNetwork
from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import SignId

VALID: Final = 3600.0  # seconds that it counts: this host may be elsewhere then, in a network of the same numbers
MAX_PEERS: Final = 1024
MAX_NETWORKS: Final = 16  # of one peer; the latest stay


class HeardOn:
    """The networks of each peer, until a time in Unix seconds; the peer that was heard of longest ago gives way."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._networks: dict[SignId, dict[IPNetwork, float]] = {}

    def add(self, peer: SignId, networks: Iterable[IPNetwork]) -> bool:
        """Note that ``peer`` was heard of on ``networks``; whether one of them is news."""
        known = self.of(peer)
        until = dict.fromkeys(networks, self._now() + VALID)
        if not until:
            return False
        kept = self._networks.pop(peer, {})
        if len(self._networks) >= MAX_PEERS:
            del self._networks[next(iter(self._networks))]
        merged = {network: end for network, end in kept.items() if network not in until} | until
        self._networks[peer] = dict(list(merged.items())[-MAX_NETWORKS:])
        return not until.keys() <= set(known)

    def of(self, peer: SignId) -> tuple[IPNetwork, ...]:
        """Return where ``peer`` was heard of lately."""
        now = self._now()
        return tuple(network for network, until in self._networks.get(peer, {}).items() if until > now)


def networks_of(payload: Any) -> tuple[IPNetwork, ...]:
    """Return the networks in what a service says (``heardOn``). Raises InvalidRecord."""
    named = payload.get("heardOn", []) if isinstance(payload, dict) else []
    try:
        return tuple(map(ip_network, named))[:MAX_NETWORKS]
    except (TypeError, ValueError) as error:
        raise InvalidRecord(f"malformed: heardOn is a list of networks ({error})") from None
