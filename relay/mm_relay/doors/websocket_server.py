"""Listens for the WebSockets of a relay: upgrades, plain pages on the same port, bounds, TLS."""

import asyncio
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from mm_relay.access import Network
from mm_relay.doors.arrivals import MAX_REQUEST, Arrivals, Newcomer
from mm_relay.doors.failures import log_failure
from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.metered import MeteredProtocol
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import Accepted, Answer, UpgradeRefused, UpgradeRequest
from mm_transports.accepting import Acceptor
from mm_transports.relay.websocket import PING_EVERY, WebSocket
from mmplatform.accounts import network_of_host
from mmplatform.errors import LocalError

UNDER_WAY: Final = 1024 * 1024  # bytes in the receive buffer: they still come after a client was told to pause
FRAMES: Final = 64  # frames of one connection that are handled at a time
UPGRADE_WITHIN: Final = 3.0  # seconds for TLS, and as many for the request
ACCEPTED: Final = 64  # connections accepted in one turn of the loop; they cost little before they say something
POST: Final = b"POST "
PLAIN: Final = "text/plain"  # in ASCII: what anybody asks for is answered with few bytes

Page = tuple[int, str, bytes]  # status, content type, body


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """What all connections of one listener may hold together.

    Args:
        upgrading: Connections that have not sent their request yet, TLS handshakes included.
        half_sent: Bytes of messages that have not come to their end, or wait for their turn.
        half_sent_address: The same, of one address.

    """

    upgrading: int = 192
    half_sent: int = 32 * 1024 * 1024
    half_sent_address: int = 8 * 1024 * 1024


LIMITS: Final = ListenerLimits()


async def serve(
    host: str,
    port: int,
    answer: Answer,
    *,
    max_message: int,
    ssl: tls.SSLContext | None = None,
    http: Callable[[str], Page | None] = lambda path: None,
    proxies: Sequence[Network] = (),
    ping_every: float = PING_EVERY,
    upgrade_timeout: float = UPGRADE_WITHIN,
    limits: ListenerLimits = LIMITS,
    post: Callable[[str, HalfSent[Any]], asyncio.Protocol] | None = None,
    turns: LoopTurns | None = None,
    start: bool = True,
) -> Acceptor:
    """Listen, until what is returned is closed.

    Args:
        host: The address to listen at.
        port: 0 for any.
        answer: Says what becomes of a request for a WebSocket, at once or within ``upgrade_timeout``; an
            UpgradeRefused it raises is told the client.
        max_message: Bytes of the longest message, the longest that any door takes.
        ssl: With the certificate; None for no TLS.
        http: Answers plain GETs of a path.
        proxies: Those that are believed when they say in X-Forwarded-For for whom they speak.
        ping_every: Seconds of silence after which a client is asked whether it is there.
        upgrade_timeout: Seconds for TLS, and for the request.
        limits: Of what is above them the oldest, or the largest, is cut off.
        post: Makes what has a connection whose first word is POST, from its address and what counts what it holds.
        turns: Those of the loop; None when nobody else shares them.
        start: False to take the port and let nobody in before ``Acceptor.start``.

    Raises:
        LocalError: The port cannot be had.

    """
    half_sent: HalfSent[_Served] = HalfSent(limits.half_sent, limits.half_sent_address)
    entrance = _Entrance(
        answer, http, proxies, max_message, ping_every, upgrade_timeout, Arrivals(limits.upgrading), half_sent,
        turns or LoopTurns(), post,
    )  # fmt: skip

    def arrive(given: socket.socket, ip: str) -> None:
        Newcomer(given, ip, partial(_Served, entrance), upgrade_timeout, entrance.arrivals, entrance.turns, ssl)

    acceptor = Acceptor(arrive, ACCEPTED)
    try:
        await acceptor.bind(host, port)
        if start:
            acceptor.start()
    except OSError as error:
        acceptor.close()
        raise LocalError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return acceptor


@dataclass
class _Entrance:
    """The state that all connections of one listener share."""

    answer: Answer
    http: Callable[[str], Page | None]
    proxies: Sequence[Network]
    max_message: int
    ping_every: float
    upgrade_timeout: float
    arrivals: Arrivals
    half_sent: HalfSent["_Served"]
    turns: LoopTurns
    post: Callable[[str, HalfSent[Any]], asyncio.Protocol] | None = None


