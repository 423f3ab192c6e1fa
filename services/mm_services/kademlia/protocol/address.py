"""Addresses of DHT nodes: UDP, the ``kad://`` form, and whom an address may be told (directory.rst, "Addresses")."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mmplatform import addresses
from mmplatform.addresses import LOWEST_PORT, is_global

SCHEME: Final = "kad"
IPV4: Final = 1
IPV6: Final = 2
LOOPBACK: Final = 0
PRIVATE: Final = 1
PUBLIC: Final = 2

_MAPPED: Final = bytes(10) + b"\xff\xff"


class Address(NamedTuple):
    """``host`` is the 4 or 16 bytes of an IP address."""

    host: bytes
    port: int

    @property
    def family(self) -> int:
        return IPV4 if len(self.host) == 4 else IPV6

    def __str__(self) -> str:
        text = str(ip_address(self.host))
        return f"{SCHEME}://[{text}]:{self.port}" if self.family == IPV6 else f"{SCHEME}://{text}:{self.port}"


def of_text(host: str, port: int) -> Address:
    """Return the address of an IP in text form; IPv4 inside IPv6 becomes IPv4. Raises ValueError."""
    raw = ip_address(host.partition("%")[0]).packed
    return Address(raw[12:] if raw.startswith(_MAPPED) else raw, port)


@lru_cache(maxsize=4096)
def host_text(host: bytes) -> str:
    """Return the text form of an IP."""
    return str(ip_address(host))


def parse_uri(uri: str) -> tuple[str, int]:
    """Return host (a name or an IP) and port of ``kad://host:port``. Raises ValueError."""
    parts = urlsplit(uri)
    if parts.scheme != SCHEME or not parts.hostname or parts.port is None:
        raise ValueError(f"{uri!r} is not {SCHEME}://host:port")
    return parts.hostname, parts.port


@lru_cache(maxsize=16384)
def scope_of(host: bytes) -> int | None:
    """Return LOOPBACK, PRIVATE or PUBLIC; None for an address to which nobody can send, or which is not one node's."""
    if len(host) not in (4, 16):
        return None
    ip = ip_address(host)
    if is_global(ip):
        return PUBLIC
    if ip.is_loopback:
        return LOOPBACK
    return PRIVATE if any(ip in network for network in addresses.PRIVATE) else None


def is_usable(address: Address) -> bool:
    """Whether a datagram may be sent there."""
    return LOWEST_PORT <= address.port < 65536 and scope_of(address.host) is not None


def may_tell(told: bytes, to: bytes) -> bool:
    """Whether the host ``told`` means something to the host ``to``: private addresses stay in private networks."""
    scope, reach = scope_of(told), scope_of(to)
    return scope is not None and reach is not None and scope >= reach


def network_of(host: bytes) -> bytes | None:
    """Return the network (/24 or /48) in which one owner may have many hosts; None for private addresses."""
    if scope_of(host) != PUBLIC:
        return None
    return host[:3] if len(host) == 4 else host[:6]


def payer_of(address: Address) -> bytes:
    """Return who is charged for a datagram from ``address``: the host, for IPv6 its /64, for loopback the process."""
    if scope_of(address.host) == LOOPBACK:
        return address.host + address.port.to_bytes(2, "big")
    return address.host if len(address.host) == 4 else address.host[:8]
