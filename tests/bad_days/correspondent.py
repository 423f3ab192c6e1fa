"""A client of one relay that says and hears items itself: it leaves mail, takes mail, and counts what it was told."""

import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Declined, Deposit, Ended, Item, Limits, Mail, Noted, Stored, Taken
from mmplatform.identity.keys import Identity
from tests.bad_days.scene import Scene

HOUR = 3600 * 1000


class Correspondent:
    """``stored`` has the ids of what it was told is stored, ``mails`` what was handed to it and not given back yet."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.stored: list[bytes] = []
        self.declined: Counter[str] = Counter()
        self.mails: list[Mail] = []
        self.came: list[bytes] = []  # the ids of all mail that was handed to it
        self.ended: list[bytes] = []
        self._client: Client

    def dial(self, relay: RelayProcess) -> None:
        self._client = Client(parse_relay(relay.address), self.identity, self, random=random.random, now=time.time)
        self._client.start()

    async def connected(self) -> None:
        await self._client.connected(10)

    async def leave(self) -> None:
        await self._client.close()

    def deposit(self, to: "Correspondent", count: int, size: int = 200) -> list[bytes]:
        """Leave mail; the envelope begins with its id."""
        ids = [secrets.token_bytes(16) for _ in range(count)]
        until = int(time.time() * 1000) + HOUR
        for one in ids:
            envelope = one + secrets.token_bytes(size - len(one))
            self._client.tell(Deposit(to.identity.sign_key, one, until, envelope))
        return ids

    def take(self) -> None:
        """Acknowledge all mail that was handed to it."""
        mails, self.mails = self.mails, []
        if mails:
            self._client.tell(Taken([mail.number for mail in mails]))

    def all_came(self, ids: Sequence[bytes]) -> bool:
        return set(ids) <= set(self.came)

    def take_all(self, ids: Sequence[bytes]) -> bool:
        """Take what has come; return whether all of these have."""
        self.take()
        return self.all_came(ids)

    def answered(self, count: int) -> bool:
        return len(self.stored) + self.declined.total() >= count

    # The owner of the client.

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None:
        match item:
            case Stored():
                self.stored.append(item.id)
            case Declined():
                self.declined[item.reason] += 1
            case Mail():
                self.mails.append(item)
                self.came.append(bytes(item.envelope[:16]))
            case Ended():
                self.ended.append(item.id)
                client.tell(Noted(item.number))
            case _:
                pass

    def relay_down(self, client: Client, reason: str) -> None: ...

    def relay_writable(self, client: Client) -> None: ...


async def correspondent(scene: Scene, relay: RelayProcess, identity: Identity | None = None) -> Correspondent:
    """Sign a new one in, or one of before anew."""
    made = Correspondent(identity or Identity.from_seed(secrets.token_bytes(32)))
    made.dial(relay)
    scene.stack.push_async_callback(made.leave)
    await made.connected()
    return made
