"""What a flooding sender costs honest ones: ``python -m benchmarks.relay_flood [--rounds 5]``.

Ten pairs ask each other over one relay at a steady pace. In every other round a stranger deposits mail and writes to
absent peers as fast as its connection takes it, whatever the relay answers. Prints the pairs' p50 and p99 with and
without, and what became of the flood.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.address import parse_relay
from mm_transports.relay.client import Client
from mm_transports.relay.items import Declined, Deposit, Item, Limits, Open, Stored
from mmplatform import Platform
from mmplatform.identity.keys import Identity

PAIRS = 10
EVERY = 0.02  # seconds between two requests of a pair
SECONDS = 4.0  # of a round; a flood begins each of its own with the burst that the rate allows
LIMIT = 2.0  # times the p99 without the flood
QUOTAS = ("--sender-bytes", "1MiB", "--recipient-bytes", "1MiB", "--rate-bytes", "2MiB", "--rate-items", "1000")


@dataclass(frozen=True)
class Result:
    """Milliseconds: medians of the rounds."""

    quiet_p50: float
    quiet_p99: float
    flood_p50: float
    flood_p99: float
    deposited: int
    stored: int
    declined: int

    @property
    def ratio(self) -> float:
        return self.flood_p99 / self.quiet_p99


async def measure(rounds: int) -> Result:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-flood-")))
        relay = await RelayProcess(folder / "relay", *QUOTAS).start()
        stack.push_async_callback(relay.kill)
        pairs = [await pair(stack, relay.address) for _ in range(PAIRS)]
        flooder = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.relay_flood", "--be-the-flood", relay.address,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        stack.push_async_callback(flooder.communicate, b"end\n")
        assert flooder.stdin is not None
        assert flooder.stdout is not None
        await flooder.stdout.readline()
        await one_round(pairs, 1.0)
        quiet, flood = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(rounds):
            for flooding in (True, False) if number % 2 else (False, True):
                flooder.stdin.write(b"go\n" if flooding else b"stop\n")
                (flood if flooding else quiet).append(await one_round(pairs, SECONDS))
        flooder.stdin.write(b"tell\n")
        counts = json.loads(await asyncio.wait_for(flooder.stdout.readline(), 30))
        return Result(*(statistics.median(column) * 1000 for column in (*zip(*quiet), *zip(*flood))), **counts)  # noqa: B905


async def pair(stack: AsyncExitStack, relay: str) -> tuple[Platform, str]:
    one, other = [await stack.enter_async_context(Platform(connection_info=(), relays=[relay])) for _ in range(2)]

    async def echo(topic: str, sender: str, payload: Any) -> Any:
        return payload

    other.messaging.on("public.echo", echo)
    peer = await one.add(other.ticket())
    await one.connect(peer, 20)
    return one, peer


async def one_round(pairs: list[tuple[Platform, str]], seconds: float) -> tuple[float, float]:
    """p50 and p99 of all pairs together, in seconds."""
    times: list[float] = []

    async def ask(platform: Platform, peer: str) -> None:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            await platform.messaging.request("echo", peer, b"x" * 100)
            took = time.perf_counter() - began
            times.append(took)
            await asyncio.sleep(max(0.0, EVERY * (0.5 + random.random()) - took))

    await asyncio.gather(*(ask(platform, peer) for platform, peer in pairs))
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


class Flood:
    """Deposits for somebody who never comes, and opens links to others who do not: whatever it is told."""

    def __init__(self) -> None:
        self.on = False
        self.counts = {"deposited": 0, "stored": 0, "declined": 0}
        self._wake = asyncio.Event()

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None:
        self.counts["stored"] += isinstance(item, Stored)
        self.counts["declined"] += isinstance(item, Declined)

    def relay_down(self, client: Client, reason: str) -> None:
        if self.on:
            print(f"the flood is out: {reason}", file=sys.stderr)

    def relay_writable(self, client: Client) -> None:
        self._wake.set()

    async def run(self, address: str) -> None:
        os.nice(10)  # it is another machine's work
        client = Client(parse_relay(address), Identity.generate(), self, random=random.random, now=time.time)
        client.start()
        await client.connected(20)
        print("ready", flush=True)
        told = asyncio.create_task(self._listen())
        nobody, envelope = Identity.generate().sign_key, bytes(10_000)
        while not told.done():
            if not self.on or client.full:
                self._wake.clear()
                await self._wake.wait()
                continue
            expires = int(time.time() * 1000) + 3_600_000
            client.tell(Deposit(nobody, secrets.token_bytes(16), expires, envelope))
            client.tell(Open(secrets.token_bytes(32), 1, envelope[:1000]))
            self.counts["deposited"] += 1
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        while (line := await asyncio.to_thread(sys.stdin.readline)).strip() not in ("", "end"):
            if line.strip() == "tell":
                print(json.dumps(self.counts), flush=True)
            self.on = line.strip() == "go"
            self._wake.set()
        self._wake.set()


def render(result: Result) -> str:
    return (
        f"{PAIRS} honest pairs: p50 {result.quiet_p50:.2f} ms, p99 {result.quiet_p99:.2f} ms; beside a flood: p50"
        f" {result.flood_p50:.2f} ms, p99 {result.flood_p99:.2f} ms ({result.ratio:.2f} x, wanted at most {LIMIT:g});"
        f" of {result.deposited:,} envelopes {result.stored:,} were kept, {result.declined:,} declined"
    )


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_flood", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    result = await measure(options.rounds)
    print(render(result))
    if options.json:
        options.json.write_text(json.dumps(asdict(result) | {"ratio": result.ratio}, indent=2))
    return 0 if result.ratio <= LIMIT else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-the-flood"]:
        asyncio.run(Flood().run(sys.argv[2]))
    else:
        sys.exit(asyncio.run(main()))