class _Served(WebSocket):
    """The server's end. What comes is handled frame by frame, as long as the turn of the loop has time for it. ``said``
    was read before it was made."""

    __slots__ = ("_answering", "_asking", "_entrance", "_has_turn", "_queued", "_said", "_turns")
    _protocol: MeteredProtocol

    def __init__(self, entrance: _Entrance, said: bytes = b"") -> None:
        super().__init__(MeteredProtocol(max_size=entrance.max_message), entrance.ping_every)
        self._entrance, self._turns = entrance, entrance.turns
        self.newcomer = True
        self._said, self._has_turn = said, bool(said)
        self._asking = MAX_REQUEST  # bytes that a request may still have; 0 once it is there
        self._queued = False  # whether what came waits for its turn; the connection is not read then
        self._answering: asyncio.Task[None] | None = None  # while a door looks up who asks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.ip:
            self.abort("gone already")
            return
        self._entrance.arrivals.add(self, self.ip)
        self._wait(self._entrance.upgrade_timeout, lambda: self.abort("no request in time"))
        if self._said:
            self._loop.call_soon(self._hear_first)

    def data_received(self, data: bytes) -> None:
        if self._said:
            data, self._said = self._said + data, b""
        self._heard, self._silences = self._loop.time(), 0
        if self._asking:
            if self._entrance.post is not None and self._asking == MAX_REQUEST and data.startswith(POST):
                self._give_to(self._entrance.post(self.ip, self._entrance.half_sent), data)
                return
            data = self._begun(data)
        self._protocol.receive_data(data)
        if not self._queued and not self._reading_paused:
            if self.newcomer and not self._has_turn:
                self._postpone(partial(self._turns.newcomer, network_of_host(self.ip)))
            elif self._turns.has_time():
                self._has_turn = False
                self._proceed()
            else:
                self._postpone(self._turns.first)
        self._count()

    def eof_received(self) -> None:
        self._hear_first()
        if self._owner is None:  # a request that waits for its turn is answered now: TLS takes nothing after the end
            self._corked = True
            self._handle_events()
            self._uncork()
        super().eof_received()

    def resume_reading(self) -> None:
        super().resume_reading()
        if self._protocol.has_more and not self._queued and self._transport is not None:
            self._postpone(self._turns.rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._entrance.half_sent.forget(self, self.ip)
        self._entrance.arrivals.remove(self)
        if self._answering is not None:
            self._loop.call_soon(self._answering.cancel)  # once it has begun: Python complains of what never did
        super().connection_lost(exc)
        self._protocol.drop()

    def _give_to(self, other: asyncio.Protocol, data: bytes) -> None:
        """Have ``other`` go on with the connection, on which nothing but ``data`` was said."""
        transport, self._transport = self._transport, None
        self._entrance.arrivals.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        assert transport is not None
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(data)

    def _hear_first(self) -> None:
        """Hear what was read before, unless more has come by itself."""
        if self._said and self._transport is not None:
            self.data_received(b"")

    def _begun(self, data: bytes) -> bytes:
        """Take so much of a request as it may have; return what comes behind.

        The library keeps the headers of one that has no end where nobody counts them.
        """
        if self._protocol.has_more:  # it is there, and waits for its turn
            self._asking = 0
            return data
        first, rest = data[: self._asking], data[self._asking :]
        self._protocol.receive_data(first)
        self._asking -= len(first)
        if not self._asking and not self._protocol.has_more:
            self.abort("its request is too long")
            return b""
        return rest

    def _proceed(self) -> None:
        """Handle what has come; what there is no time for waits behind what others have said."""
        protocol, has_time = self._protocol, self._turns.has_time
        self._corked = True  # all answers leave in one piece
        for _ in range(FRAMES):
            self._handle_events()
            if not protocol.has_more or self._reading_paused or not has_time():
                break
            protocol.next_frame()
        self._handle_events()
        self._uncork()
        if protocol.has_more and not self._reading_paused and self._transport is not None:
            self._postpone(self._turns.rest)

    def _postpone(self, until: Callable[[Callable[[], None]], None]) -> None:
        self._queued = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        until(self._go_on)

    def _go_on(self) -> None:
        self._queued = False
        if self._transport is None or self._reading_paused:
            return
        self._proceed()
        if not self._queued and not self._reading_paused and not self._transport.is_closing():
            self._transport.resume_reading()
        self._count()

    def _count(self) -> None:
        self._entrance.half_sent.count(self, self.ip, self._protocol.buffered + len(self._partial))

    def _handshake(self, event: Any) -> None:
        assert isinstance(event, Request)
        self._entrance.half_sent.forget(self, self.ip)
        self._asking = 0
        protocol = self._protocol
        self._named(*_behind(self._entrance.proxies, event.headers, self.ip, self.remote))
        if "Upgrade" not in event.headers:
            self._entrance.arrivals.remove(self)
            protocol.send_response(_page(event, self._entrance.http(event.path.partition("?")[0])))
            return
        try:
            answer = self._entrance.answer(_upgrade_request(event, self.ip))
            if isinstance(answer, Accepted):
                self._upgrade(event, answer)
            else:
                self.pause_reading()
                self._answering = self._loop.create_task(self._look_up(event, answer), name="mm relay look-up")
        except Exception as error:
            self._refuse(error)

    async def _look_up(self, event: Request, answer: Awaitable[Accepted]) -> None:
        """Wait for a door. The client is not read; its time for the request goes on, and it may have to give way."""
        try:
            accepted = await answer
            if self._transport is not None:
                self._corked = True
                self._upgrade(event, accepted)
        except Exception as error:
            self._refuse(error)
        finally:
            self._answering = None
            self._uncork()
            self.resume_reading()

    def _refuse(self, error: Exception) -> None:
        """Tell the client what a door raised in place of an answer; a door is a plugin."""
        self._entrance.arrivals.remove(self)
        protocol = self._protocol
        if isinstance(error, UpgradeRefused) and protocol.state is State.CONNECTING:
            protocol.send_response(protocol.reject(error.status, f"{error}\n"))
            return
        log_failure("a door", error)
        protocol.data_to_send()  # nothing has left yet: all answers to what came in one piece wait for its end
        protocol.send_response(protocol.reject(HTTPStatus.INTERNAL_SERVER_ERROR, "this door is broken\n"))

    def _upgrade(self, event: Request, accepted: Accepted) -> None:
        self._entrance.arrivals.remove(self)
        protocol = self._protocol
        response = protocol.accept(event)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and accepted.subprotocol:
            protocol.subprotocol = Subprotocol(accepted.subprotocol)
            response.headers["Sec-WebSocket-Protocol"] = accepted.subprotocol
        protocol.send_response(response)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.newcomer = False
            self._widen()
            self._begin(accepted.owner_of, text=accepted.text)
            event.path = ""  # the library's parser keeps the request for as long as it runs
            event.headers.clear()

    def _widen(self) -> None:
        """Let more be under way than a newcomer may have read."""
        plain = self._transport.get_extra_info("socket") if self._transport is not None else None
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNDER_WAY)


