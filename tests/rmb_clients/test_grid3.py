"""The unmodified PyPI package grid3 0.3.0: its RmbPeer starts our rmb-peer, its RmbClient asks through Redis."""

import base64
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo as Record
from mm_transports.rmb.twins.file_registry import FileRegistry
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.rmb_world import KEYS, RmbRelay, write_twins
from tests.support.waiting import until

GRID3: Final = Path(sys.prefix) / "grid3" / "grid3" / "rmb.py"
MISSING: Final = "the genuine client in Python is not installed; make test-all installs it"
WORDS: Final = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
PATIENCE: Final = 20

pytestmark = [pytest.mark.slow, needs_redis, pytest.mark.skipif(not GRID3.exists(), reason=MISSING)]


def grid3() -> Any:
    """Return the module as it was published."""
    spec = importlib.util.spec_from_file_location("grid3_rmb", GRID3)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def redis(free_port: Callable[[], int]) -> AsyncIterator[RedisServer]:
    server = RedisServer(port=str(free_port()), bind="127.0.0.1").start()
    await server.started()
    yield server
    server.remove()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a port of TCP: grid3 speaks no other way."""
    import socket

    def find() -> int:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            return int(one.getsockname()[1])

    return find


@pytest.fixture
async def world(rmb: Any, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """``await world(key_type)``: RmbPeer of twin 10 runs, twin 30 answers; returns RmbClient, RmbPeer and the relay."""
    started: list[Any] = []

    async def start(key_type: KeyType = "sr25519") -> tuple[Any, Any, RmbRelay]:
        relay: RmbRelay = await rmb(clock=time.time)
        keys = TwinKeys.from_secret(WORDS, key_type)
        write_twins(relay.twins, Record(10, keys.account, keys.pk), Record(30, KEYS[30].account, KEYS[30].pk))
        await relay.look()
        twin = Twin(KEYS[30], 30, registry=FileRegistry(relay.twins, print), relays=[f"ws://{relay.host}/"])
        twin.on("calc.add")(lambda command, sender, payload: str(sum(json.loads(payload))).encode())

        @twin.on("fail")
        def fail(command: str, sender: Any, payload: Any) -> None:
            raise TwinError(42, "no good")

        await twin.__aenter__()
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        module = grid3()
        peer = module.RmbPeer(
            WORDS, peer_logfile=None, redis_port=int(redis.port), key_type=key_type,
            tfchain_url=f"ws://{relay.host}/chain", relay_url=f"ws://{relay.host}",
        )  # fmt: skip
        started.extend([peer, twin])
        client = module.RmbClient(redis_port=int(redis.port), redis_host="127.0.0.1")
        started.append(client)
        await until(lambda: relay.world.is_here(_box(10)), PATIENCE)
        return client, peer, relay

    yield start
    for one in reversed(started):
        if isinstance(one, Twin):
            await one.__aexit__(None, None, None)
        elif hasattr(one, "peer"):
            one.peer.kill()
            one.peer.wait()
        else:
            one.redis.close()


def _box(number: int) -> bytes:
    from mm_relay.rmb.names import box_of
    from mm_transports.rmb.protocol.address import TwinAddress

    return box_of(TwinAddress(number))


async def received(client: Any, queue: str = "") -> Any:
    import asyncio

    return await asyncio.to_thread(client.receive, PATIENCE, queue)


@pytest.mark.parametrize("key_type", ["sr25519", "ed25519"])
async def test_it_asks_is_answered_and_fails(world: Any, key_type: KeyType) -> None:
    client, _, _ = await world(key_type)
    dat = base64.b64encode(b"[1, 2]").decode()
    client.send("calc.add", 30, dat, ref="one")
    said = await received(client)
    assert (said["ref"], said["src"], said["dat"]) == ("one", "30", "3")
    client.send("fail", 30, ref="two")
    assert (await received(client))["err"] == {"code": 42, "message": "no good"}
    client.send("calc.add", [30, 99], dat, ref="bulk")
    both = [await received(client), await received(client)]
    assert sorted(one.get("err", {}).get("code", 0) for one in both) == [0, 103]


async def test_it_serves_what_others_ask(world: Any) -> None:
    client, _, relay = await world()
    asker = Twin(KEYS[20], 20, registry=FileRegistry(relay.twins, print), relays=[f"ws://{relay.host}/"])
    async with asker:
        import asyncio

        asked = asyncio.create_task(asker.request(10, "farm.status", b"how", 30))
        request = await received(client, "msgbus.farm.status")
        assert (request["src"], request["dat"]) == ("20", "how")
        answer = {"ref": request["ref"], "dst": request["src"], "dat": base64.b64encode(b"well").decode()}
        client.redis.rpush(request["ret"], json.dumps(answer))
        assert await asked == b"well"


async def test_a_thousand_requests_come_back_over_a_kill_of_the_gateway(world: Any) -> None:
    client, peer, _ = await world()
    dat = base64.b64encode(b"[1, 2]").decode()
    for number in range(1000):
        client.send("calc.add", 30, dat, 300, ref=f"{number}")
        if number == 500:
            peer.peer.kill()
            peer.peer.wait()
    again(peer)
    said = [await received(client) for _ in range(1000)]
    assert {one["ref"] for one in said} == {f"{number}" for number in range(1000)}
    assert {one["dat"] for one in said} == {"3"}


def again(peer: Any) -> None:
    """Start the gateway that was killed."""
    peer.peer = subprocess.Popen(peer.peer.args)


async def test_round_trips_take_milliseconds(world: Any) -> None:
    """The figure is in the notes of the release; here that it is no polling, as of those who wait a second."""
    client, _, _ = await world()
    dat = base64.b64encode(b"[1, 2]").decode()
    times = []
    for _ in range(50):
        began = time.perf_counter()
        client.send("calc.add", 30, dat)
        await received(client)
        times.append(time.perf_counter() - began)
    times.sort()
    print(f"grid3 round trip p50 {1000 * times[25]:.1f} ms, p90 {1000 * times[45]:.1f} ms")
    assert times[25] < 1.0
