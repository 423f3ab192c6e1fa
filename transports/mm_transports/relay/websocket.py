"""WebSocket connections of relays and their clients: whole messages in order, in the callback style of asyncio.

The Sans-I/O half of the websockets library does the protocol, this file and websocket_server.py do the sockets. There
is no task and no timer for each message: one timer a connection times the upgrade, the keep-alive and the close.
"""

import asyncio
import socket
import ssl as tls
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from mm_transports import tunnel
from mm_transports.proxies import Proxy
from mm_transports.system_trust import system_trust
from mmplatform import forks
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.errors import Unreachable
from mmplatform.text import escaped

CONNECT_TIMEOUT: Final = 10.0  # seconds, for TCP, TLS and the upgrade
PING_EVERY: Final = 12.0  # seconds of silence after which a ping is sent; three times as long ends a connection
SILENCES: Final = 2  # pings without an answer before the connection is ended
CLOSE_TIMEOUT: Final = 2.0  # seconds for the other end to answer a close, and to take what is buffered
HIGH_WATER: Final = 256 * 1024  # bytes in the send buffer above which the owner is paused
UNREAD_PONGS: Final = 16  # pings that are answered while the other end reads nothing


class WebSocketOwner(Protocol):
    """The owner of a connection; called from the event loop only (``pause_writing`` also from within ``send``)."""

    def message_received(self, message: bytes) -> None:
        """Take one message; text comes as it was sent, not checked to be UTF-8."""

    def connection_lost(self, reason: str) -> None:
        """Take note of the end: the last callback, made once."""

    def pause_writing(self) -> None:
        """Stop sending what can wait: more is buffered than should be."""

    def resume_writing(self) -> None: ...


OwnerOf = Callable[["WebSocket"], WebSocketOwner]


