"""Keeps one connection to one relay: connects, signs in, batches items, comes back after a loss.

Items do not wait for the relay's welcome: those that were told while the connection was being made go out in one
message with the sign-in (docs/protocol/relay.rst).
"""

import asyncio
import secrets
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from mm_transports.proxies import Proxy
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.address import RelayAddress
from mm_transports.relay.protocol.items import (
    PEER,
    Bye,
    Challenge,
    Data,
    Deposit,
    Forwarded,
    Item,
    Limits,
    Open,
    SignIn,
    Taken,
    Welcome,
)  # fmt: skip
from mm_transports.relay.protocol.wire import batches, encode_items
from mm_transports.relay.websocket_session import CLOSING, WebSocketSession
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity, raw_key
from mmplatform.links.backoff import Backoff
from mmplatform.plugins.transport import CONNECTING

STABLE: Final = 5.0  # seconds that a good connection holds: after one the next attempt comes at once
LONGEST_PAUSE: Final = 20.0  # seconds between two attempts
HIGH_WATER: Final = 1024 * 1024  # bytes waiting for the connection above which the client counts as full
DROP: Final = 16 * 1024 * 1024  # bytes waiting for the connection above which items are dropped


class ClientOwner(Protocol):
    """Whoever uses a client; the client calls these methods from the event loop."""

    def relay_up(self, client: "Client", limits: Limits) -> None:
        """Begin: the client is signed in, and the relay has proven its key."""

    def relay_said(self, client: "Client", item: Item) -> None:
        """Take an item of the relay, after the sign-in; a ProtocolError raised here ends the connection."""

    def relay_down(self, client: "Client", reason: str) -> None:
        """Take note that a connection was lost, or could not be made; items that were not sent are gone."""

    def relay_writable(self, client: "Client") -> None:
        """Go on: the client is no longer ``full``."""


