"""Bad days of a Redis that is gone for a while, under two processes of a relay: what live messages and mail wait for.

Alice is at one process and Bob at the other, and she writes to him 20 times a second; Carol is away, and is written to
as well. The gap is the longest time between two messages that Bob gets. The short days are of three seconds.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from mmplatform import Platform
from tests.bad_days.inbox import Heard
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.bad_days.wires import Way
from tests.support.redis_server import RedisServer
from tests.support.waiting import pace

SHORT, LONG = 3.0, 30.0  # seconds of an outage
GAP = 2.0  # seconds more than the outage that live messages may wait
EVERY = 0.05  # seconds between two messages
READY_WITHIN = 15.0

Step = Callable[["Outage"], Awaitable[None]]


class Outage:
    """The people of a day, the two processes, their Redis, and the slow or cut way to it."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.sent, self.over = scene, 0, False
        self.redis: RedisServer
        self.way: Way
        self.relays: list[RelayProcess] = []
        self.alice: Platform
        self.carol: str
        self.heard: Heard

    async def begin(self) -> None:
        scene = self.scene
        self.redis = await scene.redis(port=str(free_port()))
        self.way = await Way(lambda: int(self.redis.port)).open()
        scene.stack.push_async_callback(self.way.close)
        store = f"redis://127.0.0.1:{self.way.port}/0"
        self.relays = [await scene.relay("--store", store, "-v")]
        shared(self.relays[0].folder, scene.folder / "relay2")
        self.relays.append(await scene.relay("--store", store, "-v"))
        bob, carol = await scene.node("bob", self.relays[1]), await scene.node("carol", self.relays[1])
        self.alice = await scene.node("alice", self.relays[0])
        for friend in (bob, carol):
            await scene.friends(self.alice, friend)
        self.heard, self.bob, self.carol = scene.heard(bob), bob.sign_id, carol.sign_id
        self.mailed = scene.heard(carol)
        await self.write()
        await scene.within(5, lambda: not (self.heard.lost(1) or self.mailed.lost(1)), "nothing comes before it")
        await carol.stop()

    async def write(self) -> None:
        self.sent += 1
        for friend in (self.bob, self.carol):
            await self.alice.messaging.send("chat", friend, self.sent)

    async def write_on(self) -> None:
        while not self.over:
            await self.write()
            await pace(EVERY)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write all the while. The last number is written to both: it is not cancelled between them."""
        task = asyncio.create_task(self.write_on())
        try:
            yield
        finally:
            self.over = True
            await asyncio.gather(task, return_exceptions=True)
        await task

    async def ready(self) -> bool:
        states = [await relay.health() for relay in self.relays]
        return all(state.startswith("200") for state in states)


def free_port() -> int:
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def shared(one: Path, other: Path) -> None:
    """Give two processes one key."""
    other.mkdir(mode=0o700)
    shutil.copy(one / "identity", other / "identity")


async def outage(scene: Scene, seconds: float, begin: Step, end: Step, *, down: bool = True) -> None:
    """Write before, during and after; see that nothing is lost, and that nobody waits longer than need be."""
    day = Outage(scene)
    await day.begin()
    async with day.writing():
        await scene.rest(1)
        await begin(day)
        await scene.rest(seconds)
        said = [await relay.health() for relay in day.relays]
        await end(day)
        if down and seconds >= LONG:
            scene.holds(not any(state.startswith("200") for state in said), f"healthz says ready: {said}")
        took = await scene.within(READY_WITHIN, day.ready, "a process is not ready again")
        await scene.rest(GAP)
    last = day.sent
    await scene.within(10, lambda: not day.heard.lost(last), lambda: f"Bob lost {day.heard.lost(last)} of {last}")
    scene.tell(f"longest gap {day.heard.gap:.1f} s, ready again in {took:.1f} s, {last} messages")
    scene.holds(day.heard.gap <= seconds + GAP, f"a gap of {day.heard.gap:.1f} s")
    carol = await scene.node("carol", day.relays[1])
    day.mailed.again(carol)
    lost = day.mailed.lost
    await scene.within(15, lambda: not lost(last), lambda: f"Carol lost {lost(last)} of {last}", named="all mail in")
    repeated = day.heard.repeated + day.mailed.repeated
    scene.holds(not repeated, f"{repeated} came twice")


async def pause(day: Outage) -> None:
    day.redis.pause()


async def resume(day: Outage) -> None:
    day.redis.resume()


async def kill(day: Outage) -> None:
    day.redis.kill()


async def start(day: Outage) -> None:
    day.redis.start()


async def kill_and_lose(day: Outage) -> None:
    day.redis.kill()
    for path in day.redis.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def fill(day: Outage) -> None:
    await day.redis.command("CONFIG", "SET", "maxmemory", "1mb")


async def empty(day: Outage) -> None:
    await day.redis.command("CONFIG", "SET", "maxmemory", "0")


async def demote(day: Outage) -> None:
    await day.redis.command("REPLICAOF", "127.0.0.1", "1")


async def promote(day: Outage) -> None:
    await day.redis.command("REPLICAOF", "NO", "ONE")


async def cut(day: Outage) -> None:
    day.way.cut()


async def heal(day: Outage) -> None:
    day.way.heal()


async def slow(day: Outage) -> None:
    day.way.delay = 0.1  # each way


async def swift(day: Outage) -> None:
    day.way.delay = 0.0


@bad_day()
async def redis_paused(scene: Scene) -> None:
    """Redis answers nobody for 3 s."""
    await outage(scene, SHORT, pause, resume)


@bad_day(quick=False, most=120)
async def redis_paused_30_s(scene: Scene) -> None:
    """Redis answers nobody for 30 s."""
    await outage(scene, LONG, pause, resume)


@bad_day()
async def redis_killed(scene: Scene) -> None:
    """Redis is killed and comes back with its file after 3 s."""
    await outage(scene, SHORT, kill, start)


@bad_day(quick=False, most=120)
async def redis_killed_30_s(scene: Scene) -> None:
    """Redis is killed and comes back with its file after 30 s."""
    await outage(scene, LONG, kill, start)


@bad_day()
async def redis_killed_with_its_file(scene: Scene) -> None:
    """Redis is killed, loses its file, and comes back empty after 3 s; the sender lives."""
    await outage(scene, SHORT, kill_and_lose, start)


@bad_day(quick=False, most=120)
async def redis_killed_with_its_file_30_s(scene: Scene) -> None:
    """Redis is killed, loses its file, and comes back empty after 30 s; the sender lives."""
    await outage(scene, LONG, kill_and_lose, start)


@bad_day()
async def redis_without_memory(scene: Scene) -> None:
    """Redis has no memory for anything new for 3 s."""
    await outage(scene, SHORT, fill, empty)


@bad_day(quick=False, most=120)
async def redis_without_memory_30_s(scene: Scene) -> None:
    """Redis has no memory for anything new for 30 s."""
    await outage(scene, LONG, fill, empty)


@bad_day()
async def redis_read_only(scene: Scene) -> None:
    """Redis is a read-only replica for 3 s."""
    await outage(scene, SHORT, demote, promote)


@bad_day(quick=False, most=120)
async def redis_read_only_30_s(scene: Scene) -> None:
    """Redis is a read-only replica for 30 s."""
    await outage(scene, LONG, demote, promote)


@bad_day()
async def redis_cut(scene: Scene) -> None:
    """Nothing leads to Redis for 3 s."""
    await outage(scene, SHORT, cut, heal)


@bad_day(quick=False, most=120)
async def redis_cut_30_s(scene: Scene) -> None:
    """Nothing leads to Redis for 30 s."""
    await outage(scene, LONG, cut, heal)


@bad_day()
async def redis_far_away(scene: Scene) -> None:
    """Redis is 200 ms away for 3 s."""
    await outage(scene, SHORT, slow, swift, down=False)


@bad_day(quick=False, most=120)
async def redis_far_away_30_s(scene: Scene) -> None:
    """Redis is 200 ms away for 30 s."""
    await outage(scene, LONG, slow, swift, down=False)
