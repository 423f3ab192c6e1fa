"""The connection of a twin to one relay: dialled for as long as the link is open, with pauses that double."""

import asyncio
import random
import ssl as tls
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

from mm_transports.relay.websocket import WebSocket, connect
from mm_transports.rmb.client.unconfirmed import Sent, Unconfirmed
from mm_transports.rmb.protocol.envelope import MAX_ENVELOPE, RmbEnvelope, RmbError, RmbPong, decode_envelope
from mmplatform.errors import InvalidKey, ProtocolError, Unreachable

FIRST_PAUSE: Final = 0.25  # seconds before the second attempt
LONGEST_PAUSE: Final = 30.0
STEADY: Final = 10.0  # seconds after which a connection that is lost is dialled at once
NO_PONG: Final = "it answers no pings of RMB"
LONGEST_SILENCE: Final = 30.0  # seconds for a pong: a relay that looks a twin up, or waits for its disk, has less


class Twins(Protocol):
    """The twin whose link it is."""

    def token(self, relay: str) -> str:
        """Return a token for the relay of this name."""
        ...

    def ping(self, places: bytes) -> tuple[str, bytes]:
        """Return the uid of a ping with these places, and its bytes."""
        ...

    def up(self, link: "TwinLink") -> None:
        """Take note that the link is connected, or was."""

    def failed(self, link: "TwinLink") -> None:
        """Take note that an attempt to connect has failed."""

    def down(self, link: "TwinLink", again: list[Sent]) -> None:
        """Take note that the link is not connected; ``again`` is to go over another, or over it later."""

    def heard(self, envelope: RmbEnvelope, size: int, taken: Callable[[], None]) -> None:
        """Take an envelope of ``size`` bytes that names its source; ``taken`` is to be called when it is dealt with."""

    def told(self, link: "TwinLink", uid: str, error: RmbError) -> None:
        """Take note of an error of the relay itself."""


