"""Connections from their first moment: TCP, then TLS, then the request. Of too many, those that are silent give way."""

import asyncio
import os
import socket
import ssl as tls
from contextlib import suppress
from typing import Protocol, cast

from mm_relay.doors.limits import Unproven
from mm_relay.doors.turns import LoopTurns
from mmplatform.accounts import network_of_host


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


class TLSArrival(asyncio.Protocol):
    """A TCP connection during its TLS handshake, which counts and may give way like one that sends no request.

    Nothing is done before it says something: what TLS keeps of a connection is a hundred times the socket. A listener
    with TLS says nothing of a connection before its handshake is over, so this is one without, and the
    socket begins anew with TLS. (``start_tls`` would lose what came first: uvloop reads at once.)
    """

    def __init__(
        self, served: asyncio.Protocol, context: tls.SSLContext, within: float, arrivals: Arrivals, turns: LoopTurns
    ) -> None:
        """Take a connection; ``served`` has it after the handshake, which has to be over ``within`` seconds."""
        self._served, self._context, self._within, self._arrivals = served, context, within, arrivals
        self._turns, self._loop = turns, asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ip = ""
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        peer, given = made.get_extra_info("peername"), made.get_extra_info("socket")
        if peer and given is not None:
            self._socket = socket.socket(fileno=os.dup(given.fileno()))
            self._socket.setblocking(False)
            self._ip = peer[0]
            self._arrivals.add(self, self._ip)
            self._timer = self._loop.call_later(self._within, self.abort)
            self._loop.add_reader(self._socket, self._speaks)
        made.abort()  # closes its own descriptor of the socket

    def abort(self, why: str = "") -> None:
        """Cut the connection off within its handshake."""
        if self._task is not None:
            self._task.cancel()
        elif self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._socket = None
        self._arrivals.remove(self)

    def _speaks(self) -> None:
        """Begin the handshake when its network has its turn."""
        assert self._socket is not None
        self._loop.remove_reader(self._socket)
        self._turns.newcomer(network_of_host(self._ip), self._begin)

    def _begin(self) -> None:
        if self._socket is not None:
            self._task = self._loop.create_task(self._shake_hands(self._socket), name="mm relay tls")

    async def _shake_hands(self, given: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._served, given, ssl=self._context, ssl_handshake_timeout=self._within
            )
        except (OSError, RuntimeError):  # tls.SSLError and TimeoutError are OSErrors
            given.close()
        except asyncio.CancelledError:
            with suppress(OSError):
                given.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            self._end()
