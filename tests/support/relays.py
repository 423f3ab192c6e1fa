"""A relay in memory that does what a test wants: keeps, loses, declines, repeats, mixes up, dies and comes back."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.errors import MailDeclined, MailUncertain, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.transport import Accept, Connection, Transport
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import identity

WEEK_MS = 7 * 24 * 3600 * 1000


@dataclass
class Kept:
    number: int
    sender: SignId
    id: bytes
    expires: int
    envelope: bytes


@dataclass
class Relay:
    """``signed_in`` gets what comes for it. ``faults`` may be changed at any time."""

    name: str = "r"
    up: bool = True
    declined: str = ""  # the reason why nothing is kept
    retry: float = 0.0
    deaf: bool = False  # keeps what it is told, and its answer does not arrive
    handing_out: bool = True
    ttl_ms: int = WEEK_MS
    order: Callable[[list[Kept]], list[Kept]] = list
    copies: int = 1
    window: int = 64
    boxes: dict[SignId, dict[bytes, Kept]] = field(default_factory=dict)
    notes: dict[SignId, list[tuple[SignId, bytes, str]]] = field(default_factory=dict)
    here: dict[SignId, "Mailbox"] = field(default_factory=dict)
    deposits: int = 0
    refused: int = 0
    sealed: int = 0  # bytes of all envelopes that came

    @property
    def address(self) -> str:
        return f"relay+ws://{self.name}/K"

    def waiting(self, peer: SignId) -> list[Kept]:
        return list(self.boxes.get(peer, {}).values())

    def put(self, peer: SignId, sender: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        box = self.boxes.setdefault(peer, {})
        self.deposits += 1
        self.sealed += len(envelope)
        kept = box.setdefault(sender.encode() + mail_id, Kept(self.deposits, sender, mail_id, expires, envelope))
        self.push(peer)
        return kept.expires

    def put_raw(self, peer: SignId, envelope: bytes) -> None:
        """What a stranger leaves."""
        self.put(peer, SignId("stranger"), self.deposits.to_bytes(16), WEEK_MS, envelope)

    def push(self, peer: SignId) -> None:
        mailbox = self.here.get(peer)
        if mailbox is None or not (self.handing_out and self.up):
            return
        for kept in self.order(self.waiting(peer)):
            if len(mailbox.under_way) >= self.window:
                return
            if (self.name, kept.number) not in mailbox.under_way:
                mailbox.under_way.add((self.name, kept.number))
                for _ in range(self.copies):
                    mailbox.give(self, kept)

    def end(self, peer: SignId, kept: Kept, state: str) -> None:
        if self.boxes.get(peer, {}).pop(kept.sender.encode() + kept.id, None) is None:
            return
        self.refused += state == "refused"
        self.notes.setdefault(kept.sender, []).append((peer, kept.id, state))
        self.tell(kept.sender)
        self.push(peer)

    def end_all(self, peer: SignId, state: str) -> None:
        for kept in self.waiting(peer):
            self.end(peer, kept, state)

    def tell(self, sender: SignId) -> None:
        if sender in self.here and self.up:
            for note in self.notes.pop(sender, []):
                self.here[sender].host.mail_finished(*note)


class Mailbox(Transport, MailCarrier):
    """One node's connection to relays, by ``relays`` of the world. Links cannot be made over it."""

    schemes: ClassVar[tuple[str, ...]] = ("relay+ws", "relay+wss")

    def __init__(self, *relays: Relay) -> None:
        self.relays = {relay.address: relay for relay in relays}
        self.under_way: set[tuple[str, int]] = set()
        self.host: MailHost
        self.own: list[Relay] = []
        self.dead = False  # the process was killed: nothing it says arrives

    async def carry(self, host: MailHost) -> None:
        self.host = host

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        raise Unreachable(f"{address}: the peer is absent")

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        self.own.append(self.relays[hint])
        asyncio.get_running_loop().call_soon(self.sign_in)
        return [hint]

    def sign_in(self) -> None:
        me = self.host.identity.sign_id
        for relay in self.own:
            if not self.dead:
                relay.here[me] = self
                self.under_way -= {mark for mark in self.under_way if mark[0] == relay.name}
                relay.tell(me)
                relay.push(me)

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        relay = self.relays[address]
        await asyncio.sleep(0)
        if self.dead or not relay.up:
            raise Unreachable(f"{address} is down")
        if relay.declined:
            raise MailDeclined(relay.declined, relay.retry)
        now_ms = int(self.host.now() * 1000)
        until = relay.put(peer, self.host.identity.sign_id, mail_id, min(expires, now_ms + relay.ttl_ms), envelope)
        if relay.deaf:
            raise MailUncertain(f"{address}: the connection ended")
        await asyncio.sleep(0)
        return until

    def give(self, relay: Relay, kept: Kept) -> None:
        """One envelope, in a later loop turn."""

        def taken(good: bool) -> None:
            if not self.dead:
                self.under_way.discard((relay.name, kept.number))
                relay.end(self.host.identity.sign_id, kept, "delivered" if good else "refused")

        def come() -> None:
            if not self.dead:
                self.host.mail_received(kept.envelope, taken)

        asyncio.get_running_loop().call_soon(come)

    def sign_out(self) -> None:
        for relay in self.own:
            if relay.here.get(self.host.identity.sign_id) is self:
                del relay.here[self.host.identity.sign_id]

    async def close(self) -> None:
        self.sign_out()


