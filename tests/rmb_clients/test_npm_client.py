"""The unmodified npm package @threefold/rmb_direct_client 2.9.2 in Node, through our relay, with a twin of ours."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo as Record
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.toml_file import read_twins
from tests.rmb_clients.npm_client import PATIENCE, NpmClient, needs_npm_client
from tests.support.rmb_world import KEYS, RmbRelay, write_twins
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_npm_client]

WORDS = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
CONNECT_WITHIN = 3000  # milliseconds
MANY = 1000

Start = Callable[..., Awaitable[tuple[RmbRelay, NpmClient, Twin]]]


@pytest.fixture
async def start(rmb: Any) -> AsyncIterator[Start]:
    clients: list[NpmClient] = []
    twins: list[Twin] = []

    async def make(
        key_type: KeyType = "sr25519", *, chain_apart: bool = False, known: Record | None = None
    ) -> tuple[RmbRelay, NpmClient, Twin]:
        relay: RmbRelay = await rmb(clock=time.time)
        chain = await rmb("chain", clock=time.time, twins=relay.twins) if chain_apart else relay
        keys, name = TwinKeys.from_secret(WORDS, key_type), f"ws:/{relay.host}"
        own = known or Record(10, keys.account, keys.pk, (name,))
        write_twins(relay.twins, own, Record(30, KEYS[30].account, KEYS[30].pk))
        await relay.look()
        await chain.look()
        twin = Twin(KEYS[30], 30, registry=FileRegistry(relay.twins, lambda note: None), relays=[f"ws://{relay.host}/"])
        twin.on("calc.add")(lambda command, sender, numbers: sum(numbers))

        @twin.on("fail")
        def fail(command: str, sender: Any, payload: Any) -> None:
            raise TwinError(42, "no good")

        await twin.__aenter__()
        twins.append(twin)
        client = await NpmClient.start(chain.host, relay.host, WORDS, "test", key_type)
        clients.append(client)
        connected = await asyncio.wait_for(client.connected, PATIENCE)
        assert connected["connected"] == 10
        assert connected["after"] < CONNECT_WITHIN
        return relay, client, twin

    yield make
    for client in clients:
        await client.stop()
    for twin in twins:
        await twin.__aexit__(None, None, None)


@pytest.mark.parametrize("key_type", ["sr25519", "ed25519"])
async def test_it_asks_is_answered_fails_and_times_out(start: Start, key_type: KeyType) -> None:
    _, client, _ = await start(key_type)
    assert await asyncio.wait_for(client.ask(30, "calc.add", [1, 2]), PATIENCE) == 3
    with pytest.raises(AssertionError, match="42 no good"):
        await asyncio.wait_for(client.ask(30, "fail", None), PATIENCE)
    with pytest.raises(AssertionError, match="255 there is no nothing here"):
        await asyncio.wait_for(client.ask(30, "nothing", [1]), PATIENCE)
    with pytest.raises(AssertionError, match=r"Didn't get a response after 3 seconds|102 "):
        await asyncio.wait_for(client.ask(10, "calc.add", [1], 0.05), PATIENCE)


@pytest.mark.parametrize("key_type", ["sr25519", "ed25519"])
async def test_it_changes_its_own_twin(start: Start, key_type: KeyType) -> None:
    """As on ThreeFold's chain: another relay and another pk than it has are in the registry when it begins."""
    keys = TwinKeys.from_secret(WORDS, key_type)
    relay, client, _ = await start(
        key_type, known=Record(10, keys.account, KEYS[30].pk, ("old.example", "older.example"))
    )
    changed = read_twins(relay.twins.read_bytes())[10]
    assert changed == Record(10, keys.account, keys.pk, (f"ws:/{relay.host}",))

    async def answered() -> bool:
        with suppress(AssertionError):  # the other twin may have looked at the file a moment before
            return bool(await client.ask(30, "calc.add", [1, 2]) == 3)
        return False

    await until(answered)


async def test_a_thousand_requests_are_in_flight_and_none_is_lost(start: Start) -> None:
    _, client, _ = await start()
    answers = [client.ask(30, "calc.add", [1, number]) for number in range(MANY)]
    assert await asyncio.wait_for(asyncio.gather(*answers), PATIENCE) == [1 + number for number in range(MANY)]


async def test_none_of_a_thousand_is_lost_over_a_restart_of_the_relay(start: Start, rmb: Any) -> None:
    """The genuine client ends its process when the chain is gone for a moment: that is another node here."""
    relay, client, _ = await start(chain_apart=True)
    answers = [client.ask(30, "calc.add", [1, number], 5) for number in range(MANY)]
    await client.all_sent()
    await relay.server.stop()
    await rmb(clock=time.time, listen=relay.host)
    answers.append(client.ask(30, "calc.add", [1, MANY], 5))  # it connects again when it has something to say
    assert await asyncio.wait_for(asyncio.gather(*answers), PATIENCE) == [1 + number for number in range(MANY + 1)]
