"""Knows the networks that this host is attached to, as the rule for addresses (addresses.py) asks for them."""

import time
from functools import lru_cache
from ipaddress import ip_address, ip_interface
from typing import Final

from mmplatform.addresses import Here

LASTS: Final = 2.0  # seconds that an answer of the system, which takes half a millisecond, is used


def here() -> Here:
    """The addresses and networks of this host as they are now, or were LASTS seconds ago."""
    return _look(int(time.monotonic() / LASTS))


@lru_cache(maxsize=1)
def _look(moment: int) -> Here:
    import ifaddr  # slow to import, and needed only when a stranger names an address

    found = [(ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip) for a in ifaddr.get_adapters() for ip in a.ips]
    return Here(
        frozenset(ip_address(text) for text, _ in found),
        tuple(ip_interface(f"{text}/{ip.network_prefix}").network for text, ip in found),
    )