class Client:
    """A client of one relay. ``limits``: of the last welcome, None before the first. ``reason``: why it is not up."""

    def __init__(
        self,
        address: RelayAddress,
        identity: Identity,
        owner: ClientOwner,
        *,
        role: int = PEER,
        own_address: str = "",
        random: Callable[[], float],
        now: Callable[[], float],
        keep: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        reach: Reach = ANYWHERE,
        proxy: Proxy | None = None,
    ) -> None:
        """Make a client that is not connected.

        Args:
            address: of the relay, with its key.
            identity: our keys.
            owner: is called with what happens.
            role: PEER, or RELAY when a relay signs in.
            own_address: where a relay that signs in is reached itself.
            random: gives numbers from 0 to 1, for jitter.
            now: gives Unix seconds.
            keep: whether to come back for ever after a loss; otherwise one connection is all.
            ssl_context: for a relay whose certificate the system does not trust.
            reach: where who has named the address may make us go.
            proxy: what leads to the relay; None for the way straight on.

        """
        self.address = address
        self.limits: Limits | None = None
        self.reason = CONNECTING
        self.cause: BaseException | None = None  # the error of the system that caused the reason
        self.spoke = False  # whether items of the last connection may have left
        self.skew = 0.0  # seconds that the relay's clock is ahead of ours
        self._identity, self._owner, self._role, self._own_address = identity, owner, role, own_address
        self._key = raw_key(address.key)
        self._random, self._now, self._keep, self._reach = random, now, keep, reach
        self.ssl, self.proxy = ssl_context, proxy
        self._backoff = Backoff(random, LONGEST_PAUSE)
        self._loop = asyncio.get_running_loop()
        self._session: WebSocketSession | None = None  # the connection that is being made, or is there
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._items: list[Item] = []
        self._bytes = 0
        self._armed = False
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether the client is signed in."""
        return self._session is not None and self._session.welcomed

    @property
    def open(self) -> bool:
        """Whether the client is signed in or connecting: items told now go out, at the latest with the sign-in."""
        return self._session is not None

    @property
    def full(self) -> bool:
        """Whether more waits than should: tell only what cannot wait, until relay_writable is called."""
        return self._bytes > HIGH_WATER or (self._session is not None and self._session.paused)

    def start(self) -> None:
        """Begin to connect; items told from now on are kept for the sign-in."""
        if self._task is None and not self._closed:
            self._session = self._new_session()
            self._task = self._loop.create_task(self._keep_connected(), name=f"mm relay {self.address.url}")

    async def connected(self, timeout: float) -> None:
        """Wait until the client is signed in. Raises Unreachable with the reason, at the latest after ``timeout`` s."""
        try:
            async with asyncio.timeout(timeout):
                while not self.up:
                    if self._closed or self._task is None or not (self._keep or self._session):
                        raise Unreachable(f"{self.address.text}: {self.reason}")
                    waiter: asyncio.Future[None] = self._loop.create_future()
                    self._waiting.append(waiter)
                    await waiter
        except TimeoutError:
            raise Unreachable(f"{self.address.text}: {self.reason}") from None

    def tell(self, item: Item) -> bool:
        """Send an item: the first of a loop turn at once, as it is the only one as a rule, all others of the turn in
        one message. Returns False for an item that is dropped, as no connection is there or being made."""
        session = self._session
        if session is None or self._bytes > DROP:
            return False
        if session.signed and not self._armed:
            self._armed = True
            self._loop.call_soon(self.flush)
            session.send(encode_items([item]))
        else:
            self._items.append(item)
            self._bytes += _size(item)
        return True

    def pause_reading(self) -> None:
        """Read nothing from the relay for now."""
        if self._session is not None:
            self._session.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._session is not None:
            self._session.resume_reading()

    def leave(self) -> None:
        """Send the items that wait, then Bye; calls relay_down at once, and nothing after it."""
        self._closed = True
        was_up, session = self.up, self._session
        if was_up:
            self.tell(Bye("closed"))
            self.flush()
        if session is not None:
            session.end("closed")
        if self._task is not None and not was_up:
            self._task.cancel()
        self._wake()

    async def close(self) -> None:
        """:meth:`leave`, and wait until the connection is gone."""
        self.leave()
        task = self._task
        if task is not None:
            await asyncio.wait([task], timeout=CLOSING)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # Connecting, again and again.

    async def _keep_connected(self) -> None:
        while not self._closed:
            session = self._session = self._session or self._new_session()
            began = self._loop.time()
            try:
                await session.run()
            finally:
                session.abort("the connection was lost")
            if session.welcomed and self._loop.time() - began >= STABLE:
                self._backoff.reset()
            if not self._keep or self._closed:
                return
            await asyncio.sleep(max(self._backoff.next(), session.retry * (1 + self._random() / 4)))

    def _new_session(self) -> WebSocketSession:
        return WebSocketSession(self, self.address.url, self.ssl, self._reach, self.proxy)

    def over(self, session: WebSocketSession) -> None:
        """Give up ``session``, which is of no use any more."""
        if self._session is not session:
            return
        self._session, self.reason, self.cause, self.spoke = None, session.reason, session.cause, session.signed
        self._items, self._bytes = [], 0
        self._owner.relay_down(self, session.reason)
        if not self._keep or self._closed:
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # What the session calls.

    def sign_in(self, asked: Challenge) -> SignIn:
        """Answer a challenge; items told so far follow in the same message. Raises ProtocolError for a wrong relay."""
        given = signin.answer(self._identity, asked, self._key, secrets.token_bytes(32), self._role, self._own_address)
        self._items.insert(0, given)
        self._bytes += _size(given)
        return given

    def signed_in(self, session: WebSocketSession, welcome: Welcome) -> None:
        self.limits, self.reason = welcome.limits, ""
        self.skew = welcome.now / 1000 - self._now()
        self._owner.relay_up(self, welcome.limits)
        self._wake()

    def said(self, item: Item) -> None:
        self._owner.relay_said(self, item)

    def writable(self) -> None:
        if not self.full:
            self._owner.relay_writable(self)

    def flush(self) -> None:
        self._armed = False
        session = self._session
        if session is None or not session.signed or not self._items:
            return
        was_full = self.full
        items, self._items, self._bytes = self._items, [], 0
        for batch in batches(items, _size):
            session.send(encode_items(batch))
        if was_full and not self.full:
            self._owner.relay_writable(self)


def _size(item: Item) -> int:
    """Return about how many bytes an item takes in a message, never fewer."""
    match item:
        case Open(data=data) | Data(data=data):
            return len(data) + 320
        case Deposit(envelope=envelope):
            return len(envelope) + 400
        case Forwarded(inner=inner):
            return _size(inner) + 80
        case Taken(numbers=numbers):
            return 9 * len(numbers) + 16
        case _:
            return 700