def _upgrade_request(request: Request, ip: str) -> UpgradeRequest:
    path, _, query = request.path.partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers.raw_items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    offered = (name.strip() for name in headers.get("sec-websocket-protocol", "").split(","))
    return UpgradeRequest(path, query, headers, tuple(name for name in offered if name), ip)


def _page(request: Request, page: Page | None) -> Response:
    status, kind, body = page or (HTTPStatus.NOT_FOUND, PLAIN, b"there is nothing here\n")
    headers = Headers([("Connection", "close"), ("Content-Type", kind)])  # its end is that of the connection
    if request.method not in ("GET", "HEAD"):
        status, body = HTTPStatus.METHOD_NOT_ALLOWED, b""
        headers = Headers([("Connection", "close"), ("Content-Length", "0"), ("Allow", "GET, HEAD")])
    return Response(status, HTTPStatus(status).phrase, headers, b"" if request.method == "HEAD" else body)


def _behind(proxies: Sequence[Network], headers: Headers, ip: str, remote: str) -> tuple[str, int]:
    """Return who connects: the last in X-Forwarded-For that is no proxy of ours; clients may forge those before."""
    port = int(remote.rpartition(":")[2])
    if not proxies or not _in(ip, proxies):
        return ip, port
    passed = [name.strip() for line in headers.get_all("X-Forwarded-For") for name in line.split(",")]
    for name in reversed(passed):
        try:
            ip_address(name)
        except ValueError:
            break
        ip, port = name, 0
        if not _in(name, proxies):
            break
    return ip, port


def _in(ip: str, networks: Sequence[Network]) -> bool:
    address = ip_address(ip)
    return any(address in network for network in networks)
