"""Knows the interfaces of this host: on which to announce an address, and which hosts are on the same link."""

import ipaddress
import secrets
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final

import ifaddr

from mmplatform.interfaces import here, text_of

GROUP: Final = "224.0.0.251"
PORT: Final = 5353
PATIENCE: Final = 0.3  # seconds in which a packet from this host to itself should arrive


def multicast_on(hosts: Iterable[str]) -> list[str | int]:
    """Return where to announce ``hosts``, addresses of this machine: the IPv4 addresses of the interfaces that have
    them, and the indexes of those that speak IPv6."""
    wanted = {host.partition("%")[0] for host in hosts}
    chosen: list[str | int] = []
    for adapter in ifaddr.get_adapters():
        addresses = [text_of(ip) for ip in adapter.ips]
        if wanted.isdisjoint(addresses):
            continue
        chosen += [address for address in addresses if ":" not in address]
        if adapter.index is not None and any(":" in address and address != "::1" for address in addresses):
            chosen.append(adapter.index)
    return chosen


def link_local() -> list[str]:
    """Return the IPv6 addresses of this machine that mean something on one link only, without zones."""
    found = [text_of(ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [address for address in found if address.startswith("fe80:")]


def on_link(hosts: Sequence[str]) -> list[str]:
    """Return those of ``hosts`` that are on a network of one of our interfaces: asking them bothers nobody else."""
    found = []
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            continue
        if any(address in network for network in here().networks):
            found.append(host)
    return found


def networks_with(hosts: Sequence[str]) -> list[str]:
    """Return the networks of the interfaces that have one of ``hosts``, addresses of this machine: what is heard on
    them comes from one of these."""
    wanted, found = {host.partition("%")[0] for host in hosts}, []
    for adapter in ifaddr.get_adapters():
        if not wanted.isdisjoint(map(text_of, adapter.ips)):
            found += [str(ipaddress.ip_interface(f"{text_of(ip)}/{ip.network_prefix}").network) for ip in adapter.ips]
    return found


def hears_itself(interface: str) -> bool:
    """Whether a multicast packet sent on ``interface``, an IPv4 address, comes back; it does not leave the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            member = socket.inet_aton(GROUP) + socket.inet_aton(interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sock.bind(("", 0))
            sock.sendto(b"", (GROUP, sock.getsockname()[1]))
            sock.recv(1)
        except OSError:
            return False
    return True


def lets_mdns_through(interface: str) -> str:
    """Return why a packet sent to the port of mDNS on ``interface`` does not come back to us; "" when it does."""
    question = secrets.token_bytes(2) + bytes(10)  # an mDNS message that asks nothing
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            for option in (socket.SO_REUSEADDR, getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)):
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
            member = socket.inet_aton(GROUP) + socket.inet_aton(interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            sock.bind(("", PORT))
            sock.sendto(question, (GROUP, PORT))
            until = time.monotonic() + PATIENCE
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                if sock.recv(512) == question:
                    return ""
        except TimeoutError:
            pass
        except OSError as error:
            return error.strerror or str(error)
    return "packets do not come back"
