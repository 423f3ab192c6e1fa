"""Carries the links that lead over one relay, and remembers peers that could not be reached there."""

import asyncio
import logging
import secrets
import ssl
from typing import Final, Protocol

from mm_transports.proxies import Proxy
from mm_transports.relay.client import Client
from mm_transports.relay.connection import PAUSED_HERE, SLOW, RelayConnection
from mm_transports.relay.mail import RelayMailClient
from mm_transports.relay.protocol.address import RelayAddress
from mm_transports.relay.protocol.items import Closed, Data, Item, Limits, Open, Pause, Present, Resume
from mm_transports.relay.websocket_session import DENIED, TAKEN_OVER, WRONG_RELAY
from mmplatform.addresses import Reach
from mmplatform.errors import LocalError, ProtocolError, Unreachable
from mmplatform.identity.keys import sign_id_of
from mmplatform.plugins.mail_carrier import MailHost
from mmplatform.plugins.transport import LENGTH_LIMIT, Accept, TransportHost
from mmplatform.text import escaped

MAX_LINKS: Final = 4096  # links over one relay
MAX_LINKS_PEER: Final = 8  # links of one peer over one relay
MAX_MISSED: Final = 1024  # peers that are remembered as not reached

log = logging.getLogger("mm_transports.relay")


class MultiplexerOwner(Protocol):
    """The transport that uses a multiplexer."""

    host: TransportHost
    mail_host: MailHost
    accept: Accept | None  # for peers that dial us; None: nobody may

    def no_route(self, multiplexer: "RelayMultiplexer", via: str) -> None:
        """Take note that the relay of ``multiplexer`` does not reach the one at ``via``."""

    def multiplexer_down(self, multiplexer: "RelayMultiplexer") -> None: ...


