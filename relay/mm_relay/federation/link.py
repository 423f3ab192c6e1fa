"""Connects to one other relay: a session to the router, and the way for mail to it (mail_forwarder.py).

A federation link belongs to a key. Depositors say where that relay is reached, so the link tries the addresses that it
was given in turn and believes the one whose relay proves the key; each wrong address costs an attempt.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from mm_relay.federation.mail_forwarder import Forwarder
from mm_relay.metrics import Metrics
from mm_relay.ports import Post
from mm_relay.stores.contract import MailStore, Note
from mm_transports.relay.client import Client, ClientOwner
from mm_transports.relay.protocol.address import RelayAddress, parse_relay
from mm_transports.relay.protocol.items import (
    RELAY,
    Declined,
    Deposit,
    Ended,
    Forwarded,
    Item,
    Limits,
    MailWaiting,
    Noted,
    RoomAgain,
    Stored,
)
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import sign_id_of
from mmplatform.links.backoff import Backoff
from mmplatform.logs import LineLimit
from mmplatform.text import escaped

CONNECT_TIMEOUT: Final = 20.0  # seconds for one address
LONGEST_PAUSE: Final = 60.0  # seconds between two rounds of attempts
IDLE: Final = 3600.0  # seconds after which an unused link is closed
RENEW: Final = 10.0  # seconds after which the lease of the mail is renewed
ADDRESSES: Final = 8  # addresses of one relay that are tried
STABLE: Final = 5.0  # seconds that a good connection holds: after one the next attempt comes at once

log = logging.getLogger("mm_relay.federation")

Dial = Callable[[RelayAddress, ClientOwner], Client]


class FederationContext(NamedTuple):
    """What all federation links of a relay share.

    ``ours(key)`` takes or renews the lease of the mail for a relay; ``ended(box, notes)`` is told what ended in the box
    of a link.
    """

    own: bytes
    store: MailStore
    dial: Dial
    post: Post
    now: Callable[[], float]
    random: Callable[[], float]
    metrics: Metrics
    ours: Callable[[bytes], Awaitable[bool]]
    ended: Callable[[bytes, list[Note]], None]
    lines: LineLimit


class FederationLink:
    """The link to the relay with ``key``; ``address`` is where it was reached last."""

    role = RELAY
    place = b""

    def __init__(
        self, key: bytes, address: str, context: FederationContext, settled: Callable[[], None] = lambda: None
    ) -> None:
        """``settled`` is called once: when the relay was reached, or no more attempts are made."""
        self.key, self.address, self._context = key, address, context
        self._addresses = [address]  # the one that was right last comes first
        self._forwarder = Forwarder(
            context.own, key, context.store, context.now, context.metrics, self._say, context.ended
        )
        self._client: Client | None = None
        self._up = False
        self._wanted = False  # whether live items want a connection
        self._down = asyncio.Event()
        self._backoff = Backoff(context.random, LONGEST_PAUSE)
        self._resting = False  # whether a pause between two attempts runs
        self._mail = False
        self._mail_task: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._used = 0.0
        self._settled = settled

    # For the router: a session.

    def want(self) -> bool:
        """Connect for live items; return False during a pause between two attempts."""
        if not self._resting:
            self._used = self._clock()
            self._wanted = not self._up
            self._start()
        return not self._resting

    def tell(self, item: Item) -> None:
        if self._client is not None and self._up:
            self._used = self._clock()
            self._client.tell(item)

    @property
    def full(self) -> bool:
        return not self._up or self._client is None or self._client.full

    def end(self, reason: str, retry: float = 0.0) -> None:
        self._down.set()

    # For the mail.

    def wake(self, address: str) -> None:
        """Forward the mail and notes for the relay, which may be reached at ``address``."""
        self.learn(address)
        self._mail = True
        self._forwarder.wake()
        self._start()
        if self._up:
            self._start_mail()

    def learn(self, address: str) -> None:
        """Remember that the relay may be reached at ``address``, too."""
        if address not in self._addresses:
            if len(self._addresses) >= ADDRESSES:
                del self._addresses[1]
            self._addresses.append(address)

    @property
    def idle(self) -> bool:
        return self._task is None

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # The connection.

    def _start(self) -> None:
        if self._task is None:
            self._used = self._clock()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while await self._needed():
                if await self._try_all():
                    self._backoff.reset()
                else:
                    self._wanted, self._resting = False, True
                    self._context.post.sign_out(self)
                    await asyncio.sleep(self._backoff.next())
                    self._resting = False
        finally:
            self._resting, self._task = False, None
            self._settle()

    async def _needed(self) -> bool:
        if not self._wanted and self._mail:
            self._mail = False
            ours = await self._context.ours(self.key)
            self._mail = self._mail or ours  # more may have come meanwhile
        return self._wanted or self._mail

    async def _try_all(self) -> bool:
        """Connect to the first address that works and stay; return False when no connection held."""
        for address in list(self._addresses):
            began = self._clock()
            if await self._try(address):
                return self._clock() - began >= STABLE
        return False

    async def _try(self, address: str) -> bool:
        self._down.clear()
        client = self._client = self._context.dial(parse_relay(address), self)
        try:
            client.start()
            await client.connected(CONNECT_TIMEOUT)
            self._reached(address)
            await self._stay()
        except Unreachable as error:
            log.debug("%s cannot be reached: %s", escaped(address), escaped(error))
            return False
        finally:
            await self._over()
            await client.close()
        return True

    def _reached(self, address: str) -> None:
        self._addresses.remove(address)
        self._addresses.insert(0, address)
        self.address = address
        self._settle()

    def _settle(self) -> None:
        settled, self._settled = self._settled, lambda: None
        settled()

    async def _stay(self) -> None:
        """Wait until the connection is lost, or nothing went over it for IDLE seconds."""
        while not self._down.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE / 4):
                    await self._down.wait()
            if self._clock() - self._used >= IDLE and self._forwarder.idle:
                self._mail = False
                return

    async def _over(self) -> None:
        self._lost("nothing is left to say")
        self._client = None
        task, self._mail_task = self._mail_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._forwarder.idle:
            self._mail = False

    def _lost(self, reason: str) -> None:
        if self._up:
            self._up = False
            self._log("federation links down", f"is down: {reason}")
            self._context.metrics.federation_links_up -= 1
            self._context.post.sign_out(self)

    def _start_mail(self) -> None:
        if self._mail_task is None or self._mail_task.done():
            self._mail_task = asyncio.get_running_loop().create_task(self._send_mail())

    async def _send_mail(self) -> None:
        try:
            await self._forwarder.run(lambda: self._context.ours(self.key), RENEW)
            self._mail = False  # another process has the lease
        except Unreachable:
            self._down.set()

    # The client's owner.

    def relay_up(self, client: Client, limits: Limits) -> None:
        if client is self._client:
            self._up, self._wanted = True, False
            self._context.metrics.federation_links_up += 1
            self._log("federation links up", "is up")
            self._context.post.writable(self)
            if self._mail:
                self._start_mail()

    def relay_said(self, client: Client, item: Item) -> None:
        if client is not self._client or not isinstance(item, Forwarded):
            return
        self._used = self._clock()
        match item.inner:
            case Stored() | Declined() | Noted() | RoomAgain():
                self._forwarder.said(item)
            case Deposit() | Ended() | MailWaiting():
                pass  # a relay must bring these over its own connection, where they are checked
            case _:
                self._context.post.receive(self, item)

    def relay_down(self, client: Client, reason: str) -> None:
        if client is self._client:
            self._lost(reason)
            self._down.set()

    def relay_writable(self, client: Client) -> None:
        if client is self._client and self._up:
            self._context.post.writable(self)

    def _log(self, kind: str, what: str) -> None:
        """Log what the link does; all links share one allowance, as users name the relays."""
        where = self._client.address.text if self._client is not None else self.address
        self._context.lines.info("", kind, "the link to %s %s", where, escaped(what), peer=sign_id_of(self.key))

    def _say(self, forwarded: Forwarded) -> bool:
        self._used = self._clock()
        return self._client is not None and self._client.tell(forwarded)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
