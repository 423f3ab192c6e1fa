"""Moves frames over TCP: four bytes of length, big endian, then the frame (docs/protocol/session.rst, "Framing").

All connections of a thread read into one buffer, one after the other; only a large frame whose rest is to come has
memory of its own. There is no task, timer or stream object on the data path.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from mmap import mmap
from typing import ClassVar, Final, cast
from urllib.parse import urlsplit

from mm_transports import accepting, resolving
from mm_transports.accepting import Acceptor
from mmplatform import forks
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
SPARE: Final = 4  # buffers that a thread keeps for the next large frames
KEPT: Final = 4096  # bytes of a frame that is not whole which a connection keeps as they are
ANY: Final = "*"  # for a host: all addresses, of IPv4 and IPv6

log = logging.getLogger("mm_transports.tcp")


class _Shared(threading.local):
    """What the connections of a thread read into: a loop reads and handles what came in one step."""

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.spare: list[memoryview] = []  # for large frames: memory that is used again costs less than new


_shared = _Shared()


class TCP(Transport):
    """The transport of ``tcp://host:port``, IPv4 and IPv6; it listens at ``tcp://*:port`` in both."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)
    cost: ClassVar[int] = DIRECT
    listens_at: ClassVar[tuple[str, ...]] = ("tcp://*:0",)

    def __init__(self) -> None:
        self._acceptors: list[Acceptor] = []
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
        opening = accepting.Opening(lambda: TCPConnection(accept))
        acceptor = Acceptor(opening, accepting.AT_ONCE, accepting.RATE, accepting.BURST)
        try:
            if host == ANY:
                acceptor.bind_everywhere(port)
            else:
                await acceptor.bind(host, port)
            acceptor.start()
        except OSError as error:
            acceptor.close()
            raise LocalError(f"cannot listen on {hint}: {error.strerror or error}") from None
        self._acceptors.append(acceptor)
        return _addresses(acceptor)

    def reachable(self) -> list[str] | None:
        if not any(host in accepting.EVERYWHERE for acceptor in self._acceptors for host, _ in acceptor.names):
            return None
        return [address for acceptor in self._acceptors for address in _addresses(acceptor)]

    async def close(self) -> None:
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.close()


class TCPConnection(asyncio.BufferedProtocol, Connection):
    """Either end of a TCP connection."""

    max_frame = LENGTH_LIMIT
    cost = DIRECT

    def __init__(self, accept: Accept) -> None:
        self.address = ""
        self._accept = accept
        self._receiver: FrameReceiver
        self._transport: asyncio.Transport | None = None
        self._paused = self._resuming = False  # whether no frame may be handed over; whether that ends in a later turn
        self._buffer, self._view, self._spare = _shared.buffer, _shared.view, _shared.spare
        self._rest = b""  # the beginning of a frame whose rest is to come
        self._large: memoryview | None = None  # where a large frame is whose rest is to come
        self._filled = self._whole = 0  # how many bytes of it are there, and will be
        self._error: Exception | None = None

    def write(self, frame: bytes | bytearray) -> None:
        if self._transport is None or self._transport.is_closing():
            return  # asyncio warns on stderr of each that is written between the loss and the word of it
        self._transport.write(len(frame).to_bytes(4) + frame)

    def pause_reading(self) -> None:
        self._resuming = False
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._resuming:
            self._resuming = True
            asyncio.get_running_loop().call_soon(self._read_on)

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
        forks.watch(self)
        self._receiver = self._accept(self)

    def forked(self) -> None:
        """Leave the connection to the parent: this is a child."""
        forks.let_go_of(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._receiver.connection_lost(self._error or exc)
        # Memory is freed now, not when the garbage collector finds the cycle that this object is part of.
        self._large, self._rest = None, b""

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._large is not None:
            return self._large[self._filled : self._whole]
        if self._rest:
            kept = len(self._rest)
            self._view[:kept] = self._rest
            return self._view[kept:]
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._large is not None:
            self._filled += nbytes
            if self._filled == self._whole:
                self._large_is_whole(self._large)
            return
        self._hand_over(self._view, len(self._rest) + nbytes)

    def _read_on(self) -> None:
        """Hand over the frames that came before the pause, then read on, unless it is paused again meanwhile."""
        if not self._resuming:
            return
        self._paused = self._resuming = False
        if self._transport is None or self._transport.is_closing():
            return
        rest = memoryview(self._rest)
        if len(rest) > KEPT:
            self._receiver.holds(0)
        self._hand_over(rest, len(rest))
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _hand_over(self, view: memoryview, end: int) -> None:
        """Hand over the frames in ``view``, up to ``end``; what is left waits for its rest, or for a pause to end."""
        start, received = 0, self._receiver.frame_received
        while end - start >= 4:
            size = int.from_bytes(view[start : start + 4])
            if size > LENGTH_LIMIT:
                self._refuse(size)
                return
            if end - start - 4 < size:
                if end - start > KEPT:
                    self._begin_large(view[start:end], size)
                    start = end
                break
            start += 4 + size
            received(view[start - size : start])
            if self._transport is None or self._transport.is_closing():
                start = end
                break
            if self._paused:
                break
        if start < end or self._rest:
            self._rest = bytes(view[start:end])
            if self._paused and end - start > KEPT:
                self._receiver.holds(end - start)

    def _begin_large(self, begun: memoryview, size: int) -> None:
        """Take memory for a frame that is coming in, as long as it does."""
        self._filled, self._whole = len(begun), 4 + size
        # Pages of the system's own: taken as bytes come in, and given back at the end, which a heap may not do.
        self._large = self._spare.pop() if self._spare else memoryview(mmap(-1, BUFFER))
        self._large[: self._filled] = begun
        self._receiver.holds(self._whole)

    def _large_is_whole(self, large: memoryview) -> None:
        self._large = None
        self._receiver.holds(0)
        self._receiver.frame_received(large[4 : self._whole])
        if len(self._spare) < SPARE:
            self._spare.append(large)

    def _refuse(self, size: int) -> None:
        log.debug("%s announces a frame of %d bytes and is cut off", self.address, size)
        self._error = ProtocolError("too-long", f"a frame of {size} bytes was announced, {LENGTH_LIMIT} is the limit")
        self._rest = b""
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


def _addresses(acceptor: Acceptor) -> list[str]:
    return [format_address(*name) for name in reachable(acceptor.names)]


def reachable(names: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the addresses at which sockets bound to ``names`` answer others, those of the default route first.

    Link-local IPv4 addresses count only when there is no better one, loopback only when there is no other at all; and
    link-local IPv6 ones mean something on one link only, where mDNS tells them.
    """
    named = [(host, port) for host, port in names if host not in accepting.EVERYWHERE and not host.startswith("fe80:")]
    ports = {":" in host: port for host, port in names if host in accepting.EVERYWHERE}
    if not ports:
        return named
    from mmplatform.interfaces import addresses  # slow to import, and needed by listeners on all interfaces only

    found = [(ip, ports[":" in ip]) for ip in addresses() if (":" in ip) in ports]
    loopback = [(ip, port) for ip, port in found if ip.startswith("127.") or ip == "::1"]
    local = [(ip, port) for ip, port in found if ip.startswith("169.254.")]
    others = [each for each in found if each not in (*loopback, *local) and not each[0].startswith("fe80:")]
    return named + (others or local or loopback)
