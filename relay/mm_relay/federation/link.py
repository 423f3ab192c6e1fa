"""Connects to one other relay: a session to the router, and the way for mail to it (mail_forwarder.py).

A federation link belongs to a key. Depositors say where that relay is reached, and may be wrong: addresses.py has the
order, race.py the attempts, and the one whose relay proves the key is remembered over restarts (proven.py).
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mm_relay.federation.addresses import Addresses
from mm_relay.federation.context import FederationContext
from mm_relay.federation.mail_forwarder import Forwarder
from mm_relay.federation.race import Race
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay, relay_key
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
from mmplatform.errors import StorageError, Unreachable
from mmplatform.identity.keys import sign_id_of
from mmplatform.links.backoff import Backoff
from mmplatform.text import escaped

LONGEST_PAUSE: Final = 60.0  # seconds between two rounds of attempts
NEWS_AFTER: Final = 5.0  # seconds of a pause after which a new address ends it
LATE: Final = 1.5  # seconds of attempts after which the relay counts as lost
IDLE: Final = 3600.0  # seconds after which an unused link is closed
RENEW: Final = 10.0  # seconds after which the lease of the mail is renewed
STABLE: Final = 5.0  # seconds that a good connection holds: after one the next attempt comes at once
LOOK_COUNT: Final = 64  # envelopes of the box that are asked, after a round in vain, where the relay is
LOOK_BYTES: Final = 1024 * 1024  # bytes of them

log = logging.getLogger("mm_relay.federation")


class FederationLink:
    """The link to the relay with ``key``; ``addresses`` is where it may be reached."""

    role = RELAY
    place = b""

    def __init__(
        self, key: bytes, addresses: Addresses, context: FederationContext, settled: Callable[[], None] = lambda: None
    ) -> None:
        """``settled`` is called once: when the relay was reached, or no more attempts are made."""
        self.key, self._addresses, self._context = key, addresses, context
        self.address = addresses.proven  # where it was reached last, or is likely to be
        self._forwarder = Forwarder(
            context.own, key, context.store, context.now, context.metrics, self._say, context.mail
        )
        self._client: Client | None = None
        self._up = False
        self._wanted = False  # whether live items want a connection
        self._down = asyncio.Event()
        self._news = asyncio.Event()  # there is an address that was not tried yet
        self._backoff = Backoff(context.random, LONGEST_PAUSE)
        self._resting = False  # whether a pause between two attempts runs
        self._failing = False  # whether the last round of attempts was in vain
        self._began = 0.0  # when the round of attempts under way did
        self._mail = False
        self._mail_task: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._used = 0.0
        self._looked = 0  # the number of the envelope up to which the box was asked for addresses
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

    @property
    def lost(self) -> bool:
        """Whether the relay is known not to be reachable now."""
        late = self._task is not None and self._clock() - self._began >= LATE
        return not self._up and (self._failing or late)

    def wake(self) -> None:
        """Forward the mail and notes for the relay."""
        self._mail = True
        self._forwarder.wake()
        self._start()
        if self._up:
            self._start_mail()

    def learn(self, address: str, place: bytes, peer: bytes) -> None:
        """Remember that ``peer``, at ``place``, says that the relay may be reached at ``address``."""
        if self._addresses.claim(address, place, peer):
            self.address = self._addresses.in_turn()[0]
            self._news.set()

    def signed_in(self, address: str) -> None:
        """Remember that the relay itself, which has signed in here, says that it is reached at ``address``."""
        if self._addresses.signed_in(address) or self._failing:
            self._backoff.reset()
            self._news.set()

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
            self._used = self._began = self._clock()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while await self._needed():
                self._began = self._clock()
                if await self._connect():
                    self._backoff.reset()
                else:
                    await self._rest()
        finally:
            self._resting, self._task = False, None
            self._settle()

    async def _rest(self) -> None:
        """Wait for the next round of attempts; an address that was not tried yet ends that early."""
        self._wanted, self._resting = False, True
        self._context.post.sign_out(self)
        pause = self._backoff.next()
        await asyncio.sleep(min(pause, NEWS_AFTER))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause - NEWS_AFTER, 0)):
                await self._news.wait()
        self._resting = False

    async def _needed(self) -> bool:
        if not self._wanted and self._mail:
            self._mail = False
            ours = await self._context.ours(self.key)
            self._mail = self._mail or ours  # more may have come meanwhile
        return self._wanted or self._mail

    async def _connect(self) -> bool:
        """Connect to the first address that works and stay; return False when no connection held."""
        began = self._clock()
        self._down.clear()
        self._news.clear()
        try:
            address, client = await Race(self._addresses.in_turn, self._dial, self._addresses.failed).run()
        except Unreachable:
            await self._over()
            await self._in_vain()
            return False
        try:
            if client is self._client:
                self._reached(address)
                await self._stay()
        finally:
            await self._over()
            await client.close()
        return self._clock() - began >= STABLE

    def _dial(self, address: str) -> Client:
        return self._context.dial(parse_relay(address), self)

    async def _in_vain(self) -> None:
        """Answer those who wait, and ask the mail of the box where else the relay may be."""
        if not self._failing:
            self._log("federation links failing", "cannot be made; its mail waits here, senders try other relays")
        self._failing = True
        self._context.mail.held_up(self.key)
        if self._mail:
            await self._ask_box()

    async def _ask_box(self) -> None:
        """Learn the addresses that senders gave: after a restart nothing else is known of where the relay is."""
        try:
            mails = await self._context.store.collect(self.key, self._looked, LOOK_COUNT, LOOK_BYTES)
        except StorageError:
            return
        self._looked = mails[-1].number if mails else 0
        for mail in mails:
            if mail.via and relay_key(mail.via) == self.key and self._context.admits(mail.via):
                self.learn(mail.via, mail.place, mail.sender)

    def _reached(self, address: str) -> None:
        self._failing = False
        self.address = address
        self._addresses.reached(address)
        self._context.proven(self.key, address)
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
            self._context.clocks.gone(self.key)
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
        if self._client is None:  # the first of the race
            self._client, self._up, self._wanted = client, True, False
            self._forwarder.skew = self._context.clocks.heard(self.key, client.address.text, client.skew)
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
