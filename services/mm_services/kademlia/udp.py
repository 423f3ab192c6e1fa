"""Sends and receives the datagrams of a node, and knows the addresses at which others reach it."""

import asyncio
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from mm_services.kademlia.protocol.address import IPV4, Address, host_text, of_text, parse_uri, scope_of
from mmplatform import forks
from mmplatform.errors import LocalError

RECEIVE_BUFFER: Final = 1024 * 1024
SEND_LIMIT: Final = 256 * 1024  # bytes that wait for a full socket; further datagrams are lost, as on any full path

Received = Callable[[bytes, Address], None]


class Sockets(asyncio.DatagramProtocol):
    """One socket a family at most; ``received`` is called for every datagram."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._transports: dict[int, asyncio.DatagramTransport] = {}
        self._bound: dict[int, Address] = {}
        forks.watch(self)

    def forked(self) -> None:
        """Leave the ports to the parent: this is a child."""
        for transport in self._transports.values():
            forks.let_go_of(transport)

    @property
    def families(self) -> int:
        return sum(self._transports)

    async def listen(self, uri: str, port: int = 0) -> Address:
        """Bind ``kad://host:port``; a port left open (0) is ``port`` if that is free. Raises LocalError."""
        host, wanted = parse_uri(uri)
        for number in dict.fromkeys([wanted or port, wanted]):
            try:
                bound = _bind(host, number)
                break
            except OSError as error:
                reason = error.strerror or str(error)
        else:
            raise LocalError(f"cannot listen on {uri}: {reason}")
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=bound)
        address = of_text(*bound.getsockname()[:2])
        if address.family in self._transports:
            transport.abort()
            raise LocalError(f"cannot listen on {uri}: one address of each family, and {self._bound} is there already")
        self._transports[address.family] = transport
        self._bound[address.family] = address
        return address

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram, which may be lost."""
        transport = self._transports.get(address.family)
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > SEND_LIMIT:  # type: ignore[attr-defined]  # missing in typeshed only
            return
        try:
            transport.sendto(data, (host_text(address.host), address.port))
        except (OSError, ValueError):
            return  # no route, or the interface is gone: the same as a lost datagram

    def close(self) -> None:
        for transport in self._transports.values():
            transport.abort()
        self._transports.clear()

    def own(self) -> frozenset[Address]:
        """Return every address at which our sockets answer."""
        everywhere = {family for family, bound in self._bound.items() if not any(bound.host)}
        found = {bound for family, bound in self._bound.items() if family not in everywhere}
        if everywhere:
            hosts = _interfaces()
            for family in everywhere:
                port = self._bound[family].port
                found |= {Address(h, port) for h in hosts if (len(h) == 4) == (family == IPV4)}
        return frozenset(found)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        try:
            came_from = Address(_raw(addr[0]), addr[1])
        except ValueError:
            return
        self._received(data, came_from)

    def error_received(self, exc: Exception) -> None:
        """Do nothing: a datagram that could not be delivered is late, which is handled."""


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(name)
    except OSError:
        bound.close()
        raise
    return bound


@lru_cache(maxsize=4096)
def _raw(host: str) -> bytes:
    return of_text(host, 0).host


def _interfaces() -> set[bytes]:
    import ifaddr  # slow to import, and needed by nodes that listen on all interfaces only

    texts = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return {raw for raw in map(_raw, texts) if scope_of(raw) is not None}
