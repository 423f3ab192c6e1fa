"""Talks to the router: the one that the default route of this host goes by, and to nobody else."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from mm_services.port_map.protocol import igd, natpmp
from mmplatform.addresses import LOWEST_PORT, is_global
from mmplatform.errors import ProtocolError, Unreachable

LEASE: Final = 3600  # seconds for which a port is asked for
TRIES: Final = (0.25, 0.5, 1.0)  # seconds to wait for each answer by UDP
PATIENCE: Final = 3.0  # seconds for a page of the router
LAST: Final = 1.0  # seconds to give back what may have been granted unheard
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
        request, inside = natpmp.ask(mapped.inside, 0, 0), mapped.inside
        await _asked(mapped.router, natpmp.PORT, request, lambda answer: natpmp.read_given_back(answer, inside))
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
    request = natpmp.ask(inside, inside if inside >= LOWEST_PORT else 0, LEASE)
    try:
        granted = await _asked(router, natpmp.PORT, request, lambda answer: natpmp.read_granted(answer, inside))
    except BaseException:  # also when the node stops: what was granted unheard, or unfit, stays open else
        _tell(router, natpmp.PORT, natpmp.ask(inside, 0, 0))
        raise
    return Mapped(router, own, outside, granted.outside, inside, granted.lifetime, None)


async def _by_upnp(router: str, own: str, inside: int) -> Mapped:
    port, path = await _asked(router, igd.PORT, igd.SEARCH, lambda answer: igd.read_location(answer, router))
    control = igd.read_control(await _page(router, port, igd.get(path, router, port)), port, router)
    outside = _public(igd.read_outside(await _ordered(router, control, "GetExternalIPAddress")))
    mapped = Mapped(router, own, outside, inside, inside, LEASE, control)
    try:
        return mapped._replace(lifetime=await _lent(mapped, control))
    except (OSError, asyncio.CancelledError):  # also when the node stops: what was granted unheard stays open else
        with suppress(OSError, ProtocolError):
            async with asyncio.timeout(LAST):
                await give_back(mapped)
        raise


async def _lent(mapped: Mapped, control: igd.Control) -> float:
    """Ask for the port by UPnP; return for how long it is lent."""
    wanted = {
        "NewRemoteHost": "", "NewExternalPort": mapped.port, "NewProtocol": "TCP", "NewInternalPort": mapped.inside,
        "NewInternalClient": mapped.own, "NewEnabled": 1, "NewPortMappingDescription": "mm-platform",
    }  # fmt: skip
    try:
        await _ordered(mapped.router, control, "AddPortMapping", **wanted, NewLeaseDuration=LEASE)
    except ProtocolError as error:
        if error.reason != igd.ONLY_PERMANENT:
            raise
        await _ordered(mapped.router, control, "AddPortMapping", **wanted, NewLeaseDuration=0)
        return inf
    return LEASE


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
    """Ask by UDP, and return the first answer that fits: what does not may be from a host that sends as the router."""
    loop = asyncio.get_running_loop()
    fits: asyncio.Future[T] = loop.create_future()
    fits.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may come when nobody waits any more
    transport, answers = await loop.create_datagram_endpoint(lambda: _Answers(read, fits), remote_addr=(router, port))
    try:
        for pause in TRIES:
            transport.sendto(request)
            done, _ = await asyncio.wait([fits], timeout=pause)
            if done:
                return fits.result()
    finally:
        transport.close()
        fits.cancel()
    raise answers.unfit or TimeoutError


def _tell(router: str, port: int, request: bytes) -> None:
    """Send what no answer is waited for."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(request, (router, port))


class _Answers(asyncio.DatagramProtocol, Generic[T]):
    """Reads what comes until something fits, or declines; ``unfit`` is what was wrong with the last that did not."""

    def __init__(self, read: Callable[[bytes], T], fits: "asyncio.Future[T]") -> None:
        self._read, self._fits = read, fits
        self.unfit: ProtocolError | None = None

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._fits.done():
            return
        try:
            self._fits.set_result(self._read(data))
        except ProtocolError as error:
            if error.reason == natpmp.DECLINED:
                self._fits.set_exception(error)
            else:
                self.unfit = error

    def error_received(self, exc: Exception) -> None:
        if not self._fits.done():
            self._fits.set_exception(exc)
