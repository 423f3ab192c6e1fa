"""Clients of a front door, item by item, and a core that writes down what it is told."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mm_relay.access import Access
from mm_relay.doors.connections import Connections
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.native import NativeDoor
from mm_relay.doors.websocket_server import serve
from mm_relay.metrics import Metrics
from mm_relay.ports import RelaySession
from mm_transports.accepting import Acceptor
from mm_transports.relay.protocol import items, signin
from mm_transports.relay.protocol.items import (
    Bye,
    Challenge,
    Item,
    Limits,
    SignIn,
    Welcome,
)
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.relay.websocket import connect
from mmplatform.identity.keys import Identity
from tests.support.websocket_ends import End, settled

RELAY, PEER, OTHER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))


PATIENCE = 10.0


NOW = 1_700_000_000.0


class Core:
    """Remembers; ``then`` is called with what comes."""

    def __init__(self) -> None:
        self.sessions: list[RelaySession] = []
        self.out: list[RelaySession] = []
        self.items: asyncio.Queue[Item] = asyncio.Queue()
        self.signed: asyncio.Queue[RelaySession] = asyncio.Queue()
        self.left: asyncio.Queue[RelaySession] = asyncio.Queue()
        self.drained: asyncio.Queue[RelaySession] = asyncio.Queue()
        self.then: Callable[[RelaySession, Item], None] = lambda session, item: None

    def sign_in(self, session: RelaySession) -> None:
        self.signed.put_nowait(session)

    def sign_out(self, session: RelaySession) -> None:
        self.left.put_nowait(session)

    def receive(self, session: RelaySession, item: Item) -> None:
        self.items.put_nowait(item)
        self.then(session, item)

    def writable(self, session: RelaySession) -> None:
        self.drained.put_nowait(session)


class Entrance:
    """Native doors behind a port."""

    def __init__(self, connections: Connections, core: Core, url: str) -> None:
        self.connections, self.core, self.url = connections, core, url

    async def knock(self) -> "Guest":
        guests: list[Guest] = []

        def owner_of(socket: Any) -> Guest:
            guests.append(Guest(socket))
            return guests[0]

        await connect(self.url, [items.VERSION], owner_of, max_message=items.MAX_MESSAGE)
        return guests[0]

    async def guest(
        self, identity: Identity = PEER, *more: Item, role: int = items.PEER
    ) -> tuple["Guest", RelaySession]:
        guest = await self.knock()
        guest.say(await guest.answer(identity, role=role), *more)
        assert isinstance(await guest.hears(), Welcome)
        return guest, await within(self.core.signed.get())


class Guest(End):
    """The client's side, item by item."""

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self.told: asyncio.Queue[Item] = asyncio.Queue()
        self.sizes: list[int] = []

    def message_received(self, message: bytes) -> None:
        self.sizes.append(len(message))
        for item in decode_items(message):
            self.told.put_nowait(item)

    def say(self, *said: Item) -> None:
        self.socket.send(encode_items(list(said)))

    async def hears(self) -> Item:
        return await within(self.told.get())

    async def answer(self, identity: Identity, role: int = items.PEER, address: str = "") -> SignIn:
        asked = await self.hears()
        assert isinstance(asked, Challenge)
        return signin.answer(identity, asked, RELAY.sign_key, bytes(32), role, address)

    async def ended(self) -> str:
        """The reason the relay gives."""
        while not isinstance(item := await self.hears(), Bye):
            pass
        await self.lost()
        return item.reason


async def within(waited: Any) -> Any:
    return await asyncio.wait_for(waited, PATIENCE)


def limits(**values: int) -> Limits:
    return Limits(**(dict.fromkeys(Limits.__struct_fields__, 0) | values))


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    servers: list[Acceptor] = []
    made: list[Connections] = []

    async def make(limited: Limits | None = None, **options: Any) -> Entrance:
        core = Core()
        chosen = {
            "kinds": [NativeDoor], "access": Access(), "connection_limits": ConnectionLimits(), "metrics": Metrics(),
            "now": lambda: NOW, "random": os.urandom,
        }  # fmt: skip
        connections = Connections(RELAY, "test", limited or limits(), core, **(chosen | options))
        server = await serve("127.0.0.1", 0, connections.answer, max_message=NativeDoor.max_message)
        servers.append(server)
        made.append(connections)
        return Entrance(connections, core, f"ws://127.0.0.1:{server.names[0][1]}/")

    yield make
    for server in servers:
        server.close()
    for connections in made:
        await connections.empty(0)
        assert not connections.doors
        metrics, limited = connections.metrics, connections.connection_limits
        assert metrics.connections == metrics.signed_in == limited.total == limited.unproven == 0
    await settled()