def shuffled(seed: int) -> Callable[[list[Kept]], list[Kept]]:
    """An order for a relay that mixes everything up."""
    chance = random.Random(seed)
    return lambda kept: chance.sample(kept, len(kept))


class Disk(MemoryStorage):
    """Rows that take ``turns`` turns of the loop to reach the disk; ``after_kill`` has what did."""

    def __init__(self, rows: dict[bytes, bytes] | None = None, turns: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self._rows = dict(rows or {})
        self._order = None
        self._turns = turns
        self._kept = dict(self._rows)
        self._writing: list[tuple[Sequence[Row], asyncio.Future[None]]] = []

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        super().write(rows, sync=sync)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing.append((list(rows), future))
        self._later(self._turns())
        return future

    async def close(self) -> None:
        while self._writing:
            self._finish()
        await super().close()

    def after_kill(self) -> "Disk":
        return Disk(self._kept, self._turns)

    def _later(self, turns: int) -> None:
        asyncio.get_running_loop().call_soon(self._later, turns - 1) if turns else self._finish()

    def _finish(self) -> None:
        """The oldest write, whichever timer was first: writes become durable in their order."""
        if not self._writing:
            return  # all was written when it was closed
        rows, future = self._writing.pop(0)
        for key, value in rows:
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        if not future.done():
            future.set_result(None)


class Person:
    """One node through all its runs. ``runs`` has what the handlers of each were given while it was alive."""

    def __init__(self, number: int, *relays: Relay, network: Network | None = None, disk: Disk | None = None) -> None:
        self.identity = identity(number)
        self.sign_id = self.identity.sign_id
        self.relays, self.network, self.disk = relays, network, disk or Disk()
        self.runs: list[list[Any]] = []
        self.killed: set[int] = set()  # which of the runs
        self.friends: list[Person] = []
        self.errors: list[Exception] = []
        self.hold: asyncio.Event | None = None  # handlers wait for it
        self.node: Platform | None = None

    @property
    def heard(self) -> list[Any]:
        return [payload for run in self.runs for payload in run]

    @property
    def up(self) -> Platform:
        assert self.node is not None
        return self.node

    @property
    def record(self) -> NodeInfo:
        """What others know of it before it ever ran."""
        addresses = [relay.address for relay in self.relays]
        return NodeInfo.create(self.identity, addresses, 1, int(time.time()) + 30 * 24 * 3600)

    async def start(self) -> Platform:
        every = {relay.address: relay for person in [self, *self.friends] for relay in person.relays}
        transports: list[Transport] = [Mailbox(*every.values())]
        if self.network is not None:
            transports.append(Memory(self.network))
        node = self.node = Platform(
            self.disk,
            identity=self.identity,
            friends=[friend.sign_id for friend in self.friends],
            transports=transports,
            connection_info=["memory://0"] if self.network is not None else [],
            relays=[relay.address for relay in self.relays],
        )

        run: list[Any] = []
        number = len(self.runs)
        self.runs.append(run)

        @node.messaging.on("friends.>")
        async def heard(topic: str, sender: str, payload: Any) -> None:
            if self.hold is not None:
                await self.hold.wait()
            if number not in self.killed:
                run.append(payload)

        node.on("error", lambda error, topic: self.errors.append(error))
        await node.start()
        for friend in self.friends:
            node.directory.put(friend.record, "test")
        return node

    async def stop(self) -> None:
        node, self.node = self.up, None
        await node.stop()
        self.disk = self.disk.after_kill()

    async def kill(self) -> None:
        """As SIGKILL: nothing that the node does from now on reaches a relay, another node, or its disk."""
        node, self.node = self.up, None
        self.killed.add(len(self.runs) - 1)
        for transport in node.parts.plugins.transports:
            if isinstance(transport, Mailbox):
                transport.sign_out()
                transport.dead = True
        self.disk = self.disk.after_kill()
        if self.network is not None:
            self.network.cut()
        await node.stop()


@asynccontextmanager
async def people(*persons: Person) -> AsyncIterator[None]:
    """All friends; whoever runs at the end is stopped."""
    for person in persons:
        person.friends = [other for other in persons if other is not person]
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        for person in persons:
            if person.node is not None:
                await person.stop()


async def sent(person: Person, to: Person, *payloads: Any, **options: Any) -> list[Any]:
    return [await person.up.messaging.send("chat", to.sign_id, payload, **options) for payload in payloads]