class RelayMultiplexer:
    """One relay. ``home``: we stay signed in there, and others may reach us; else we are a guest for a while.

    ``reach``: where who has named the relay may make us go. ``proxy``: what leads there, None for the way straight on.
    """

    def __init__(
        self,
        address: RelayAddress,
        owner: MultiplexerOwner,
        home: bool,
        ssl_context: ssl.SSLContext | None,
        reach: Reach,
        proxy: Proxy | None,
    ) -> None:
        host = owner.host
        self.address, self.home = address, home
        self.client = Client(
            address, host.identity, self, random=host.random, now=host.now, keep=home, ssl_context=ssl_context,
            reach=reach, proxy=proxy,
        )  # fmt: skip
        self.mail_client = RelayMailClient(self.client, owner.mail_host)
        self.tell = self.client.tell
        self._owner, self._host = owner, host
        self._own = host.identity.sign_key
        self._loop = asyncio.get_running_loop()
        self._text = f"relay+{address.url.rstrip('/')}"
        self._links: dict[tuple[bytes, int], RelayConnection] = {}
        self._counts: dict[bytes, int] = {}
        self._paused_here: list[RelayConnection] = []
        self._reading_paused: set[RelayConnection] = set()  # those that have more than this turn of the loop can take
        self._slow: set[bytes] = set()
        self._missed: dict[bytes, None] = {}  # peers not reached since we were last signed in
        self._unmailed: dict[bytes, None] = {}  # peers for whom no mail could be left since we were last signed in
        self._failures = 0
        self._draining = False
        self._ending: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        return self.client.full

    @property
    def idle(self) -> bool:
        return not self._links and self.mail_client.idle

    def dial(self, peer: bytes, accept: Accept, via: str) -> RelayConnection:
        """Open a link to ``peer``; whether the peer is there shows when it answers. Raises Unreachable."""
        if not self.client.open:
            self.missed(peer)
            raise Unreachable(f"{self.address.text}: {self.client.reason}")
        if self._crowded(peer):
            raise Unreachable(f"{self.address.text}: too many links over this relay")
        connection = self._connection(peer, secrets.randbelow(2**53 - 1) + 1, via)
        connection.join(accept, opened=False)
        if peer in self._slow:
            connection.hold(SLOW)
        return connection

    async def deposit(self, peer: bytes, mail_id: bytes, expires: int, envelope: bytes, via: str) -> int:
        """Leave an envelope: see :meth:`RelayMailClient.deposit`."""
        try:
            return await self.mail_client.deposit(peer, mail_id, expires, envelope, via)
        except Unreachable:
            if len(self._unmailed) < MAX_MISSED:
                self._unmailed[peer] = None
            raise

    def missed(self, peer: bytes) -> None:
        """Remember to tell the node when there is a chance again to reach ``peer`` here."""
        if len(self._missed) < MAX_MISSED:
            self._missed[peer] = None

    async def close(self) -> None:
        """Let nobody in any more; the connection goes with its last link."""
        self._draining = True
        if not self._links:
            await self.client.close()

    # What connections call.

    def paused_here(self, connection: RelayConnection) -> None:
        self._paused_here.append(connection)

    def pause_reading(self, connection: RelayConnection) -> None:
        self._reading_paused.add(connection)
        self.client.pause_reading()

    def resume_reading(self, connection: RelayConnection) -> None:
        self._reading_paused.discard(connection)
        if not self._reading_paused:
            self.client.resume_reading()

    def leave(self, connection: RelayConnection, error: Exception | None) -> None:
        self.resume_reading(connection)
        if self._links.pop((connection.peer, connection.number), None) is not None:
            self._counts[connection.peer] -= 1
            if not self._counts[connection.peer]:
                del self._counts[connection.peer]
        if self._draining and not self._links and self._ending is None:
            self._ending = self._loop.create_task(self._end(connection, error), name=f"mm relay {self._text} ends")
            return
        self._loop.call_soon(connection.lose, error)

    # What the client calls.

    def relay_up(self, client: Client, limits: Limits) -> None:
        self._failures = 0
        log.log(logging.INFO if self.home else logging.DEBUG, "signed in at %s", self.address.text)
        for connection in list(self._links.values()):
            if connection.max_frame > self._max_frame():  # made before the limit was known
                self.missed(connection.peer)
                connection.end(connection.error(f"the relay carries frames of {limits.frame} bytes at most"))
        missed, self._missed = self._missed, {}
        for peer in missed:
            self._host.present(sign_id_of(peer))
        unmailed, self._unmailed = self._unmailed, {}
        for peer in unmailed:
            self._owner.mail_host.mail_welcome(sign_id_of(peer))

    def relay_said(self, client: Client, item: Item) -> None:
        match item:
            case Data(peer=peer, link=number, data=data):
                self._data(peer, number, data)
            case Open(peer=peer, link=number, data=data):
                self._opened(peer, number, data)
            case Closed(peer=peer, link=number, reason=reason):
                self._closed(peer, number, reason)
            case Pause(peer=peer):
                self._pause(peer)
            case Resume(peer=peer):
                self._slow.discard(peer)
                for connection in self._of(peer):
                    connection.release(SLOW)
            case Present(peer=peer):
                self._host.present(sign_id_of(peer))
            case _:
                if not self.mail_client.said(item):
                    raise ProtocolError("bad-item", f"a relay does not say {type(item).__name__}")

    def relay_down(self, client: Client, reason: str) -> None:
        self._failures += 1
        loud = self.home and self._failures == 1  # the first attempt that fails, or the end of a good connection
        text = "left %s: %s" if self._draining else "not signed in at %s: %s"
        log.log(logging.INFO if loud else logging.DEBUG, text, self.address.text, escaped(reason))
        self._slow.clear()
        self._paused_here = []
        for connection in list(self._links.values()):
            self.missed(connection.peer)
            connection.end(connection.error(reason))
        self.mail_client.down(reason)
        serious = reason.startswith((TAKEN_OVER, WRONG_RELAY, DENIED))
        if self.home and not self._draining and (self._failures == 2 or (serious and self._failures == 1)):
            self._host.failed(LocalError(f"{self.address.text}: {reason}; it is tried on and on"))
        self._owner.multiplexer_down(self)

    def relay_writable(self, client: Client) -> None:
        paused_here, self._paused_here = self._paused_here, []
        for connection in paused_here:
            connection.release(PAUSED_HERE)
        self.mail_client.writable()

    # Inside.

    def _data(self, peer: bytes, number: int, data: bytes) -> None:
        connection = self._links.get((peer, number))
        if connection is not None:
            connection.received(data)
        elif not self.client.full:
            self.tell(Closed(peer, number, "unknown"))

    def _opened(self, peer: bytes, number: int, data: bytes) -> None:
        accept = self._owner.accept
        if (
            accept is None
            or self._draining
            or peer == self._own
            or (peer, number) in self._links
            or self._crowded(peer)
        ):
            if not self.client.full:
                self.tell(Closed(peer, number, "denied"))
            return
        connection = self._connection(peer, number, "")
        connection.join(accept, opened=True)
        connection.received(data)

    def _closed(self, peer: bytes, number: int, reason: str) -> None:
        found = self._of(peer) if number == 0 else [c for c in [self._links.get((peer, number))] if c is not None]
        for connection in found:
            if connection.via and not connection.answered and reason in ("unreachable", "denied", "unknown"):
                self._owner.no_route(self, connection.via)
            connection.closed(reason)

    def _pause(self, peer: bytes) -> None:
        if len(self._slow) < MAX_LINKS:
            self._slow.add(peer)
            for connection in self._of(peer):
                connection.hold(SLOW)

    def _of(self, peer: bytes) -> list[RelayConnection]:
        if peer not in self._counts:
            return []
        return [connection for connection in self._links.values() if connection.peer == peer]

    def _connection(self, peer: bytes, number: int, via: str) -> RelayConnection:
        text = f"{via.rpartition('/')[0]} via {self._text}" if via else self._text
        connection = RelayConnection(self, peer, number, self._max_frame(), text, via)
        self._links[peer, number] = connection
        self._counts[peer] = self._counts.get(peer, 0) + 1
        return connection

    def _crowded(self, peer: bytes) -> bool:
        return len(self._links) >= MAX_LINKS or self._counts.get(peer, 0) >= MAX_LINKS_PEER

    def _max_frame(self) -> int:
        limits = self.client.limits
        return min(LENGTH_LIMIT, limits.frame or LENGTH_LIMIT) if limits is not None else LENGTH_LIMIT

    async def _end(self, last: RelayConnection, error: Exception | None) -> None:
        """Close the client, then report the last link as lost: nothing stays open behind its user's back."""
        try:
            await self.client.close()
        finally:
            last.lose(error)
