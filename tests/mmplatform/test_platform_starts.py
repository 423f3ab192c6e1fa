"""Starts and stops that meet: whoever waits for the one hears of the other, and nothing stays open."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmplatform import LocalError, NotRunning, Platform
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import backoff
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import World, listen_to


class Gate(Service):
    """Starts when it is told to."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self.running = False

    async def start(self, host: ServiceHost) -> None:
        self.reached.set()
        await self.opened.wait()
        self.running = True

    async def stop(self) -> None:
        self.running = False


class Noted(Service):
    async def start(self, host: ServiceHost) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False


def listening() -> set[int]:
    """The ports where this process listens."""
    return {entry.laddr.port for entry in psutil.Process().net_connections() if entry.status == psutil.CONN_LISTEN}


async def test_a_stop_ends_a_start_and_waits_for_its_end() -> None:
    before, first, gate = listening(), Noted(), Gate()
    node = World("tcp").node(1, services=[first, gate])
    starting = asyncio.create_task(node.start())
    await gate.reached.wait()
    await node.stop()
    assert (node.ready, first.running, gate.running, listening()) == (False, False, False, before)
    with pytest.raises(NotRunning, match="stopped while it started"):
        await starting
    with pytest.raises(LocalError, match="runs once"):
        await node.start()


@pytest.mark.parametrize("turns", range(1, 40, 3))
async def test_a_stop_at_any_turn_of_a_start_leaves_nothing_running(turns: int) -> None:
    before, node = listening(), World("tcp").node(1)
    starting = asyncio.create_task(node.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await node.stop()
    ended = (await asyncio.gather(starting, return_exceptions=True))[0]
    assert not node.ready
    assert isinstance(ended, NotRunning | LocalError | None)
    assert listening() == before


async def test_a_second_start_waits_for_the_first() -> None:
    gate = Gate()
    node = World().node(1, services=[gate])
    starts = [asyncio.create_task(node.start()) for _ in range(2)]
    await gate.reached.wait()
    assert not any(start.done() for start in starts)
    gate.opened.set()
    await asyncio.gather(*starts)
    assert gate.running
    await node.stop()


async def test_a_second_start_hears_why_the_first_failed() -> None:
    class Broken(Service):
        async def start(self, host: ServiceHost) -> None:
            await asyncio.sleep(0)
            raise OSError("no such device")

        async def stop(self) -> None:
            raise AssertionError("it never started")

    node = World().node(1, services=[Broken()])
    ended: list[Any] = await asyncio.gather(node.start(), node.start(), return_exceptions=True)
    assert [str(error) for error in ended] == ["no such device"] * 2


async def test_who_is_cancelled_while_it_starts_a_node_cancels_the_start() -> None:
    gate = Gate()
    node = World().node(1, services=[gate])
    starting = asyncio.create_task(node.start())
    await gate.reached.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not node.ready
    with pytest.raises(LocalError, match="runs once"):
        await node.start()


class Stops(Service):
    """Stops as it is told to."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stop = stop

    async def start(self, host: ServiceHost) -> None: ...

    async def stop(self) -> None:
        await self._stop()


async def leaves() -> None:
    raise asyncio.CancelledError


async def hangs() -> None:
    await asyncio.Event().wait()


async def breaks() -> None:
    raise ValueError("no way")


async def test_a_stop_that_is_cancelled_by_nobody_leaves_nothing_open(tmp_path: Path) -> None:
    before = listening()
    node = World("tcp").node(1, storage=tmp_path, services=[Stops(leaves)])
    told = listen_to(node)
    async with node:
        pass
    assert listening() == before
    assert [entry[2] for entry in told if entry[0] == "error"] == ["Stops.stop ended as if it had been cancelled"]
    async with Platform(tmp_path, connection_info=()):
        """The folder is free."""


async def test_who_does_not_wait_for_a_stop_finds_all_closed_but_what_hangs(tmp_path: Path) -> None:
    before, other = listening(), Noted()
    node = World("tcp").node(1, storage=tmp_path, services=[other, Stops(hangs)])
    await node.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await node.stop()
    assert (other.running, listening()) == (False, before)
    async with Platform(tmp_path, connection_info=()):
        """The folder is free."""


async def test_the_log_names_the_part_that_cannot_stop(caplog: pytest.LogCaptureFixture) -> None:
    async with World().node(1, services=[Stops(breaks)]):
        pass
    assert "no way; it came from Stops.stop" in caplog.text


async def _filled(destinations: int, addresses: int = 0) -> MemoryStorage:
    """A storage with a message for each of many destinations, the first of whom have an address of nobody."""
    storage = MemoryStorage()
    async with World().node(1, storage=storage) as node:
        for number in range(destinations):
            key = Identity.generate()
            if number < addresses:
                node.directory.put(NodeInfo.create(key, ["memory://nobody"], 1, int(time.time()) + 1000), "ticket")
            await node.messaging.send("n", key.sign_id, number)
    return storage


async def test_thousands_for_whom_something_waits_are_dialled_a_few_at_a_time() -> None:
    node = World().node(1, storage=await _filled(400))
    await node.start()
    tried, most = 0, 0
    while tried < 400:
        await asyncio.sleep(0)
        now = sum(bool(peer.reason) for peer in node.peers())
        most, tried = max(most, now - tried), now
    await node.stop()
    assert most <= 100


async def test_a_destination_at_rest_costs_three_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector walks through all objects in one go: with 10,000 destinations, the loop waits for it."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 1000.0)
    node = World().node(1, storage=await _filled(200, addresses=200))
    gc.collect()
    before = len(gc.get_objects())
    await node.start()
    await until(lambda: len(node.peers()) == 200 and all(peer.reason for peer in node.peers()))
    gc.collect()
    each = (len(gc.get_objects()) - before) / 200
    await node.stop()
    assert each < 6  # a record, its entry, and one who is away; and what the node has, shared by all
