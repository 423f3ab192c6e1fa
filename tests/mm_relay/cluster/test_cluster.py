"""Processes of one relay: presence, take-over, order, death of a process, Redis that goes away. With a real Redis."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mm_relay.cluster.cluster import RedisCluster, chunks
from mm_transports.relay.protocol.items import (
    MAX_FRAME,
    MAX_ITEMS,
    MAX_MAIL,
    MAX_MESSAGE,
    Closed,
    Data,
    Deposit,
    Forwarded,
    Open,
    Pause,
)
from mm_transports.relay.protocol.wire import encode_items
from mmplatform.errors import StorageError
from tests.support.redis_server import RedisServer
from tests.support.waiting import stays, until

prefixes = itertools.count(1)
ALICE, BOB, CAROL = (name * 32 for name in (b"a", b"b", b"c"))


class Process:
    """One process of the cluster, and what it was told."""

    def __init__(self, url: str, prefix: str, name: str, ttl: float = 15.0) -> None:
        self.drops: list[tuple[str, int]] = []
        self.cluster = RedisCluster(
            url, prefix, name, ttl=ttl, dropped=lambda reason, count: self.drops.append((reason, count))
        )
        self.came: list[tuple[str, Forwarded]] = []
        self.displaced: list[bytes] = []
        self.name = self.cluster.process

    def forwarded(self, process: str, item: Forwarded) -> None:
        self.came.append((process, item))

    @property
    def links(self) -> list[int]:
        return [item.inner.link for _, item in self.came if isinstance(item.inner, Data)]

    async def open(self) -> None:
        await self.cluster.open(self.forwarded, self.displaced.append)


@asynccontextmanager
async def running(redis: RedisServer, *names: str, ttl: float = 15.0) -> AsyncIterator[list[Process]]:
    await redis.started()
    prefix = f"fleet-{next(prefixes)}"
    processes = [Process(redis.url, prefix, name, ttl) for name in names]
    for process in processes:
        await process.open()
    try:
        yield processes
    finally:
        for process in processes:
            await process.cluster.close()


async def located(process: Process, key: bytes, where: str, timeout: float = 10) -> None:
    async def found() -> bool:
        return await process.cluster.locate(key) == where

    await until(found, timeout)


def data(link: int, size: int = 1) -> Forwarded:
    return Forwarded(ALICE, BOB, Data(BOB, link, bytes(size)))


async def test_who_is_where(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two") as [one, two]:
        assert await two.cluster.locate(ALICE) == ""
        one.cluster.here(ALICE)
        assert await one.cluster.locate(ALICE) == ""
        await located(two, ALICE, one.name)
        one.cluster.gone(ALICE)
        await located(two, ALICE, "")
        one.cluster.here(ALICE)
        one.cluster.gone(ALICE)
        one.cluster.gone(BOB)
        one.cluster.here(CAROL)
        await located(two, CAROL, one.name)
        await located(two, ALICE, "")


async def test_closing_takes_presence_back(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two") as [one, two]:
        one.cluster.here(ALICE)
        await located(two, ALICE, one.name)
        await one.cluster.close()
        assert await two.cluster.locate(ALICE) == ""


async def test_the_newest_wins(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two", "three") as [one, two, three]:
        one.cluster.here(ALICE)
        await located(three, ALICE, one.name)
        two.cluster.here(ALICE)
        await until(lambda: one.displaced == [ALICE])
        one.cluster.gone(ALICE)  # the old session ends, and takes nothing away
        await located(three, ALICE, two.name)
        one.cluster.here(ALICE)
        await until(lambda: two.displaced == [ALICE])
        await located(three, ALICE, one.name)
        one.cluster.here(ALICE)  # again at the same process
        await located(three, ALICE, one.name)
        assert (one.displaced, two.displaced) == ([ALICE], [ALICE])


async def test_many_take_overs_at_once_leave_one(shared_redis: RedisServer) -> None:
    names = [f"p{number}" for number in range(5)]
    async with running(shared_redis, *names, "watcher") as [*processes, watcher]:
        for _ in range(4):
            for process in processes:
                process.cluster.here(ALICE)
        await until(lambda: sum(ALICE in process.cluster._present for process in processes) == 1)
        [holder] = [process for process in processes if ALICE in process.cluster._present]
        await located(watcher, ALICE, holder.name)
        assert all(process.displaced == [ALICE] for process in processes if process is not holder)


async def test_items_in_order_and_to_whom_they_are_for(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two", "three") as [one, two, three]:
        for number in range(3000):
            one.cluster.send(two.name, data(number))
            if number % 500 == 0:
                one.cluster.publish(data(number + 100_000))
            if number % 700 == 0:
                await asyncio.sleep(0)
        expected = [
            link for number in range(3000) for link in ([number, number + 100_000] if number % 500 == 0 else [number])
        ]
        await until(lambda: len(two.came) == len(expected))
        assert two.links == expected
        await until(lambda: len(three.came) == 6)
        assert one.came == []
        assert {process for process, _ in two.came + three.came} == {one.name}
        assert two.came[0][1] == data(0)


async def test_the_largest_items(shared_redis: RedisServer) -> None:
    letter = Forwarded(ALICE, BOB, Deposit(BOB, bytes(16), 1, bytes(MAX_MAIL)))
    async with running(shared_redis, "one", "two") as [one, two]:
        for number in range(20):
            one.cluster.send(two.name, data(number, MAX_FRAME))
        one.cluster.send(two.name, letter)
        await until(lambda: len(two.came) == 21)
        assert two.came[-1] == (one.name, letter)


def test_chunks_fit_into_messages() -> None:
    letter = Forwarded(ALICE, BOB, Deposit(BOB, bytes(16), 2**50, bytes(MAX_MAIL), "x" * 256))
    mixed = [data(1, MAX_FRAME), letter, letter, data(2, MAX_FRAME), data(3, MAX_FRAME), data(4, MAX_FRAME), letter]
    parts = list(chunks(mixed))
    assert [item for part in parts for item in part] == mixed
    assert all(len(encode_items(list(part))) < MAX_MESSAGE for part in parts)
    assert all(len(part) <= MAX_ITEMS for part in chunks([data(1)] * (MAX_ITEMS + 1)))
    assert list(chunks([])) == []


async def test_what_is_sent_to_nobody_comes_back_as_shut(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one") as [one]:
        one.cluster.send("two", Forwarded(ALICE, BOB, Open(BOB, 7, b"hello")))
        one.cluster.send("two", data(7))
        one.cluster.send("two", Forwarded(ALICE, BOB, Pause(BOB)))
        await until(lambda: one.came)
        assert one.came == [("two", Forwarded(BOB, ALICE, Closed(BOB, 7, "gone")))]
        assert one.drops == [("gone", 3)]
        one.cluster.publish(data(1))  # nobody else is there, and nobody is told


async def test_what_is_no_message_is_dropped(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two") as [one, two]:
        for message in (b"", b"\n", b"x\nnothing", b"x\n\x90\x00"):
            two.cluster._calls.call("PUBLISH", f"{one.cluster._prefix}:all", message)
        two.cluster.publish(data(1))
        await until(lambda: one.links == [1])
        assert one.drops == [("bad-item", 1)] * 4


async def test_a_lease_is_held_by_one(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two") as [one, two]:
        assert await one.cluster.lease(ALICE, 60)
        assert not await two.cluster.lease(ALICE, 60)
        assert await one.cluster.lease(ALICE, 0.01)
        await until(lambda: two.cluster.lease(ALICE, 60))
        assert await two.cluster.lease(BOB, 60)


PROCESS = """
import asyncio, sys
from mm_relay.cluster.cluster import RedisCluster
async def main():
    cluster = RedisCluster(sys.argv[1], sys.argv[2], "victim", ttl=float(sys.argv[3]))
    await cluster.open(lambda process, item: None, lambda key: None)
    cluster.here(b"b" * 32)
    await asyncio.sleep(0)
    await cluster._calls.call("PING")
    print(cluster.process, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def start_victim(prefix: str, url: str, ttl: float) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
        [sys.executable, "-c", PROCESS, url, prefix, str(ttl)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    name = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)
    return process, name.strip()


async def test_a_killed_process_is_noticed_at_once_and_forgotten_after_its_ttl(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one") as [one]:
        victim, name = await start_victim(one.cluster._prefix, shared_redis.url, 1.5)
        try:
            await located(one, BOB, name)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            await located(one, BOB, "", timeout=1)
            one.cluster.send(name, data(5))
            await until(lambda: one.drops == [("gone", 1)])
            assert one.came == [(name, Forwarded(BOB, ALICE, Closed(BOB, 5, "gone")))]

            async def forgotten() -> bool:
                return not await one.cluster._calls.call("EXISTS", f"{one.cluster._prefix}:here:".encode() + BOB)

            await until(forgotten)
        finally:
            victim.kill()
            victim.wait()


async def test_presence_is_kept_fresh(shared_redis: RedisServer) -> None:
    async with running(shared_redis, "one", "two", ttl=0.3) as [one, two]:
        one.cluster.here(ALICE)
        await located(two, ALICE, one.name)

        async def fresh() -> bool:
            return await two.cluster.locate(ALICE) == one.name

        await stays(fresh, 1.0)


async def test_redis_that_goes_away_and_forgets(own_redis: RedisServer) -> None:
    async with running(own_redis, "one", "two", "three") as [one, two, three]:
        one.cluster.here(ALICE)
        two.cluster.here(CAROL)
        await located(three, ALICE, one.name)
        await located(three, CAROL, two.name)
        own_redis.kill()
        for path in own_redis.folder.glob("appendonlydir/*"):
            path.unlink()
        one.cluster.send(two.name, data(3))
        await until(lambda: one.drops == [("fleet", 1)])
        assert [item for _, item in one.came] == [Forwarded(BOB, ALICE, Closed(BOB, 3, "gone"))]
        assert await one.cluster.locate(CAROL) == ""
        assert not await one.cluster.lease(ALICE, 60)
        one.cluster.here(BOB)  # signs in while Redis is away
        two.cluster.gone(CAROL)
        two.cluster.here(ALICE)  # and leaves the first for the second
        own_redis.start()
        await own_redis.started()
        await located(three, BOB, one.name)
        await located(three, ALICE, two.name)
        await until(lambda: one.displaced == [ALICE])
        assert await three.cluster.locate(CAROL) == ""
        one.cluster.send(two.name, data(4))
        await until(lambda: two.links == [4])


async def test_redis_that_stands_still_is_survived(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(own_redis, "one", "two", ttl=0.6) as [one, two]:
        for process in (one, two):
            monkeypatch.setattr(process.cluster._calls, "_within", 0.2)
        one.cluster.here(ALICE)
        await located(two, ALICE, one.name)
        own_redis.pause()
        one.cluster.send(two.name, data(3))
        await until(lambda: ("fleet", 1) in one.drops)
        own_redis.resume()
        await located(two, ALICE, one.name)
        await until(lambda: sent(one, two))


def sent(one: Process, two: Process) -> bool:
    one.cluster.send(two.name, data(9))
    return 9 in two.links


async def test_who_listens_too_slowly_is_cut_off_and_comes_back(own_redis: RedisServer) -> None:
    """Redis gives up on a listener behind which 32 MiB wait (client-output-buffer-limit)."""
    async with running(own_redis, "one", "two") as [one, two]:
        await own_redis.command("CONFIG", "SET", "client-output-buffer-limit", '"pubsub 1mb 1mb 1"')
        one.cluster.here(ALICE)
        for number in range(100):
            one.cluster.send(two.name, data(number, MAX_FRAME))
        await until(lambda: sent(one, two))
        assert two.links[:-1] != list(range(100))
        await located(two, ALICE, one.name)


async def test_a_process_says_so_when_it_hears_the_others_again(own_redis: RedisServer) -> None:
    async with running(own_redis, "one", "two") as [one, two]:
        one.cluster.here(ALICE)
        await located(two, ALICE, one.name)
        backs: list[float] = []
        two.cluster.on_back(lambda: backs.append(asyncio.get_running_loop().time()))
        own_redis.kill()
        own_redis.start()
        await own_redis.started()
        begun = asyncio.get_running_loop().time()
        await until(lambda: backs)
        assert backs[0] - begun < 1.5  # nobody waits for pauses that double up to 2 s
        await located(two, ALICE, one.name, 2)


async def test_opening_without_redis_says_so() -> None:
    process = Process("unix:///nowhere/at/all", "x", "one")
    with pytest.raises(StorageError, match="start it"):
        await process.open()
    with pytest.raises(StorageError, match="not open"):
        await process.cluster._calls.call("PING")


@pytest.mark.parametrize("size", [1, 3000])
async def test_many_presences(shared_redis: RedisServer, size: int) -> None:
    keys = [number.to_bytes(32) for number in range(size)]
    async with running(shared_redis, "one", "two", ttl=2) as [one, two]:
        for key in keys:
            one.cluster.here(key)
        await located(two, keys[-1], one.name)
        await one.cluster._refresh()
        assert await two.cluster.locate(keys[0]) == one.name
        for key in keys:
            one.cluster.gone(key)
        await located(two, keys[-1], "")
        assert await two.cluster.locate(keys[0]) == ""


async def test_a_process_knows_whether_redis_answers_and_whether_others_are_there(own_redis: RedisServer) -> None:
    async with running(own_redis, "one", "two") as [one, two]:
        await until(one.cluster.answered)
        assert one.cluster.others
        await two.cluster.close()
        await until(lambda: one.cluster.answered() and not one.cluster.others)
        own_redis.pause()
        await until(lambda: not one.cluster.answered())
        await stays(lambda: not one.cluster.answered(), 0.1)
        own_redis.resume()
        await until(one.cluster.answered)
