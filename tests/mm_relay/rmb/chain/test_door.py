"""The face of a chain on the port of a relay."""

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mm_relay.rmb.chain.door import TOLD
from mm_relay.rmb.chain.face import MAX_TEXT
from mm_relay.rmb.chain.metadata import METADATA
from mm_relay.rmb.chain.refused import PARSE_ERROR
from mm_transports.relay.websocket import HIGH_WATER
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.toml_file import read_twins
from tests.support.rmb_extrinsics import call_of, extrinsic_of
from tests.support.rmb_world import KEYS, PATIENCE, narrow
from tests.support.waiting import stays, until


async def ask(socket: ClientConnection, method: str, *params: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
    said: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
    assert said["id"] == method
    return said


@pytest.mark.parametrize("path", ["/chain", "/chain/"])
async def test_a_twin_changes_itself_and_the_relay_knows(rmb: Any, path: str) -> None:
    relay = await rmb()
    async with connect(f"ws://{relay.host}{path}") as socket:
        first = bytes.fromhex((await ask(socket, "chain_getBlockHash", 0))["result"][2:])
        nonce = (await ask(socket, "system_accountNextIndex", "me"))["result"]
        extrinsic = extrinsic_of(KEYS[20], nonce, call_of(b"elsewhere.example", KEYS[20].pk), first)
        assert "result" in await ask(socket, "author_submitExtrinsic", f"0x{extrinsic.hex()}")
        assert read_twins(relay.twins.read_bytes())[20].relays == ("elsewhere.example",)
        assert relay.world._routes.known(20).relays == ("elsewhere.example",)
        assert "Stale" in (await ask(socket, "author_submitExtrinsic", f"0x{extrinsic.hex()}"))["error"]["message"]


async def test_a_change_for_one_relay_changes_nothing_at_another(rmb: Any) -> None:
    one, other = await rmb("one"), await rmb("other")
    async with connect(f"ws://{one.host}/chain") as socket:
        first = bytes.fromhex((await ask(socket, "chain_getBlockHash", 0))["result"][2:])
        nonce = (await ask(socket, "system_accountNextIndex", "me"))["result"]
    extrinsic = extrinsic_of(KEYS[20], nonce, call_of(b"elsewhere.example", None), first)
    async with connect(f"ws://{other.host}/chain") as socket:
        said = await ask(socket, "author_submitExtrinsic", f"0x{extrinsic.hex()}")
    assert "BadProof" in said["error"]["message"]
    assert read_twins(other.twins.read_bytes())[20] == TwinInfo(20, KEYS[20].account, KEYS[20].pk)


async def test_many_calls_at_once_are_answered_in_order(rmb: Any) -> None:
    relay = await rmb()
    async with connect(f"ws://{relay.host}/chain") as socket:
        for number in range(200):
            await socket.send(json.dumps({"id": number, "method": "system_chain"}))
        said = [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["id"] for _ in range(200)]
    assert said == list(range(200))


async def test_an_answer_waits_for_a_turn_that_has_time(rmb: Any) -> None:
    """Thirty changes in a row, of a millisecond each, were looked at in one turn of the loop."""
    relay = await rmb()
    async with connect(f"ws://{relay.host}/chain") as socket:
        await ask(socket, "system_chain")
        [door] = relay.server.connections.doors
        turns, looks, rests = door.host.turns, list[bool](), 0
        rest = turns.rest

        def has_time() -> bool:
            looks.append(len(looks) % 2 == 1)
            return looks[-1]

        def counted(step: Any) -> None:
            nonlocal rests
            rests += 1
            rest(step)

        turns.has_time, turns.rest = has_time, counted
        for number in range(8):
            await socket.send(json.dumps({"id": number, "method": "system_chain"}))
        said = [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["id"] for _ in range(8)]
        del turns.has_time, turns.rest
    assert said == [*range(8)]
    assert rests >= 8


async def test_who_reads_no_answers_is_not_read_and_misses_none(rmb: Any) -> None:
    """Each call of 60 bytes left 12 KB in the memory of the relay, as fast as calls came."""
    relay = await rmb(rate_items=0, rate_address_items=0)
    async with connect(f"ws://{relay.host}/chain", sock=narrow(relay.host)) as socket:
        [door] = relay.server.connections.doors
        told(door, 0)

        async def ask() -> None:
            for number in range(200):
                await socket.send(json.dumps({"id": number, "method": "state_getMetadata"}))

        asking = asyncio.create_task(ask())
        await until(lambda: door.holding and not door._answering)
        assert door.socket.buffered < 2 * HIGH_WATER
        assert [json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["id"] for _ in range(200)] == [*range(200)]
        await asking


def told(door: Any, rate: float) -> None:
    """Let all at one address be told so many bytes a second."""
    door._told._rate = rate


async def test_all_at_one_address_are_told_so_much_and_no_more(rmb: Any) -> None:
    """Of the description of the chain a stranger was sent a hundred bytes for each of its own, 40 MB a second."""
    relay = await rmb()
    length = len(METADATA) * 2
    call = json.dumps({"id": 1, "method": "state_getMetadata"})
    async with connect(f"ws://{relay.host}/chain") as one, connect(f"ws://{relay.host}/chain") as other:
        begun = time.monotonic()
        for _ in range(8):
            await one.send(call)
            await other.send(call)
        heard = [len(await asyncio.wait_for(one.recv(), PATIENCE)) for _ in range(2)]
        assert min(heard) > length
        before = relay.server.metrics.bytes_out
        assert before <= TOLD * (1 + time.monotonic() - begun) + 2 * length
        await stays(lambda: relay.server.metrics.bytes_out <= before + 2 * TOLD, 1.0)


async def test_texts_that_are_none_are_errors_and_other_messages_end_the_connection(rmb: Any) -> None:
    relay = await rmb()
    async with connect(f"ws://{relay.host}/chain") as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["error"]["code"] == PARSE_ERROR
        await socket.send(b"binary")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)
    async with connect(f"ws://{relay.host}/chain") as socket:
        await socket.send("x" * (4 * MAX_TEXT + 1))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)
