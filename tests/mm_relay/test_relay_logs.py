"""What a relay logs: its life, who signs in and who is refused, federation, mail; and that nobody can flood it."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_relay.server import RelayServer
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Deposit, Item, Limits, Open
from mmplatform import logs
from mmplatform.identity.keys import Identity
from tests.support.waiting import until
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)
LATER = 2**52
Start = Callable[..., Awaitable["Running"]]


class Running:
    """A relay that runs."""

    def __init__(self, server: RelayServer, address: str) -> None:
        self.server, self.address = server, address


class Guest:
    """A client of a relay that remembers how its connections ended."""

    def __init__(self, who: Identity, address: str) -> None:
        self.reasons: list[str] = []
        self.client = Client(parse_relay(address), who, self, random=random.random, now=time.time, keep=False)

    def relay_up(self, client: Client, limits: Limits) -> None: ...
    def relay_said(self, client: Client, item: Item) -> None: ...
    def relay_writable(self, client: Client) -> None: ...

    def relay_down(self, client: Client, reason: str) -> None:
        self.reasons.append(reason)

    async def visit(self) -> None:
        """Sign in, and leave again."""
        self.client.start()
        await self.client.connected(10)
        await self.client.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack, asyncio.timeout(60):

        async def make(name: str = "x", **settings: Any) -> Running:
            flags = {"listen": "127.0.0.1:0", "data": tmp_path / name, "drain": 2} | settings
            server = RelayServer.configure(flags, None, lambda text: None)
            facts = await server.start()
            stack.push_async_callback(server.stop)
            return Running(server, facts["address"])

        yield make


def said(caplog: pytest.LogCaptureFixture, name: str, level: int = logging.INFO) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == name and r.levelno == level]


async def test_it_says_that_it_started_drains_and_stopped(
    start: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    relay = await start()
    [line] = said(caplog, "mm_relay.server")
    assert line.startswith(f"started: {relay.address}, listening on 127.0.0.1:")
    guest = Guest(ALICE, relay.address)
    guest.client.start()
    await guest.client.connected(10)
    await relay.server.stop()
    assert guest.reasons == ["draining"]
    assert "draining: 1 connections are sent away" in said(caplog, "mm_relay.doors")
    assert "drained: 0 connections took too long and are cut off" in said(caplog, "mm_relay.doors")
    assert said(caplog, "mm_relay.server")[-1] == "stopped"


async def test_sign_ins_and_refusals_have_the_number_of_the_connection_and_the_reason(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    relay = await start(deny=[BOB.sign_id])
    await Guest(ALICE, relay.address).visit()
    await until(lambda: len(said(caplog, "mm_relay.doors")) == 2)
    signed_in, signed_out = said(caplog, "mm_relay.doors")
    number = signed_in.split()[1].rstrip(":")
    assert signed_in == f"connection {number}: peer {ALICE.sign_id} signed in from 127.0.0.1"
    assert signed_out == f"connection {number}: peer {ALICE.sign_id} signed out: it said goodbye"
    [record] = [record for record in caplog.records if record.getMessage() == signed_in]
    assert (record.connection, record.peer) == (int(number), ALICE.sign_id)  # type: ignore[attr-defined]
    assert f"connection {number} from 127.0.0.1" in said(caplog, "mm_relay.doors", logging.DEBUG)
    frames = [line for line in said(caplog, "mm_relay.doors", logging.DEBUG) if f"connection {number} in" in line]
    assert frames[0].startswith(f"connection {number} in: 1 SignIn, ")

    denied = Guest(BOB, relay.address)
    denied.client.start()
    await until(lambda: denied.reasons)
    refused = said(caplog, "mm_relay.doors")[2]
    assert refused == f"connection {int(number) + 1} from 127.0.0.1 is refused: denied"
    await denied.client.close()


async def test_items_are_logged_by_kind_and_size_alone(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    relay = await start()
    guest = Guest(ALICE, relay.address)
    guest.client.start()
    await guest.client.connected(10)
    guest.client.tell(Open(BOB.sign_key, 1, b"recognisable"))
    guest.client.tell(Deposit(BOB.sign_key, b"mail" * 4, LATER, b"recognisable envelope"))
    await until(lambda: said(caplog, "mm_relay.mailboxes", logging.DEBUG))
    assert said(caplog, "mm_relay.mailboxes", logging.DEBUG) == [
        f"mail 6d61696c of {ALICE.sign_id} for {BOB.sign_id}, 21 bytes, is kept"
    ]
    assert f"a link of {ALICE.sign_id} to {BOB.sign_id} is refused: absent" in said(
        caplog, "mm_relay.routing", logging.DEBUG
    )
    frames = said(caplog, "mm_relay.doors", logging.DEBUG)
    assert any("in: 1 Open, " in line for line in frames)
    assert any("in: 1 Deposit, " in line for line in frames)
    assert any("out: 1 Closed, " in line for line in frames)
    assert not any("recognisable" in record.getMessage() for record in caplog.records)
    await guest.client.close()


async def test_strangers_have_their_share_of_lines_and_are_counted(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    relay = await start()
    for number in range(1, 31):
        await Guest(identity(number), relay.address).visit()
    await until(lambda: relay.server.metrics.signed_in == 0)
    lines = said(caplog, "mm_relay.doors")
    assert len([line for line in lines if "signed in" in line]) == logs.LINES
    await relay.server.stop()
    assert "within a minute, not said one by one: 10 signed in, 10 signed out" in said(caplog, "mm_relay.doors")


async def test_links_to_other_relays_are_logged_up_and_down(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    here, there = await start("x"), await start("y")
    guest = Guest(ALICE, here.address)
    guest.client.start()
    await guest.client.connected(10)
    guest.client.tell(Open(BOB.sign_key, 1, b"hello", there.address))
    await until(lambda: said(caplog, "mm_relay.federation"))
    assert said(caplog, "mm_relay.federation") == [f"the link to {there.address} is up"]
    assert any(": relay " in line and "signed in" in line for line in said(caplog, "mm_relay.doors"))
    await there.server.stop()
    await until(lambda: len(said(caplog, "mm_relay.federation")) == 2)
    assert said(caplog, "mm_relay.federation")[1] == f"the link to {there.address} is down: draining"
    await guest.client.close()


async def test_what_the_operator_is_told_is_in_the_log_too(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    relay = await start()
    relay.server.reload()
    assert said(caplog, "mm_relay.server")[-1] == "the certificate and the lists were read again"
