"""What 100,000 messages of one friend cost that wait for a handler: ``python -m benchmarks.inbox`` (QUICK=1: a fifth).

Three processes: a receiver, which holds the messages as nobody has subscribed, their sender, and another friend, who
asks the receiver one request after the other. Printed: the memory of the receiver with the messages at rest, the time
its start takes, how fast they are handed over once there is a handler, and the round trips of the other friend
meanwhile, beside those of the same run without messages.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import psutil  # type: ignore[import-untyped]

from mm_transports.tcp import TCP
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from tests.support.exit_codes import exit_with

COUNT: Final = 20_000 if os.environ.get("QUICK") else 100_000
PAYLOAD: Final = bytes(100)
TOGETHER: Final = 500  # messages accepted side by side
SLOW_DISK: Final = 120.0  # seconds for anything to end
ROUNDS: Final = 1 if os.environ.get("QUICK") else 3
AT_REST: Final = 1.0  # seconds before memory is measured
IDENTITIES: Final = {role: Identity.from_seed(role.encode().ljust(32)) for role in ("receiver", "sender", "friend")}
FRIENDS: Final = [identity.sign_id for identity in IDENTITIES.values()]


def node(role: str, folder: Path) -> Platform:
    friends = [one for one in FRIENDS if one != IDENTITIES[role].sign_id]
    return Platform(
        folder / role, identity=IDENTITIES[role], friends=friends, connection_info=["tcp://127.0.0.1:0"],
        transports=[TCP()],
    )  # fmt: skip


def say(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


async def heard() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


async def receive(folder: Path) -> None:
    """Subscribe at a line on the standard input, which says how many messages there are; say when all are handled."""
    platform = node("receiver", folder)
    platform.messaging.on("friends.echo", lambda topic, sender, payload: payload)
    began = time.perf_counter()
    async with platform:
        say("ready", ticket=platform.ticket(), seconds=time.perf_counter() - began, held=platform.inbox.waiting)
        count = int(await heard() or 0)
        if count:
            say("drained", seconds=await drain(platform, count))
            await heard()


async def drain(platform: Platform, count: int) -> float:
    """Subscribe; return the seconds until ``count`` messages are handled."""
    drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handled = 0

    def take(topic: str, sender: str, payload: object) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            drained.set_result(None)

    began = time.perf_counter()
    platform.messaging.on("friends.load", take)
    await drained
    return time.perf_counter() - began


async def send(folder: Path) -> None:
    """Send as many messages as a line on the standard input asks for; say ``received`` when all are on the disk."""
    async with node("sender", folder) as platform:
        peer = await platform.add((folder / "ticket").read_text())
        await platform.connect(peer)
        say("ready")
        while count := int(await heard() or 0):
            began = time.perf_counter()
            for _ in range(count // TOGETHER):
                sends = [platform.messaging.send("load", peer, PAYLOAD) for _ in range(TOGETHER)]
                await asyncio.gather(*sends)
            await platform.flush(peer, timeout=SLOW_DISK)
            say("received", seconds=time.perf_counter() - began)


async def ask(folder: Path) -> None:
    """Ask from one line on the standard input to the next; say how long each request took."""
    async with node("friend", folder) as platform:
        peer = await platform.add((folder / "ticket").read_text())
        await platform.connect(peer)
        say("ready")
        while await heard():
            end, times = asyncio.create_task(heard()), list[float]()
            while not end.done():
                began = time.perf_counter()
                await platform.messaging.request("echo", peer, PAYLOAD)
                times.append(time.perf_counter() - began)
            p50, p99 = percentiles(times)
            say("asked", count=len(times), p50=p50, p99=p99, longest=max(times))


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    found = quantiles(times, n=100)
    return found[49], found[98]


class Child:
    """One of the three, in a process of its own."""

    def __init__(self, role: str, folder: Path) -> None:
        self._role, self._folder = role, folder
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> "Child":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.inbox", self._role, str(self._folder),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.ready = await self.hears("ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), SLOW_DISK)

    @property
    def rss(self) -> float:
        """Megabytes."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    def tell(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n".encode())

    async def hears(self, event: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), SLOW_DISK)
        found: dict[str, Any] = json.loads(line or b"{}")
        if found.get("event") != event:
            raise RuntimeError(f"the {self._role} ended, or said {line!r}")
        return found


