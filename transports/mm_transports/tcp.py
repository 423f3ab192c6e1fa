"""Moves frames over TCP: four bytes of length, big endian, then the frame (docs/protocol/session.rst, "Framing").

Reading fills one buffer that is used again and again; there is no task, timer or stream object on the data path.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import ClassVar, Final, cast
from urllib.parse import urlsplit

from mm_transports import resolving
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.errors import LocalError, ProtocolError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import (
    DIRECT,
    LENGTH_LIMIT,
    Accept,
    Connection,
    FrameReceiver,
    Transport,
    TransportHost,
)

CONNECT_TIMEOUT: Final = 5.0  # seconds: far above any round trip, far below the patience of a user
HIGH_WATER: Final = 512 * 1024  # bytes in the send buffer above which the sender is paused
BUFFER: Final = LENGTH_LIMIT + 4
SMALL_BUFFER: Final = 4096  # bytes of the first buffer: most connections of a large node are idle
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

log = logging.getLogger("mm_transports.tcp")


class TCP(Transport):
    """The transport of ``tcp://host:port``, IPv4 and IPv6."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)
    cost: ClassVar[int] = DIRECT
    listens_at: ClassVar[tuple[str, ...]] = ("tcp://0.0.0.0:0",)

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._reach: Callable[[SignId], Reach] = lambda peer: ANYWHERE

    def attach(self, host: TransportHost) -> None:
        self._reach = host.reach

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        host, port = parse_address(address)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await resolving.connect(lambda: TCPConnection(accept), host, port, reach=self._reach(peer))
            log.debug("connected to %s", connection.address)
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{address}: {str(error) or 'no answer'}") from None
        return connection

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        host, port = parse_address(hint)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: TCPConnection(accept), host, port, reuse_address=True)
        except OSError as error:
            raise LocalError(f"cannot listen on {hint}: {error.strerror or error}") from None
        self._servers.append(server)
        return _addresses(server)

    def reachable(self) -> list[str] | None:
        names = [sock.getsockname()[0] for server in self._servers for sock in server.sockets]
        if not any(name in EVERYWHERE for name in names):
            return None
        return [address for server in self._servers for address in _addresses(server)]

    async def close(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()


class TCPConnection(asyncio.BufferedProtocol, Connection):
    """Either end of a TCP connection."""

    max_frame = LENGTH_LIMIT
    cost = DIRECT

    def __init__(self, accept: Accept) -> None:
        self.address = ""
        self._accept = accept
        self._receiver: FrameReceiver
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(SMALL_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._error: Exception | None = None

    def write(self, frame: bytes | bytearray) -> None:
        if self._transport is None:
            return
        self._transport.write(len(frame).to_bytes(4) + frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.address = format_address(*peer[:2]) if peer else "tcp:closed"
        self._receiver = self._accept(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._receiver.connection_lost(self._error or exc)
        # The buffer is freed now, not when the garbage collector finds the cycle that this object is part of.
        self._buffer, self._view = bytearray(), memoryview(b"")

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        start, end = self._start, self._end + nbytes
        was_full = end == len(self._buffer)
        buffer, view, received = self._buffer, self._view, self._receiver.frame_received
        while end - start >= 4:
            size = int.from_bytes(buffer[start : start + 4])
            if size > LENGTH_LIMIT:
                self._refuse(size)
                return
            if end - start - 4 < size:
                break
            start += 4 + size
            received(view[start - size : start])
            if self._transport is None or self._transport.is_closing():
                start = end
                break
        if start == end:
            start = end = 0
        elif start:
            # The rest, shorter than a frame, moves to the front, where it has room to become whole.
            view[: end - start] = view[start:end]
            start, end = 0, end - start
        self._start, self._end = start, end
        if was_full and len(buffer) < BUFFER:
            self._grow()

    def _grow(self) -> None:
        grown = bytearray(BUFFER)
        grown[: self._end] = self._buffer[: self._end]
        self._buffer, self._view = grown, memoryview(grown)

    def _refuse(self, size: int) -> None:
        log.debug("%s announces a frame of %d bytes and is cut off", self.address, size)
        self._error = ProtocolError("too-long", f"a frame of {size} bytes was announced, {LENGTH_LIMIT} is the limit")
        self._end = self._start = 0
        self.abort()


@lru_cache(maxsize=1024)
def parse_address(address: str) -> tuple[str, int]:
    """Return (host, port) of ``tcp://host:port``. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None or parts.path or parts.query:
        raise ValueError(f"{address!r} is not tcp://host:port")
    return parts.hostname, parts.port


def format_address(host: str, port: int) -> str:
    """Return ``tcp://host:port``, with brackets around an IPv6 address."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _addresses(server: asyncio.Server) -> list[str]:
    return [format_address(*name[:2]) for sock in server.sockets for name in reachable(sock.getsockname())]


def reachable(name: tuple[str, int]) -> Iterable[tuple[str, int]]:
    """Return the addresses at which a socket bound to ``name`` answers.

    Link-local IPv4 addresses count only when there is no better one, loopback only when there is no other at all.
    """
    host, port = name[:2]
    if host not in EVERYWHERE:
        return [(host, port)]
    import ifaddr  # slow to import, and needed by listeners on all interfaces only

    wanted = socket.AF_INET6 if host == "::" else socket.AF_INET
    found = [
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv6 == (wanted == socket.AF_INET6)
    ]
    loopback = [ip for ip in found if ip.startswith("127.") or ip == "::1"]
    local = [ip for ip in found if ip.startswith("169.254.")]
    others = [ip for ip in found if ip not in (*loopback, *local) and not ip.startswith("fe80:")]
    return [(ip, port) for ip in others or local or loopback]
