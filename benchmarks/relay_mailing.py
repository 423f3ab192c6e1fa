"""Mail from one relay to another as fast as they pass it on: one client deposits here, another one takes there."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.relay_stranger import HOUR
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Declined, Deposit, Ended, Item, Limits, Mail, Noted, Taken
from mmplatform.identity.keys import Identity

ENVELOPE = bytes(1000)
UNDER_WAY = 128  # from their deposit until they are there
PATIENCE = 60.0  # seconds


class Mailing:
    """Deposits at one relay for somebody at another one, who takes all at once."""

    def __init__(self, here: str, there: str) -> None:
        self._there = there
        self._recipient = Identity.generate()
        self._from = self._client(here, Identity.generate())
        self._to = self._client(there, self._recipient)
        self._left = self._came = self._last = 0
        self._done: asyncio.Future[None]

    def _client(self, relay: str, identity: Identity) -> Client:
        return Client(parse_relay(relay), identity, self, random=random.random, now=time.time, keep=False)

    async def open(self) -> None:
        for client in (self._from, self._to):
            client.start()
            await client.connected(PATIENCE)

    async def close(self) -> None:
        await self._from.close()
        await self._to.close()

    async def pass_on(self, count: int) -> float:
        self._done = asyncio.get_running_loop().create_future()
        self._last += count
        began = time.perf_counter()
        self._deposit()
        await asyncio.wait_for(self._done, PATIENCE)
        return count / (time.perf_counter() - began)

    def _deposit(self) -> None:
        while self._left < self._last and self._left - self._came < UNDER_WAY:
            self._left += 1
            expires = int(time.time() * 1000) + HOUR
            mail_id = secrets.token_bytes(16)
            self._from.tell(Deposit(self._recipient.sign_key, mail_id, expires, ENVELOPE, self._there))

    # The owner of both clients.

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None:
        if isinstance(item, Mail):
            client.tell(Taken([item.number]))
            self._came += 1
            if self._came == self._last:
                self._done.set_result(None)
            self._deposit()
        elif isinstance(item, Ended):
            client.tell(Noted(item.number))
        elif isinstance(item, Declined):
            self._done.set_exception(RuntimeError(f"a relay declined the mail: {item.reason}"))

    def relay_down(self, client: Client, reason: str) -> None: ...

    def relay_writable(self, client: Client) -> None: ...


@asynccontextmanager
async def mailing(here: str, there: str) -> AsyncIterator[Mailing]:
    mail = Mailing(here, there)
    await mail.open()
    try:
        yield mail
    finally:
        await mail.close()
