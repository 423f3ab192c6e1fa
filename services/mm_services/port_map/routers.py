"""Talks to the router: the one that the default route of this host goes by, and to nobody else."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from mm_services.port_map.protocol import igd, natpmp
from mmplatform.addresses import is_global
from mmplatform.errors import ProtocolError, Unreachable

LEASE: Final = 3600  # seconds for which a port is asked for
TRIES: Final = (0.25, 0.5, 1.0)  # seconds to wait for each answer by UDP
PATIENCE: Final = 3.0  # seconds for a page of the router
ROUTES: Final = Path("/proc/net/route")

T = TypeVar("T")


class Mapped(NamedTuple):
    """Where we are reached from outside. ``control`` is that of UPnP, None of NAT-PMP; ``lifetime`` may be infinite."""

    router: str
    own: str
    outside: IPv4Address
    port: int
    inside: int
    lifetime: float
    control: igd.Control | None

    @property
    def how(self) -> str:
        """The protocol, for people."""
        return "NAT-PMP" if self.control is None else "UPnP"


def default_router(routes: Path = ROUTES) -> str:
    """Return the IPv4 address of the router that the default route goes by, "" when that is not known."""
    with suppress(OSError, ValueError):
        for line in routes.read_text().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & 2:
                return str(IPv4Address(bytes.fromhex(fields[2])[::-1]))
    return ""


def own_address(router: str) -> str:
    """Return the address of ours that packets to ``router`` leave from. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((router, natpmp.PORT))
        return str(sock.getsockname()[0])


async def map_port(router: str, own: str, inside: int) -> Mapped:
    """Have ``router`` lead a port to ``inside`` of ``own``. Raises Unreachable, with what either protocol said."""
    reasons: list[str] = []
    for kind, attempt in (("NAT-PMP", _by_natpmp), ("UPnP", _by_upnp)):
        try:
            return await attempt(router, own, inside)
        except (OSError, ProtocolError, TimeoutError, Unreachable) as error:
            reasons.append(f"{kind}: {str(error) or 'no answer'}")
    raise Unreachable(f"the router {router} maps no port ({'; '.join(reasons)})")


async def give_back(mapped: Mapped) -> None:
    """Have the router lead the port here no more. Raises OSError, TimeoutError or ProtocolError."""
    if mapped.control is None:
        await _asked(mapped.router, natpmp.PORT, natpmp.ask(mapped.inside, 0, 0), natpmp.read_given_back)
        return
    try:
        await _ordered(
            mapped.router, mapped.control, "DeletePortMapping",
            NewRemoteHost="", NewExternalPort=mapped.port, NewProtocol="TCP",
        )  # fmt: skip
    except ProtocolError as error:
        if error.reason != igd.NOT_MAPPED:
            raise


async def _by_natpmp(router: str, own: str, inside: int) -> Mapped:
    outside = _public(await _asked(router, natpmp.PORT, natpmp.ADDRESS, natpmp.read_address))
    granted = await _asked(router, natpmp.PORT, natpmp.ask(inside, inside, LEASE), natpmp.read_granted)
    if granted.inside != inside or not granted.outside or not granted.lifetime:
        raise ProtocolError("bad-answer", "the router grants something else than was asked for")
    return Mapped(router, own, outside, granted.outside, inside, granted.lifetime, None)


async def _by_upnp(router: str, own: str, inside: int) -> Mapped:
    port, path = await _asked(router, igd.PORT, igd.SEARCH, lambda answer: igd.read_location(answer, router))
    control = igd.read_control(await _page(router, port, igd.get(path, router, port)), port, router)
    outside = _public(igd.read_outside(await _ordered(router, control, "GetExternalIPAddress")))
    wanted = {
        "NewRemoteHost": "", "NewExternalPort": inside, "NewProtocol": "TCP", "NewInternalPort": inside,
        "NewInternalClient": own, "NewEnabled": 1, "NewPortMappingDescription": "mm-platform",
    }  # fmt: skip
    lifetime: float = LEASE
    try:
        await _ordered(router, control, "AddPortMapping", **wanted, NewLeaseDuration=LEASE)
    except ProtocolError as error:
        if error.reason != igd.ONLY_PERMANENT:
            raise
        await _ordered(router, control, "AddPortMapping", **wanted, NewLeaseDuration=0)
        lifetime = inf
    return Mapped(router, own, outside, inside, inside, lifetime, control)


def _public(outside: IPv4Address) -> IPv4Address:
    """Return the address when others reach it: else a port would lead nowhere. Raises Unreachable."""
    if not is_global(outside):
        raise Unreachable(f"the router is behind another one: it has {outside} itself")
    return outside


async def _ordered(router: str, control: igd.Control, action: str, **arguments: object) -> bytes:
    return await _page(router, control.port, igd.order(control, router, action, **arguments))


async def _page(router: str, port: int, request: bytes) -> bytes:
    """Ask for a page; of more than MOST bytes the rest is not read."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(router, port, limit=igd.MOST)
        try:
            writer.write(request)
            answer = bytearray()
            while len(answer) < igd.MOST and (more := await reader.read(igd.MOST - len(answer))):
                answer += more
        finally:
            writer.transport.abort()
    return igd.read_page(bytes(answer))


async def _asked(router: str, port: int, request: bytes, read: Callable[[bytes], T]) -> T:
    """Ask by UDP, and read the first answer of the router; those of others do not reach the socket."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _FirstOfRouter(heard), remote_addr=(router, port)
    )
    try:
        for pause in TRIES:
            transport.sendto(request)
            done, _ = await asyncio.wait([heard], timeout=pause)
            if done:
                return read(heard.result())
    finally:
        transport.close()
        heard.cancel()
    raise TimeoutError


class _FirstOfRouter(asyncio.DatagramProtocol):
    def __init__(self, heard: "asyncio.Future[bytes]") -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._heard.done():
            self._heard.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._heard.done():
            self._heard.set_exception(exc)