class TwinLink:
    """The link to the relay at ``url``."""

    def __init__(
        self, url: str, twin: Twins, monotonic: Callable[[], float], ssl: tls.SSLContext | None = None
    ) -> None:
        self.url, self.name = url, name_of(url)
        self.trouble = "not connected yet"
        self._twin, self._monotonic, self._ssl = twin, monotonic, ssl
        self._socket: WebSocket | None = None
        self._unconfirmed = Unconfirmed()
        self._epoch = self._came = 0
        self._uid = ""  # of the ping under way
        self._asking: list[asyncio.Future[None]] = []  # who waits for the pong of the next ping
        self._asked: list[asyncio.Future[None]] = []  # for that of the ping under way
        self._flushing = False

    @property
    def connected(self) -> bool:
        return self._socket is not None

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = FIRST_PAUSE
        while True:
            began = self._monotonic()
            try:
                self.trouble = await self._connected()
            except Unreachable as error:
                self.trouble = str(error)
                self._twin.failed(self)
            if self._monotonic() - began >= STEADY:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Say goodbye to the relay; ``run`` is cancelled by its owner."""
        if self._socket is not None:
            self._socket.close()

    def send(self, sent: Sent, raw: bytes) -> None:
        """Send an envelope; it is connected."""
        assert self._socket is not None
        self._socket.send(raw)
        self._unconfirmed.add(sent)
        self._flush_soon()

    async def ping(self) -> None:
        """Return when the relay has answered a ping that is sent now. Raises Unreachable."""
        if self._socket is None:
            raise Unreachable(f"{self.name}: {self.trouble}")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(answered)
        self._flush_soon()
        await answered

    def look(self) -> None:
        """End a connection whose relay does not say that it keeps what it is given: it may be dead, or lie."""
        if self._socket is not None and self._unconfirmed.waited(self._monotonic()) > LONGEST_SILENCE:
            self._socket.abort(NO_PONG)

    def unconfirmed(self, uid: str) -> Sent | None:
        """Return the envelope with this uid that is under way here."""
        return self._unconfirmed.find(uid)

    async def _connected(self) -> str:
        """Connect; return why the connection was lost. Raises Unreachable."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        separator = "&" if urlsplit(self.url).query else "?"
        url = f"{self.url}{separator}{self._twin.token(self.name)}"
        try:
            await connect(url, (), lambda socket: self._begun(socket, lost), max_message=MAX_ENVELOPE, ssl=self._ssl)
            return await lost
        finally:
            if self._socket is not None:  # it had begun, even if its time to connect ended in that moment
                self._ended(self._socket)

    def _ended(self, socket: WebSocket) -> None:
        self._socket = None
        socket.close()
        for waiter in (*self._asking, *self._asked):
            if not waiter.done():
                waiter.set_exception(Unreachable(f"{self.name}: the connection was lost"))
        self._asking, self._asked = [], []
        self._twin.down(self, self._unconfirmed.lost())

    def _begun(self, socket: WebSocket, lost: "asyncio.Future[str]") -> "_Owner":
        self._epoch, self._came, self._uid, self._socket, self.trouble = self._epoch + 1, 0, "", socket, ""
        asyncio.get_running_loop().call_soon(self._twin.up, self)
        return _Owner(self, lost)

    # What comes.

    def message_received(self, message: bytes) -> None:
        try:
            envelope = decode_envelope(message)
        except (ProtocolError, InvalidKey):
            self._came += 1
            self._taken(self._epoch, self._came)  # nobody can read it: it need not come again
            return
        kind = envelope.message
        if isinstance(kind, RmbPong):
            if envelope.uid == self._uid:
                self._ponged()
        elif envelope.source is None and isinstance(kind, RmbError):
            if envelope.signature is None:
                self._twin.told(self, envelope.uid, kind)
        else:
            self._came += 1
            epoch, place = self._epoch, self._came
            if envelope.source is None or not envelope.source.twin:
                self._taken(epoch, place)  # nobody has signed it, whatever it is
            else:
                self._twin.heard(envelope, len(message), lambda: self._taken(epoch, place))

    def _taken(self, epoch: int, place: int) -> None:
        """Tell the relay that an envelope is dealt with; on the connection that it came by, which may have ended."""
        if epoch == self._epoch and self._socket is not None:
            if not self._unconfirmed.dealt_with(place):
                self._socket.abort(NO_PONG)
            self._flush_soon()

    def _ponged(self) -> None:
        self._uid = ""
        for sent in self._unconfirmed.pong():
            sent.done(None)
        asked, self._asked = self._asked, []
        for waiter in asked:
            if not waiter.done():
                waiter.set_result(None)
        self._flush_soon()

    # What goes.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send a ping behind all that this turn of the loop has sent, unless one is under way."""
        self._flushing = False
        if self._socket is None:
            return
        places = self._unconfirmed.ping(self._monotonic(), wanted=bool(self._asking))
        if places is None:
            return
        self._asked, self._asking = self._asking, []
        self._uid, raw = self._twin.ping(places)
        self._socket.send(raw)


class _Owner:
    """The owner of one connection; its link outlives it."""

    def __init__(self, link: TwinLink, lost: "asyncio.Future[str]") -> None:
        self._link, self._lost = link, lost

    def message_received(self, message: bytes) -> None:
        if not self._lost.done():
            self._link.message_received(message)

    def connection_lost(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def pause_writing(self) -> None:
        """Do nothing: the window of the endpoint bounds what waits."""

    def resume_writing(self) -> None:
        """Do nothing, as ``pause_writing``."""


def name_of(url: str) -> str:
    """Return the name of the relay at ``url``: its host, with the port when it is not the usual one."""
    parts = urlsplit(url)
    usual = ":443" if parts.scheme == "wss" else ":80"
    return parts.netloc.rpartition("@")[2].removesuffix(usual)


def is_url(url: str) -> bool:
    """Whether ``url`` may be that of a relay: it begins with ws or wss, has a host, and no fragment."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for one that is none
    except ValueError:
        return False
    return parts.scheme in ("ws", "wss") and bool(parts.hostname) and "#" not in url
