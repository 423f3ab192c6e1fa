"""Decides where others may make us go: the one rule for every address that somebody else names. Pure.

Who is known here (a friend, a device, somebody with a name, or whose ticket was added) may be anywhere. Everybody else
is dialled at global unicast addresses, or in a network that this host is attached to and where that peer was heard of.
:meth:`Reach.names` judges a host before it is looked up, :meth:`Reach.admits` the address that was found, to which the
connection is then made: a second look-up could give another one. Prefixes are our own, since ``ipaddress`` counts
6to4, NAT64 and some more among the global ones.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

Span = tuple[int, int]  # first and last address of a network, as numbers: ten times as fast to compare

LOWEST_PORT: Final = 1024  # the lowest port of a stranger that is dialled: below are services, as a rule no nodes
TLS_PORT: Final = 443  # the one lower port that may be dialled, when what is spoken there is TLS
REFUSED: Final = "only who is known here may name this address"  # the whole answer, whatever is, or listens, there


def _spans(*prefixes: str) -> dict[int, list[Span]]:
    """These networks by the version of IP."""
    found: dict[int, list[Span]] = {4: [], 6: []}
    for network in map(ip_network, prefixes):
        found[network.version].append((int(network.network_address), int(network.broadcast_address)))
    return found


_UNICAST: Final = _spans("0.0.0.0/0", "2000::/3")  # outside are addresses that stand for IPv4 ones, or lead nowhere
_RESERVED: Final = _spans(
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # behind the NAT of a provider
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # the metadata of a cloud, at a global address
    "169.254.0.0/16",  # link-local, and the metadata of clouds
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocols
    "192.0.2.0/24",  # documentation
    "192.80.8.124/32",  # the metadata of a cloud, at a global address
    "192.88.99.0/24",  # relays of 6to4
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/3",  # multicast, reserved, broadcast
    "2001::/23",  # protocols: Teredo, ORCHID, benchmarks
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: IPv4 addresses of any kind
    "3fff::/20",  # documentation
)
PRIVATE: Final[tuple[IPNetwork, ...]] = tuple(
    ip_network(prefix) for prefix in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
LOOPBACK: Final[tuple[IPNetwork, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_NEVER: Final = _spans(  # whatever network this host says it is attached to
    "0.0.0.0/8", "169.254.0.0/16", "192.88.99.0/24", "224.0.0.0/3", "2001::/23", "2002::/16"
)  # fmt: skip
_HOSTS: Final = _spans("0.0.0.0/0", "2000::/3", "fc00::/7", "::1/128")
_METADATA: Final = frozenset(map(ip_address, ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))  # of clouds
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_TOP: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")  # begins with a letter: no reader takes it for a number
_ZONE: Final = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # the name of an interface, or its number
_LOCAL_TOPS: Final = frozenset(
    ("arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
     "private", "test")
)  # fmt: skip
_METADATA_LABELS: Final = frozenset(("metadata", "instance-data"))


class Here(NamedTuple):
    """The addresses of this host, and the networks that it is attached to, loopback among both."""

    own: frozenset[IPAddress]
    networks: tuple[IPNetwork, ...]


NOWHERE: Final = Here(frozenset(), ())


class Reach(NamedTuple):
    """Where one peer may make us go.

    ``anywhere``: wherever it says. ``heard_on``: the networks where it was heard of; loopback counts only there.
    ``beside``: whether it may be on this host, at one of its addresses in those networks. ``home``: whether it may name
    hosts by names of this network, and relays without TLS, too. ``here`` tells what this host is attached to now.
    """

    anywhere: bool = False
    heard_on: tuple[IPNetwork, ...] = ()
    beside: bool = False
    home: bool = False
    here: Callable[[], Here] = lambda: NOWHERE

    def names(self, host: str) -> bool:
        """Whether to look up, or dial, ``host``: an IP address in its one spelling, or a public name."""
        if self.anywhere or self.home or parsed(host) is not None:
            return True
        zoned = link_local(host)
        return is_public_name(host) if zoned is None else _within(zoned, self.heard_on)

    def admits(self, host: str, port: int, tls: bool = False) -> bool:
        """Whether to go to the IP address ``host``, which is dialled as it stands."""
        if self.anywhere:
            return True
        zoned = link_local(host)
        ip = zoned or parsed(host)
        if ip is None or (port < LOWEST_PORT and not (tls and port == TLS_PORT)) or port > 0xFFFF:
            return False
        here = self.here()
        return (is_global(ip) and ip not in here.own) or self._is_near(ip, here, zoned is not None)

    def public(self) -> "Reach":
        """The same without networks here: no meeting point of strangers is in one."""
        return self if self.anywhere else self._replace(heard_on=())

    def _is_near(self, ip: IPAddress, here: Here, zoned: bool) -> bool:
        """Whether ``ip`` is a host of a network here on which the peer was heard of; ``zoned``: on one link."""
        if ip in here.own and not (self.beside or ip.is_loopback):
            return False
        if ip in _METADATA or _in_spans(ip, _NEVER) or not (zoned or _in_spans(ip, _HOSTS)):
            return False
        attached = (network for network in here.networks if ip in network)
        return _within(ip, self.heard_on) and any(_is_host(ip, network) for network in attached)


ANYWHERE: Final = Reach(anywhere=True)


def parsed(host: str) -> IPAddress | None:
    """The IP address ``host``; None for names, and for spellings that other readers may take for another address."""
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return ip if str(ip) == host and "%" not in host else None


def link_local(host: str) -> IPv6Address | None:
    """The IPv6 address of a host on one link, which ``host`` gives with its zone (``fe80::1%eth0``); else None."""
    address, _, zone = host.partition("%")
    try:
        ip = IPv6Address(address)
    except ValueError:
        return None
    return ip if ip.is_link_local and str(ip) == address and _ZONE.fullmatch(zone) else None


def has_zone(address: str) -> bool:
    """Whether a URI names a host on one link by a zone, which means something to whoever has that zone alone."""
    if "%" not in address:
        return False
    try:
        return "%" in (urlsplit(address).hostname or "")
    except ValueError:
        return False


def is_global(ip: IPAddress) -> bool:
    """Whether ``ip`` is one host on the Internet, and stands for no other address."""
    return _in_spans(ip, _UNICAST) and not _in_spans(ip, _RESERVED)


def is_public_name(host: str) -> bool:
    """Whether ``host`` is a name of the public DNS as far as it shows: no number in disguise, no name of this network
    or of a cloud's metadata, no dot at its end."""
    *labels, top = host.split(".")
    if not labels or len(host) > 253 or top in _LOCAL_TOPS or not _METADATA_LABELS.isdisjoint(labels):
        return False
    return _TOP.fullmatch(top) is not None and all(map(_LABEL.fullmatch, labels))


def neighbourhood(host: str, here: Here) -> tuple[IPNetwork, ...]:
    """Where a peer whose link comes from the IP address ``host`` is heard of: at that very address, and nowhere when it
    is one of this host, as a proxy may stand there."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return () if ip.is_loopback or ip in here.own else (ip_network(ip),)


def _within(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(ip in network for network in networks)


def _in_spans(ip: IPAddress, spans: Mapping[int, Sequence[Span]]) -> bool:
    number = int(ip)
    return any(first <= number <= last for first, last in spans[ip.version])


def _is_host(ip: IPAddress, network: IPNetwork) -> bool:
    """Whether ``ip`` is none of the two addresses of ``network`` that mean more than one host."""
    return network.num_addresses <= 2 or ip not in (network.network_address, network.broadcast_address)
