"""A door of somebody else: a package of its own, installed, named in the settings of a relay, and used."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.exceptions

from mm_relay.server import RelayServer
from mm_transports.relay.protocol import items, signin
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Open, Welcome
from mm_transports.relay.websocket import connect
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity, raw_key
from tests.support.native_door import Guest, within

ALICE, BOB = (Identity.from_seed(bytes([number]) * 32) for number in (11, 12))
LONGEST = 120  # lines of all its files together


class Relay:
    """One that runs, and what its clients do."""

    def __init__(self, server: RelayServer, facts: dict[str, Any]) -> None:
        self.server = server
        self.address = parse_relay(facts["address"])
        self.key = raw_key(self.address.key)

    def line(self, query: str) -> Any:
        return websockets.asyncio.client.connect(f"{self.address.url}line?{query}")

    async def guest(self, identity: Identity) -> Guest:
        guests: list[Guest] = []

        def owner_of(socket: Any) -> Guest:
            guests.append(Guest(socket))
            return guests[0]

        await connect(self.address.url, [items.VERSION], owner_of, max_message=items.MAX_MESSAGE)
        guests[0].say(signin.answer(identity, await guests[0].hears(), self.key, bytes(32)))  # type: ignore[arg-type]
        assert isinstance(await guests[0].hears(), Welcome)
        return guests[0]


@pytest.fixture
def line_door(installed: Callable[[str, str], ModuleType]) -> ModuleType:
    return installed("door", "mm_line_door")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Relay]]]:
    running: list[RelayServer] = []

    async def make(*doors: str, **settings: Any) -> Relay:
        flags = {"listen": "127.0.0.1:0", "data": tmp_path / "relay", "drain": 1, "door": doors} | settings
        server = RelayServer.configure(flags, None, lambda note: None)
        facts = await server.start()
        running.append(server)
        return Relay(server, facts)

    yield make
    for server in running:
        await server.stop()


def soon() -> int:
    return int(time.time()) + 60


def test_a_door_is_small(length: Callable[[str], int]) -> None:
    assert length("door") < LONGEST


@pytest.mark.slow
async def test_lines_between_two_clients_of_the_door(start: Any, line_door: Any) -> None:
    relay = await start("line")
    async with (
        relay.line(line_door.token(ALICE, relay.key, soon())) as alice,
        relay.line(line_door.token(BOB, relay.key, soon())) as bob,
    ):
        await alice.send(f"{BOB.sign_id} hello \N{SNOWMAN}")
        assert await within(bob.recv()) == f"{ALICE.sign_id} hello \N{SNOWMAN}"
        await bob.send(f"{ALICE.sign_id} hello yourself")
        assert await within(alice.recv()) == f"{BOB.sign_id} hello yourself"
        assert relay.server.activity()["signedIn"] == 2
    assert relay.server.metrics.frames == 2


@pytest.mark.slow
async def test_lines_and_frames_of_nodes_meet(start: Any, line_door: Any) -> None:
    relay = await start("native", "line")
    bob = await relay.guest(BOB)
    async with relay.line(line_door.token(ALICE, relay.key, soon())) as alice:
        await alice.send(f"{BOB.sign_id} to a node")
        assert await bob.hears() == Open(ALICE.sign_key, 1, b"to a node")
        bob.say(Open(ALICE.sign_key, 7, b"from a node"))
        assert await within(alice.recv()) == f"{BOB.sign_id} from a node"
        bob.socket.close()
        await bob.lost()
        assert await within(alice.recv()) == f"!{BOB.sign_id} gone"
        await alice.send(f"{BOB.sign_id} too late")
        assert await within(alice.recv()) == f"!{BOB.sign_id} absent"


async def test_only_a_fresh_token_for_this_relay_signs_in(start: Any, line_door: Any) -> None:
    relay = await start("line")
    good = line_door.token(ALICE, relay.key, soon())
    for query in (
        line_door.token(ALICE, BOB.sign_key, soon()),  # for another relay
        line_door.token(ALICE, relay.key, soon() - 120),
        line_door.token(ALICE, relay.key, soon() + 86_400),
        good.replace(ALICE.sign_key.hex(), BOB.sign_key.hex()),
        "key=00",
    ):
        async with relay.line(query) as nobody:
            assert await within(nobody.recv()) == "!bad-token"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await relay.line("")
    assert refused.value.response.status_code == 401
    assert relay.server.metrics.refused == {"bad-token": 5}


async def test_the_lists_of_the_relay_hold_for_every_door(start: Any, line_door: Any) -> None:
    relay = await start("line", deny=[ALICE.sign_id])
    async with relay.line(line_door.token(ALICE, relay.key, soon())) as alice:
        assert await within(alice.recv()) == "!denied"


async def test_a_line_without_a_peer_ends_the_connection(start: Any, line_door: Any) -> None:
    relay = await start("line")
    async with relay.line(line_door.token(ALICE, relay.key, soon())) as alice:
        await alice.send("hello?")
        assert await within(alice.recv()) == "!bad-item: a line begins with a signId"


async def test_a_door_that_is_not_open_takes_nobody(start: Any, line_door: Any) -> None:
    relay = await start("native")
    with pytest.raises(websockets.exceptions.InvalidStatus):
        await relay.line(line_door.token(ALICE, relay.key, soon()))


async def test_a_door_that_is_not_installed_is_named_with_those_that_are(start: Any, line_door: Any) -> None:
    with pytest.raises(LocalError, match="there is no door 'lines'; installed: line, native"):
        await start("lines")
