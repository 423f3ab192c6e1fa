"""What a flooding sender costs honest ones: ``python -m benchmarks.relay_flood [--rounds 5]``.

Ten pairs ask each other over one relay at a steady pace. In every other round a stranger deposits mail and writes to
absent peers as fast as its connection takes it, whatever the relay answers. Prints the pairs' p50 and p99 with and
without, and what became of the flood.
"""

import asyncio
import random
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import relay_options
from benchmarks.relay_process import RelayProcess
from benchmarks.relay_stranger import stranger
from mmplatform import Platform
from tests.support.exit_codes import exit_with

PAIRS = 10
EVERY = 0.02  # seconds between two requests of a pair
SECONDS = 4.0  # of a round; a flood begins each of its own with the burst that the rate allows
LIMIT = 2.0  # times the p99 without the flood
QUOTAS = ("--sender-bytes", "1MiB", "--recipient-bytes", "1MiB", "--rate-bytes", "2MiB", "--rate-items", "10000")


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

    @property
    def met(self) -> bool:
        return self.ratio <= LIMIT

    def figures(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


async def measure(rounds: int) -> Result:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-flood-")))
        relay = await RelayProcess(folder / "relay", *QUOTAS).start()
        stack.push_async_callback(relay.kill)
        pairs = [await pair(stack, relay.address) for _ in range(PAIRS)]
        flooder = await stack.enter_async_context(stranger(relay.address))
        await one_round(pairs, 1.0)
        quiet, flood = list[tuple[float, float]](), list[tuple[float, float]]()
        for number in range(rounds):
            for flooding in (True, False) if number % 2 else (False, True):
                if flooding:
                    await flooder.begin()
                else:
                    flooder.tell("stop")
                (flood if flooding else quiet).append(await one_round(pairs, SECONDS))
        counts = await flooder.counts()
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


def render(result: Result) -> str:
    return (
        f"{PAIRS} honest pairs: p50 {result.quiet_p50:.2f} ms, p99 {result.quiet_p99:.2f} ms; beside a flood: p50"
        f" {result.flood_p50:.2f} ms, p99 {result.flood_p99:.2f} ms ({result.ratio:.2f} x, wanted at most {LIMIT:g});"
        f" of {result.deposited:,} envelopes {result.stored:,} were kept, {result.declined:,} declined"
    )


async def main() -> int:
    return await relay_options.run("relay_flood", __doc__, 5, measure, render)


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