class WebSocket(asyncio.Protocol):
    """One connection; its owner is made when it is open, and may send at once.

    Attributes:
        remote: Where the other end is, for people and logs.
        ip: Its address.
        newcomer: Whether it has yet to prove who it is; the server's end is handled behind all who have.
        counted: Called with the size of each frame that is no whole message; an owner that limits rates sets it.
        ponged: Called with the data of each pong; an owner that calls :meth:`ping` sets it.

    """

    __slots__ = (
        "__weakref__", "_corked", "_ending", "_heard", "_hears", "_loop", "_opcode", "_owner", "_partial",
        "_ping_every", "_pongs", "_protocol", "_reading_paused", "_send", "_silences", "_timer", "_transport", "_why",
        "_writing_paused", "counted", "ip", "newcomer", "ponged", "remote",
    )  # fmt: skip

    def __init__(self, protocol: ServerProtocol | ClientProtocol, ping_every: float) -> None:
        self.remote = self.ip = ""
        self.newcomer = False
        self._protocol = protocol
        self._opcode, self._send = Opcode.BINARY, protocol.send_binary  # of messages in both directions
        self._ping_every = ping_every
        self._owner: WebSocketOwner | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._silences = self._pongs = 0
        self._partial = bytearray()
        self.counted: Callable[[int], None] = _nobody
        self.ponged: Callable[[bytes], None] = _nobody
        self._hears = False  # while it ends
        self._corked = self._ending = self._reading_paused = self._writing_paused = False
        self._why = ""

    @property
    def subprotocol(self) -> str:
        """The subprotocol that both ends agreed on, or ""."""
        return self._protocol.subprotocol or ""

    @property
    def buffered(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, message: bytes) -> None:
        """Queue one message; never blocks. After close or loss it does nothing."""
        if self._protocol.state is State.OPEN and not self._ending:
            self._send(message)
            self._flush()

    def send_all(self, messages: Iterable[bytes]) -> None:
        """Queue messages, which leave in one piece; never blocks."""
        corked, self._corked = self._corked, True
        try:
            for message in messages:
                self.send(message)
        finally:
            self._corked = corked
        self._flush()

    def ping(self, data: bytes) -> None:
        """Ask the other end to say that it has taken all that was sent before: ``ponged`` is called with ``data``."""
        if self._protocol.state is State.OPEN and not self._ending:
            self._protocol.send_ping(data)
            self._flush()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "", *, hears: bool = False) -> None:
        """Send what is queued, then close, by force after CLOSE_TIMEOUT seconds.

        Receives nothing any more, unless it ``hears`` what the other end says before it closes as well.
        """
        self._hears = hears
        if self._ending or self._transport is None:
            return
        self._why = self._why or f"closed here: {reason or code}"
        if self._protocol.state is not State.OPEN:
            self.abort()
            return
        self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
        self._end()
        self._flush()

    def abort(self, why: str = "closed here") -> None:
        """Close at once; what is queued is lost."""
        self._ending = True
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._heard, self._silences = self._loop.time(), 0  # the silence was ours
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        transport.set_write_buffer_limits(high=HIGH_WATER)
        plain = transport.get_extra_info("socket")
        if plain is not None and plain.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # Else megabytes wait in the kernel, which no pause can hold back.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, HIGH_WATER)
        peer = transport.get_extra_info("peername")
        if peer:
            self._named(peer[0], peer[1])
        self._heard = self._loop.time()
        forks.watch(self)

    def forked(self) -> None:
        """Leave the connection to the parent: this is a child."""
        forks.let_go_of(self._transport)

    def data_received(self, data: bytes) -> None:
        # The silences end here; times would not tell: uvloop counts in ms, and a pong may come in the ms of its ping.
        self._heard, self._silences = self._loop.time(), 0
        self._protocol.receive_data(data)
        self._corked = True  # all answers to this data leave in one piece
        self._handle_events()
        self._uncork()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._ending = None, True
        if self._timer is not None:
            self._timer.cancel()
        self._protocol.receive_eof()
        # The connection and its owner refer to each other, and stay until the collector comes: not what they hold.
        self._partial, self.counted, self.ponged = bytearray(), _nobody, _nobody
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_lost(self._reason(exc))

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._owner is not None:
            self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused, self._pongs = False, 0
        if self._owner is not None:
            self._owner.resume_writing()

    # What comes in.

    def _handle_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            else:
                self._handshake(event)

    def _uncork(self) -> None:
        self._corked = False
        if self._protocol.state is not State.OPEN and self._owner is not None and not self._ending:
            self._end()
        self._flush()

    def _handshake(self, event: Any) -> None:
        raise NotImplementedError

    def _begin(self, owner_of: OwnerOf, *, text: bool = False) -> None:
        if text:
            self._opcode, self._send = Opcode.TEXT, self._protocol.send_text
        self._wait(self._ping_every, self._tick)
        self._owner = owner_of(self)

    def _frame(self, frame: Frame) -> None:
        if (self._ending and not self._hears) or self._owner is None:
            return
        if frame.opcode is self._opcode and frame.fin:
            self._owner.message_received(bytes(frame.data))
        elif frame.opcode is self._opcode or frame.opcode is Opcode.CONT:
            self._partial += frame.data
            self.counted(len(frame.data))
            if frame.fin:
                message, self._partial = bytes(self._partial), bytearray()
                self._owner.message_received(message)
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            kind = "text" if self._opcode is Opcode.TEXT else "binary"
            self.close(CloseCode.UNSUPPORTED_DATA, f"{kind} messages only")
        else:
            self._control(frame)

    def _control(self, frame: Frame) -> None:
        self.counted(len(frame.data))
        if frame.opcode is Opcode.PONG:
            self.ponged(bytes(frame.data))
        if frame.opcode is Opcode.PING and self._writing_paused:
            self._pongs += 1
            if self._pongs > UNREAD_PONGS:
                self.abort("it pings and reads nothing")

    # What goes out.

    def _flush(self) -> None:
        if self._corked or self._transport is None:
            return
        writes = self._protocol.data_to_send()
        if not writes:
            return
        if not self._transport.is_closing():  # asyncio warns on stderr of each write behind a loss
            self._transport.write(writes[0] if len(writes) == 1 else b"".join(writes))
        if not writes[-1]:  # the library's sign for the end of the stream
            self._end()
            if self._transport.is_closing():
                return
            if self._transport.can_write_eof():
                try:
                    self._transport.write_eof()
                except OSError:  # the other end has closed, and what was written before was too much for it
                    self._transport.abort()
            else:
                self._transport.close()

    # Time.

    def _wait(self, delay: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, then)

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            self.resume_reading()
            self._wait(CLOSE_TIMEOUT, self.abort)

    def _tick(self) -> None:
        """Ping a silent other end; while we do not read ourselves, only show that we are there."""
        now = self._loop.time()
        if self._reading_paused:
            self._protocol.send_pong(b"")
        elif (quiet := now - self._heard) < self._ping_every:
            self._wait(self._ping_every - quiet, self._tick)
            return
        elif self._silences == SILENCES:
            self.abort("it answers no pings")
            return
        else:
            self._silences += 1
            self._protocol.send_ping(b"")
        self._flush()
        self._wait(self._ping_every, self._tick)

    def _named(self, host: str, port: int) -> None:
        self.ip = host
        self.remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _reason(self, exc: Exception | None) -> str:
        received, failed = self._protocol.close_rcvd, self._protocol.parser_exc
        if self._why:
            return self._why
        if received is not None:
            return f"closed by the other end: {escaped(received.reason or received.code)}"
        if failed is not None and not isinstance(failed, EOFError):
            return escaped(failed)
        return f"lost: {exc}" if exc is not None else "lost"


