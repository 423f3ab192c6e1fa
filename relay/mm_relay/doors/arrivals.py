"""Connections from their first moment: TCP, then TLS, then the request. Of too many, those that are silent give way."""

import asyncio
import socket
import ssl as tls
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from mm_relay.doors.limits import Unproven
from mm_relay.doors.turns import LoopTurns
from mmplatform.accounts import network_of_host

MAX_REQUEST: Final = 16 * 1024  # bytes, all headers included
PAGES: Final = " pages"  # have turns of their own: who asks how a relay is does not wait behind who wants more of it
END: Final = b"\r\n\r\n"  # of a request (RFC 9112, section 2.1)
AT_ONCE: Final = struct.pack("ii", 1, 0)  # of SO_LINGER: nothing lingers, not even in the system


class Arriving(Protocol):
    """A connection that may have to give way."""

    def abort(self, why: str = "") -> None: ...


class Arrivals:
    """Connections that are to do something soon, ``most`` at a time: the oldest of the largest network gives way to one
    more. ``why`` is the reason that it is cut off for."""

    def __init__(self, most: int, why: str = "it said nothing, and others came") -> None:
        self._most, self._why = most, why
        self._waiting: Unproven[Arriving] = Unproven()
        self._ips: dict[Arriving, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: Arriving, ip: str) -> None:
        self._waiting.add(one, ip)
        self._ips[one] = ip
        if len(self._waiting) > self._most and (oldest := self._waiting.oldest_of_largest()) is not None:
            self.remove(oldest)
            oldest.abort(self._why)

    def remove(self, one: Arriving) -> None:
        """Forget a connection that has done it, or is gone."""
        ip = self._ips.pop(one, None)
        if ip is not None:
            self._waiting.remove(one, ip)


class Newcomer:
    """A connection that has not said all it has to say first: a socket, what came, and nothing else.

    What TLS keeps of a connection is a hundred times the socket, and what a WebSocket does ten times. So TLS begins
    when there is something to read, a WebSocket is made when a whole request is there, and both when its network has
    its turn. Until then it may give way, and during TLS.
    """

    def __init__(
        self,
        given: socket.socket,
        ip: str,
        made: Callable[[bytes], asyncio.Protocol],
        within: float,
        arrivals: Arrivals,
        turns: LoopTurns,
        context: tls.SSLContext | None,
    ) -> None:
        """Take a connection; what ``made`` makes of what was read already has it from then on, with ``context`` after
        the TLS handshake. That has to be within ``within`` seconds."""
        self._socket, self._ip, self._made, self._within = given, ip, made, within
        self._arrivals, self._turns, self._context = arrivals, turns, context
        self._loop = asyncio.get_running_loop()
        self._said = b""
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._timer = self._loop.call_later(within, self.abort)
        self._loop.add_reader(given, self._speaks)
        arrivals.add(self, ip)

    def abort(self, why: str = "") -> None:
        """Cut the connection off."""
        if self._task is not None:
            if self._context is not None:  # else what was made has it in a moment
                self._task.cancel()
        elif not self._ended:
            self._loop.remove_reader(self._socket)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self._socket.close()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._timer.cancel()
        self._arrivals.remove(self)

    def _speaks(self) -> None:
        """Begin when its network has its turn, without TLS once the request has its end."""
        if self._context is None and not self._is_whole():
            return
        self._loop.remove_reader(self._socket)
        asks_for_page = self._context is None and b"upgrade" not in self._said.lower()
        self._turns.newcomer(network_of_host(self._ip) + PAGES * asks_for_page, self._begin)

    def _is_whole(self) -> bool:
        """Read on; what is no request, or a longer one than there may be, is cut off."""
        try:
            more = self._socket.recv(MAX_REQUEST - len(self._said))
        except BlockingIOError:
            return False
        except OSError:
            more = b""
        self._said += more
        if END in self._said[-len(more) - len(END) :]:
            return True
        if not more or len(self._said) >= MAX_REQUEST or not self._said[:1].isalpha():
            self.abort("it makes no request")
        return False

    def _begin(self) -> bool:
        """Return whether anything begins: a TLS handshake is work of a millisecond or two, a WebSocket of a third."""
        if self._ended:
            return False
        self._task = self._loop.create_task(self._open(), name="mm relay newcomer")
        return True

    async def _open(self) -> None:
        within = self._within if self._context is not None else None
        try:
            await self._loop.connect_accepted_socket(
                partial(self._made, self._said), self._socket, ssl=self._context, ssl_handshake_timeout=within
            )
        except (OSError, RuntimeError):  # tls.SSLError and TimeoutError are OSErrors
            self._socket.close()
        except asyncio.CancelledError:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            self._end()
