"""Connections from their first moment: TCP, then TLS, then the request. Of too many, those that are silent give way."""

import asyncio
import ssl as tls
from contextlib import suppress
from typing import Protocol, cast

from mm_relay.doors.limits import Unproven


class Arriving(Protocol):
    """A connection that has not sent its request."""

    def abort(self, why: str = "") -> None: ...


class Arrivals:
    """Those of one listener, ``most`` at a time: the oldest of the largest network gives way to one more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: Unproven[Arriving] = Unproven()
        self._ips: dict[Arriving, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: Arriving, ip: str) -> None:
        self._waiting.add(one, ip)
        self._ips[one] = ip
        if len(self._waiting) > self._most and (oldest := self._waiting.oldest_of_largest()) is not None:
            self.remove(oldest)
            oldest.abort("it said nothing, and others came")

    def remove(self, one: Arriving) -> None:
        """Forget a connection that has sent its request, or is gone."""
        ip = self._ips.pop(one, None)
        if ip is not None:
            self._waiting.remove(one, ip)


class Arrival(asyncio.Protocol):
    """A TCP connection during its TLS handshake, which counts and may give way like one that sends no request.

    A listener with TLS of asyncio says nothing of a connection before its handshake is over, so this is one without.
    """

    def __init__(self, served: asyncio.Protocol, context: tls.SSLContext, within: float, arrivals: Arrivals) -> None:
        """Take a connection; ``served`` has it after the handshake, which has to be over ``within`` seconds."""
        self._served, self._context, self._within, self._arrivals = served, context, within, arrivals
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not peer:
            self._transport.abort()
            return
        self._transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._shake_hands(self._transport), name="mm relay tls")
        self._arrivals.add(self, peer[0])

    def abort(self, why: str = "") -> None:
        """Cut the connection off within its handshake."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        early = _Early()
        try:
            async with asyncio.timeout(self._within):
                secured = await asyncio.get_running_loop().start_tls(
                    transport, early, self._context, server_side=True, ssl_handshake_timeout=self._within
                )
        except (OSError, TimeoutError, RuntimeError):  # tls.SSLError is an OSError
            transport.abort()
            return
        finally:
            self._arrivals.remove(self)
        if secured is None or early.lost:
            transport.abort()
            return
        secured.set_protocol(self._served)
        self._served.connection_made(secured)
        if early.data:
            with suppress(EOFError):
                self._served.data_received(bytes(early.data))


class _Early(asyncio.Protocol):
    """Keeps what comes in the moment between the end of the handshake and the turn of the task that waits for it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
