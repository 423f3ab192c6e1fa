"""Nodes as a relay transport sees them: they keep what they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mm_transports.relay import multiplexer as multiplexer
from mm_transports.relay.transport import Relay
from mm_transports.testing import ConnectionEnd
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.identity.keys import Identity, SignId
from mmplatform.plugins.transport import Connection
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until
from tests.support.world import identity

ALICE, BOB, CARA = identity(1), identity(2), identity(3)


RELAY, OTHER = identity(200), identity(201)


MAIL_ID = b"i" * 16


LATER = 2_000_000_000_000


class Node:
    """A platform as its transport sees it; keeps what it is told."""

    stun: Sequence[str] = ()
    turn: Sequence[tuple[str, str, str]] = ()
    proxy: str | None = None

    def __init__(self, who: Identity) -> None:
        self.identity = who
        self.reaches = ANYWHERE
        self.errors: list[Exception] = []
        self.seen: list[SignId] = []
        self.mail: list[tuple[bytes, Callable[[bool], None]]] = []
        self.ended: list[tuple[SignId, bytes, str]] = []
        self.rooms: list[SignId] = []
        self.came: asyncio.Queue[ConnectionEnd] = asyncio.Queue()
        self.ends: list[ConnectionEnd] = []
        self.relay = Relay()
        self.relay.attach(self)
        self.relay.mail_host = self  # as carry has it

    def reach(self, peer: SignId) -> Reach:
        return self.reaches

    def now(self) -> float:
        return 1_700_000_000.0

    def random(self) -> float:
        return 0.5

    def failed(self, error: Exception, topic: str = "") -> None:
        self.errors.append(error)

    async def advertise(self, owner: str, addresses: Any) -> None:
        raise AssertionError("nobody asked for it")

    def present(self, peer: SignId) -> None:
        self.seen.append(peer)

    def mail_received(self, envelope: bytes, done: Callable[[bool], None]) -> None:
        self.mail.append((envelope, done))

    def mail_finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        self.ended.append((peer, mail_id, state))

    def mail_welcome(self, peer: SignId) -> None:
        self.rooms.append(peer)

    def linked(self, peer: str) -> bool:
        raise AssertionError("nobody asked for it")

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        raise AssertionError("nobody asked for it")

    def accept(self, connection: Connection) -> ConnectionEnd:
        self.ends.append(ConnectionEnd(connection))
        self.came.put_nowait(self.ends[-1])
        return self.ends[-1]

    async def home(self, *relays: Tiny) -> None:
        for relay in relays:
            await self.relay.listen(relay.address, self.accept)
        await until(lambda: all(relay.sessions.get(self.identity.sign_key) for relay in relays))
        await until(lambda: not any(self.relay.troubles().values()))

    async def dial(self, relay: Tiny | str, peer: Identity, first: bytes = b"hello") -> ConnectionEnd:
        def accept(connection: Connection) -> ConnectionEnd:
            self.ends.append(ConnectionEnd(connection))
            connection.write(first)
            return self.ends[-1]

        address = relay if isinstance(relay, str) else relay.address
        connection = await self.relay.dial(address, peer.sign_id, accept)
        return next(end for end in self.ends if end.connection is connection)

    async def close(self) -> None:
        for end in self.ends:
            end.connection.abort()
            await end.gone.wait()
        await self.relay.close()

    async def deposit(self, relay: Tiny, peer: Identity, mail_id: bytes = MAIL_ID, envelope: bytes = b"sealed") -> int:
        return await self.relay.deposit(relay.address, peer.sign_id, mail_id, LATER, envelope)


@pytest.fixture
async def nodes() -> AsyncIterator[Callable[[Identity], Node]]:
    async with AsyncExitStack() as stack:

        def make(who: Identity) -> Node:
            node = Node(who)
            stack.push_async_callback(node.close)
            return node

        yield make
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mm relay")] == []


@pytest.fixture
async def pair(relay: Tiny, nodes: Any) -> tuple[Node, Node]:
    """Alice and bob, both at home at the relay."""
    alice, bob = nodes(ALICE), nodes(BOB)
    await alice.home(relay)
    await bob.home(relay)
    return alice, bob
