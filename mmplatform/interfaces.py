"""Knows the networks that this host is attached to, as the rule for addresses (addresses.py) asks for them, and its
addresses in the order in which others should try them."""

import socket
import time
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Final

from mmplatform.addresses import Here

if TYPE_CHECKING:
    import ifaddr

FAR: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # nobody's: beyond any default route
LASTS: Final = 2.0  # seconds that an answer of the system, which takes half a millisecond, is used


def addresses() -> list[str]:
    """Return the IP addresses of this host, those of the interface first that the default route leaves by."""
    import ifaddr  # slow to import

    leaving = {found for family, far in FAR if (found := _source(family, far))}
    adapters = [[text_of(ip) for ip in adapter.ips] for adapter in ifaddr.get_adapters()]
    return [ip for found in sorted(adapters, key=leaving.isdisjoint) for ip in found]


def here() -> Here:
    """The addresses and networks of this host as they are now, or were LASTS seconds ago."""
    return _look(int(time.monotonic() / LASTS))


def text_of(ip: "ifaddr.IP") -> str:
    """Return an address of an adapter, without the flow and scope that those of IPv6 have beside it."""
    return ip.ip if isinstance(ip.ip, str) else ip.ip[0]


@lru_cache(maxsize=1)
def _look(moment: int) -> Here:
    import ifaddr  # slow to import, and needed only when a stranger names an address

    found = [(text_of(ip), ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return Here(
        frozenset(ip_address(text) for text, _ in found),
        tuple(ip_interface(f"{text}/{ip.network_prefix}").network for text, ip in found),
    )


def _source(family: int, far: str) -> str:
    """The address of ours from which a packet to ``far`` would leave, "" for none; none is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((far, 9))
        return str(sock.getsockname()[0])
    return ""