class Figures:
    """Of each round: what was measured, by name."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self._found.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> float:
        """The median."""
        return sorted(self._found[name])[len(self._found[name]) // 2]

    def show(self) -> None:
        print(f"{COUNT:,} messages of {len(PAYLOAD)} bytes, medians of {ROUNDS} rounds")
        print(f"  received at {COUNT / self['fill']:,.0f} messages/s")
        print(f"  memory at rest {self['rss']:.1f} MB (limit 60; without messages {self['empty_rss']:.1f} MB)")
        print(f"  start {self['start'] * 1e3:.0f} ms (limit 1000; without messages {self['empty_start'] * 1e3:.0f} ms)")
        print(f"  handed over at {COUNT / self['drain']:,.0f} messages/s (at least 20,000)")
        for name in ("p50", "p99"):
            mine, other = self[name] * 1e3, self[f"empty_{name}"] * 1e3
            said = f"{mine:.2f} ms; {other:.2f} ms without messages; ratio {mine / other:.2f}"
            print(f"  round trip of another friend, {name}: {said}{' (limit 2)' if name == 'p99' else ''}")

    @property
    def good(self) -> bool:
        quick = self["rss"] < 60 and self["start"] < 1 and COUNT / self["drain"] >= 20_000
        return quick and self["p99"] <= 2 * self["empty_p99"]


async def one_round(folder: Path, figures: Figures) -> None:
    async with AsyncExitStack() as stack:
        async with Child("receiver", folder) as receiver:
            (folder / "ticket").write_text(receiver.ready["ticket"])
            async with Child("sender", folder) as sender:
                sender.tell(COUNT)
                figures.add(fill=(await sender.hears("received"))["seconds"])
        receiver = await stack.enter_async_context(Child("receiver", folder))
        assert receiver.ready["held"] == COUNT
        await asyncio.sleep(AT_REST)
        figures.add(start=receiver.ready["seconds"], rss=receiver.rss)
        (folder / "ticket").write_text(receiver.ready["ticket"])
        await stack.enter_async_context(Child("sender", folder))
        friend = await stack.enter_async_context(Child("friend", folder))
        friend.tell("begin")
        await asyncio.sleep(AT_REST)
        friend.tell("end")
        await friend.hears("asked")  # warm
        friend.tell("begin")
        receiver.tell(COUNT)
        drain = (await receiver.hears("drained"))["seconds"]
        friend.tell("end")
        asked = await friend.hears("asked")
        figures.add(drain=drain, p50=asked["p50"], p99=asked["p99"])
        await asyncio.sleep(AT_REST)
        friend.tell("begin")
        await asyncio.sleep(drain)
        friend.tell("end")
        asked = await friend.hears("asked")
        figures.add(empty_p50=asked["p50"], empty_p99=asked["p99"])
    async with Child("receiver", folder) as receiver:
        await asyncio.sleep(AT_REST)
        figures.add(empty_start=receiver.ready["seconds"], empty_rss=receiver.rss)


async def main() -> int:
    figures = Figures()
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="mm-inbox-") as folder:
            await one_round(Path(folder), figures)
    figures.show()
    return 0 if figures.good else 1


if __name__ == "__main__":
    if len(sys.argv) == 1:
        exit_with(lambda: asyncio.run(main()))
    role = {"receiver": receive, "sender": send, "friend": ask}[sys.argv[1]]
    asyncio.run(role(Path(sys.argv[2])))
