"""Relays that die while others live: see :mod:`tests.chaos.failover`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mm_transports.relay.protocol.address import format_relay
from tests.chaos.failover import Failover
from tests.support.running_relays import echo, friends, node, relay
from tests.support.waiting import until
from tests.support.world import collect, identity


@pytest.mark.slow
async def test_the_relay_that_carries_is_killed(tmp_path: Path) -> None:
    verdict, gap, _ = await Failover(tmp_path).run(1.0)
    assert (verdict.lost, verdict.out_of_order, verdict.repeated, verdict.repeated_at_kill) == (0, 0, 0, 0)
    assert verdict.sent > 1000
    assert gap < 10, "seconds"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def dead() -> Iterator[list[str]]:
    """Two relays: nothing listens where the one should be, the other one's host takes no packet."""
    with socket.socket() as refuses, socket.socket() as silent:
        refuses.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        ports = [refuses.getsockname()[1], silent.getsockname()[1]]
        yield [format_relay(f"ws://127.0.0.1:{port}/", identity(100 + port % 100).sign_id) for port in ports]
        for one in crowd:
            one.close()


@pytest.mark.slow
async def test_nobody_waits_for_a_dead_third_relay(stack: AsyncExitStack, tmp_path: Path, dead: list[str]) -> None:
    """Alice writes to peers whose relays are dead, live and by mail; to Bob, who is here, and Carol, who is away,
    everything goes as if there were no others."""
    homes = [await relay(stack, tmp_path / name) for name in ("one", "two")]
    alice, bob = await node(stack, 1, *homes), await node(stack, 2, *homes)
    carol = await node(stack, 3, homes[1])
    lost = [await node(stack, 10 + number, relays=[address]) for number, address in enumerate(dead * 3)]
    await friends(alice, bob, carol, *lost)
    for one in (carol, *lost):
        await one.stop()
    bob.messaging.on("friends.echo", echo)
    got = collect(bob, "friends.chat")
    unheard = [await alice.messaging.send("chat", one.sign_id, number) for one in lost for number in range(50)]
    for one in lost:
        await alice.messaging.send("chat", one.sign_id, "now or never", realtime=True)
    async with asyncio.timeout(8):  # less than a dead relay takes to be found so
        here = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(1000)]
        mailed = [await alice.messaging.send("chat", carol.sign_id, number) for number in range(1000)]
        await asyncio.gather(*here)
        for number in range(50):
            assert await alice.messaging.request("echo", bob.sign_id, number) == number
        await until(lambda: all(delivery.state == "relayed" for delivery in mailed))
    assert got == list(range(1000))
    await until(lambda: {delivery.state for delivery in unheard} == {"relayed"}, 30)
