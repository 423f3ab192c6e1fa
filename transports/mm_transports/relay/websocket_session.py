"""Runs one WebSocket of a client from the attempt to its end: connects, answers the challenge, checks the welcome."""

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final, Protocol

from mm_transports.proxies import Proxy
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.items import MAX_MESSAGE, VERSION, Bye, Challenge, Item, SignIn, Welcome
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.relay.untrusted import explained
from mm_transports.tunnel import ProxyFailed
from mmplatform.addresses import Reach
from mmplatform.errors import ProtocolError, Unreachable
from mmplatform.text import escaped

if TYPE_CHECKING:
    from mm_transports.relay.websocket import WebSocket

CONNECT_TIMEOUT: Final = 10.0  # seconds for name, TCP, TLS and the upgrade
SIGN_IN_TIMEOUT: Final = 10.0  # seconds from the upgrade to the welcome
SUSPICION: Final = 60.0  # seconds that a relay is left alone after it broke the protocol, or said taken-over
LONGEST_RETRY: Final = 600.0  # seconds that a relay may ask us to stay away
CLOSING: Final = 1.0  # seconds in which a close should be answered
TAKEN_OVER: Final = "taken-over"
WRONG_RELAY: Final = "wrong-relay"
DENIED: Final = "denied"
WORDS: Final = {
    TAKEN_OVER: "taken-over: another node has signed in with this key",
    DENIED: "denied: the relay does not serve this key; ask whoever runs it",
}
MISSING: Final = "relays need the package websockets; install it with: pip install websockets"


class SessionOwner(Protocol):
    """The client that a session belongs to."""

    def sign_in(self, asked: Challenge) -> SignIn:
        """Queue and return the answer to a challenge. Raises ProtocolError when the wrong relay asks."""
        ...

    def signed_in(self, session: "WebSocketSession", welcome: Welcome) -> None: ...

    def said(self, item: Item) -> None: ...

    def flush(self) -> None: ...

    def writable(self) -> None: ...

    def over(self, session: "WebSocketSession") -> None:
        """Give up ``session``, which is of no use any more."""


class WebSocketSession:
    """One WebSocket; ``retry`` is how many seconds to leave the relay alone after its end."""

    def __init__(
        self, client: SessionOwner, url: str, ssl_context: ssl.SSLContext | None, reach: Reach, proxy: Proxy | None
    ) -> None:
        self.signed = False  # our sign-in is written, or will be in this turn
        self.welcomed = False
        self.paused = False
        self.reason = ""
        self.retry = 0.0
        self.cause: BaseException | None = None  # the error of the system because of which no connection could be made
        self._gone = asyncio.Event()
        self._client, self._url, self._ssl, self._reach, self._proxy = client, url, ssl_context, reach, proxy
        self._socket: WebSocket | None = None
        self._asked: Challenge | None = None
        self._given: SignIn | None = None
        self._ending = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Connect, and return when the session is over."""
        try:
            self._socket = await self._connect()
        except Unreachable as error:
            self.abort(str(error))
            return
        if not self.welcomed and not self._ending:
            self._later(SIGN_IN_TIMEOUT, "the relay does not answer the sign-in")
        await self._gone.wait()

    def end(self, reason: str) -> None:
        """Close the WebSocket in order, by force when the other end does not answer."""
        if self._ending:
            return
        self.reason, self._ending = escaped(reason), True
        if self._socket is None:
            self._gone.set()
        else:
            self._socket.close(1000, "")
            self._later(CLOSING, reason)
        self._client.over(self)

    def abort(self, reason: str) -> None:
        self._cancel_timer()
        if self._socket is not None and not self._gone.is_set():
            self._socket.abort()
        self._gone.set()
        if not self._ending:
            self.reason, self._ending = escaped(reason), True
            self._client.over(self)

    def send(self, message: bytes) -> None:
        if self._socket is not None and not self._gone.is_set():
            self._socket.send(message)

    # The WebSocket's owner.

    def pause_reading(self) -> None:
        if self._socket is not None and not self._gone.is_set():
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self._socket is not None and not self._gone.is_set():
            self._socket.resume_reading()

    def opened(self, socket: "WebSocket") -> "WebSocketSession":
        self._socket = socket
        if self._ending:
            socket.abort()
        return self

    def message_received(self, message: bytes) -> None:
        try:
            for item in decode_items(message):
                if self._ending:
                    return
                self._received(item)
        except ProtocolError as error:
            self._violated(error)

    def connection_lost(self, reason: str) -> None:
        self._gone.set()
        self.abort(reason or "the connection was lost")

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if not self._ending:
            self._client.writable()

    async def _connect(self) -> "WebSocket":
        try:
            from mm_transports.relay import websocket  # only nodes that use a relay load its library
        except ModuleNotFoundError as error:
            raise Unreachable(f"{MISSING} ({error})") from None
        try:
            return await websocket.connect(
                self._url, [VERSION], self.opened, max_message=MAX_MESSAGE, ssl=self._ssl, timeout=CONNECT_TIMEOUT,
                reach=self._reach, proxy=self._proxy,
            )  # fmt: skip
        except Unreachable as error:
            self.cause = error.__context__
            raise Unreachable(f"{error}{_advice(self._url, error.__context__)}") from None

    def _received(self, item: Item) -> None:
        if isinstance(item, Bye):
            self._dismissed(item)
        elif self._given is None:
            if not isinstance(item, Challenge):
                raise ProtocolError("wrong-state", "a relay begins with its challenge")
            self._asked, self._given = item, self._client.sign_in(item)
            self.signed = True
            self._client.flush()
        elif not self.welcomed:
            self._greeted(item)
        elif isinstance(item, Challenge | SignIn | Welcome):
            raise ProtocolError("wrong-state", f"{type(item).__name__} after the sign-in")
        else:
            self._client.said(item)

    def _greeted(self, item: Item) -> None:
        assert self._asked is not None
        assert self._given is not None
        if not isinstance(item, Welcome):
            raise ProtocolError("wrong-state", "the relay says something before its welcome")
        signin.check_welcome(self._asked, self._given, item)
        self.welcomed = True
        self._cancel_timer()
        self._client.signed_in(self, item)

    def _dismissed(self, bye: Bye) -> None:
        self.retry = min(bye.retry / 1000, LONGEST_RETRY)
        if bye.reason == TAKEN_OVER:
            self.retry = max(self.retry, SUSPICION)
        self.end(WORDS.get(bye.reason, bye.reason) or "the relay said goodbye")

    def _later(self, seconds: float, reason: str) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort, reason)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _violated(self, error: ProtocolError) -> None:
        """Tell the relay, which may be the wrong or a hostile one, why, and leave it alone for a while."""
        self.retry = SUSPICION
        self.send(encode_items([Bye(error.reason)]))
        self.end(str(error))


def _advice(url: str, error: BaseException | None) -> str:
    """Return what can be done about an error of connecting, as the end of a sentence."""
    if isinstance(error, ProxyFailed):
        return f"; {error.remedy}"
    if isinstance(error, socket.gaierror):
        return "; check the name in the address, and that this host can resolve names"
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong, remedy = explained(error, url)
        return f"; {wrong}; {remedy}"
    if isinstance(error, ssl.SSLError | ConnectionResetError) and url.startswith("wss:"):
        return "; does the relay speak TLS there? without it the address begins with relay+ws://"
    return ""
