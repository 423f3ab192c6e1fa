"""What waits does not expire by a clock that is wrong for a moment after a start."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmplatform.durable import expiry_clock as module
from mmplatform.durable.expiry_clock import DAY, ROW, ExpiryClock
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until


class Wall:
    """The clock of the host."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
async def storage() -> MemoryStorage:
    storage = MemoryStorage()
    await storage.open()
    return storage


async def run(storage: MemoryStorage) -> ExpiryClock:
    clock = ExpiryClock(time.time, lambda error: None)
    await clock.open(storage)
    return clock


async def test_it_is_that_of_the_host_at_the_first_start_and_after_a_day(wall: Wall, storage: MemoryStorage) -> None:
    for hours in (0, 23):
        wall.now += hours * 3600
        clock = await run(storage)
        assert clock() == wall.now
        clock.close()


@pytest.mark.parametrize("days", [2, 40, 26_000])
async def test_after_a_leap_it_stands_where_the_last_run_ended_for_a_minute(
    days: int, wall: Wall, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (await run(storage)).close()
    before = wall.now
    wall.now += days * DAY
    clock = await run(storage)
    assert clock() == before
    clock.close()
    assert await storage.get(ROW) == int(before * 1000).to_bytes(8)  # a clock in doubt is not noted
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    clock, looked = await run(storage), []
    clock.passed = lambda: looked.append(clock())
    await until(lambda: looked == [wall.now])  # it was right: the node was off
    clock.close()
    assert await storage.get(ROW) == int(wall.now * 1000).to_bytes(8)


async def test_a_clock_that_is_set_right_within_the_minute_ends_nothing(wall: Wall, storage: MemoryStorage) -> None:
    (await run(storage)).close()
    right = wall.now
    wall.now = right + 26_000 * DAY
    clock = await run(storage)
    wall.now = right + 1
    assert clock() <= right + 1
    clock._note()
    assert clock() == right + 1
    clock.close()


async def test_a_clock_of_the_application_is_taken_as_it_is(storage: MemoryStorage) -> None:
    given = Wall()
    for days in (0, 40):
        given.now += days * DAY
        clock = ExpiryClock(given, lambda error: None)
        await clock.open(storage)
        assert clock() == given.now
        clock.close()


PROGRAM = """
import asyncio, sys, time
real, off = time.time, [0.0]
time.time = lambda: real() + off[0]
from mmplatform import Platform

def node(name):
    return Platform(sys.argv[1] + name, connection_info=["tcp://127.0.0.1:0"], transports=["tcp"])

async def main():
    heard = []
    async with node("b") as bob:
        ticket = bob.ticket()
        kept = bob.sign_id
    async with node("a") as alice:
        peer = await alice.add(ticket, name="bob", circle="friends")
        waiting = [(await alice.messaging.send("n", peer, n)).id for n in range(3)]
        async with node("b") as bob:
            await bob.add(alice.ticket(), circle="friends")
            await (await alice.messaging.send("later", peer, 7)).received()  # nobody listens: it is kept
            waiting.append((await alice.messaging.send("n", peer, 3)).id)
    off[0] = float(sys.argv[2]) * 86400
    async with node("a") as alice, node("b") as bob:
        alice.parts.outbox.expiry.look()
        bob.parts.inbox._due()
        off[0] = 0.0  # set right
        bob.messaging.on("friends.>", lambda topic, sender, payload: heard.append(payload))
        await alice.add(bob.ticket())
        await asyncio.wait_for(alice.flush(), 20)
        async with asyncio.timeout(20):
            while len(heard) < 5:
                await asyncio.sleep(0.01)
        print(sorted(heard))

asyncio.run(main())
"""


@pytest.mark.parametrize("days", ["40", "26000"])
def test_a_node_that_boots_in_the_future_loses_nothing(days: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path) + "/", days]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0, 1, 2, 3, 7]\n", done.stderr