class _Dialled(WebSocket):
    """The client's end."""

    __slots__ = ("_agrees", "_owner_of", "_text", "_url", "opened")

    def __init__(
        self, url: str, subprotocols: Sequence[str], owner_of: OwnerOf, max_message: int, ping_every: float, text: bool
    ) -> None:
        wanted = [Subprotocol(name) for name in subprotocols]
        super().__init__(ClientProtocol(parse_uri(url), subprotocols=wanted or None, max_size=max_message), ping_every)
        self._url = without_secrets(url)
        self._owner_of, self._text, self._agrees = owner_of, text, bool(wanted)
        self.opened: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        protocol = cast(ClientProtocol, self._protocol)
        protocol.send_request(protocol.connect())
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        refused = self._protocol.handshake_exc
        self._fail(str(refused) if refused is not None else self._reason(exc))

    def _handshake(self, event: Any) -> None:
        assert isinstance(event, Response)
        if event.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            said = bytes(event.body[:200]).decode("ascii", "replace").strip().partition("\n")[0]
            self._fail(f"HTTP {event.status_code} {said if said.isprintable() else ''}".strip())
        elif self._protocol.state is not State.OPEN:
            self._fail(str(self._protocol.handshake_exc))
        elif self._agrees and not self.subprotocol:
            self._fail("no relay: it agrees to no version of what relays speak")
        else:
            self._begin(self._owner_of, text=self._text)
            if not self.opened.done():
                self.opened.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.opened.done():
            why = escaped(why)  # the library quotes what the other end answered
            self.opened.set_exception(Unreachable(f"{self._url}: {why}"))
            self.opened.exception()  # mark as seen: its caller may have given up already
            self.abort(why)


async def connect(
    url: str,
    subprotocols: Sequence[str],
    owner_of: OwnerOf,
    *,
    max_message: int,
    ssl: tls.SSLContext | None = None,
    timeout: float = CONNECT_TIMEOUT,
    ping_every: float = PING_EVERY,
    reach: Reach = ANYWHERE,
    proxy: Proxy | None = None,
    text: bool = False,
) -> WebSocket:
    """Connect to ``ws://`` or ``wss://host[:port]/path``, also with a query.

    Args:
        url: Where the other end listens.
        subprotocols: What we speak, the preferred one first; the other end has to agree to one, if there are any.
        owner_of: Makes the owner when the connection is open.
        max_message: Bytes of the longest message the other end may send.
        ssl: For wss: whom to trust; None for what the system trusts.
        timeout: Seconds for name, TCP, TLS and the upgrade.
        ping_every: Seconds of silence after which the other end is asked whether it is there.
        reach: Where who has named the URL may make us go.
        proxy: What leads there; None for the way straight on.
        text: Messages are text, as UTF-8; binary otherwise.

    Raises:
        Unreachable: There is no connection; says why.

    """
    try:
        where = parse_uri(url)
    except InvalidURI as error:
        raise Unreachable(f"{without_secrets(url)}: {error.msg}") from None
    context = (ssl or await system_trust()) if where.secure else None
    made: _Dialled | None = None
    try:
        async with asyncio.timeout(timeout):
            made = await tunnel.connect(
                lambda: _Dialled(url, subprotocols, owner_of, max_message, ping_every, text), where.host, where.port,
                context, reach, proxy,
            )  # fmt: skip
            await made.opened
    except (OSError, TimeoutError) as error:
        if made is not None:
            made.abort("no answer")
        silent = f"no answer through the proxy {proxy.text}" if proxy is not None else "no answer"
        raise Unreachable(f"{without_secrets(url)}: {str(error) or silent}") from None
    except asyncio.CancelledError:
        if made is not None:
            made.abort("cancelled")
        raise
    return made


def without_secrets(url: str) -> str:
    """Return ``url`` for people and logs: without its query, which may be a token, and without a password."""
    scheme, colon, rest = url.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{colon}{authority.rpartition('@')[2]}{slash}{path}"


def _nobody(told: object) -> None:
    """Do nothing: nobody limits the rate of this end, nobody waits for pongs."""
