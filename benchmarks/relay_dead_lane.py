"""What a dead relay costs those who do not need it: ``python -m benchmarks.relay_dead_lane [--rounds 12]``.

Sender and receiver are at home at two relays that work. In every other round the sender also writes to peers at home
at a third relay only, which refuses connections, and at a fourth, which takes no packet. Prints both throughputs.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contract import pipelined
from benchmarks.relay_process import RelayProcess
from benchmarks.relay_receiver import TOPIC
from mm_transports.relay.address import format_relay
from mmplatform import Delivery, Platform
from mmplatform.identity.keys import Identity

MESSAGES = 20_000  # of a round
SENDERS = 256
DEAD_PEERS = 10
EVERY = 0.1  # seconds between two messages to each dead peer
LIMIT = 0.9  # of the throughput without dead peers


@dataclass(frozen=True)
class Result:
    """Messages a second, medians of the rounds, and what they were made of."""

    quiet: float
    dead: float
    quiet_rounds: list[float]
    dead_rounds: list[float]
    to_the_dead: int

    @property
    def share(self) -> float:
        """Of the throughput without dead peers: the median of each round with the one beside it."""
        pairs = zip(self.dead_rounds, self.quiet_rounds, strict=True)
        return statistics.median(dead / quiet for dead, quiet in pairs)


async def measure(rounds: int) -> Result:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-dead-lane-")))
        relays = [RelayProcess(folder / name) for name in ("one", "two")]
        for relay in relays:
            await relay.start()
            stack.push_async_callback(relay.kill)
        homes = [relay.address for relay in relays]
        ticket = await stack.enter_async_context(receiver(folder / "receiver", homes))
        nowhere = stack.enter_context(dead_relays())
        sender = await stack.enter_async_context(Platform(folder / "sender", connection_info=(), relays=homes))
        peer = await sender.add(ticket)
        await sender.connect(peer, 20)
        lost = [await sender.add(await absent(address)) for address in nowhere * (DEAD_PEERS // 2)]
        await one_round(sender, peer)  # nobody is charged for the first
        quiet, dead, written = list[float](), list[float](), 0
        for number in range(rounds):
            for with_dead in (True, False) if number % 2 else (False, True):
                writing = asyncio.create_task(write(sender, lost)) if with_dead else None
                (dead if with_dead else quiet).append(await one_round(sender, peer))
                if writing is not None:
                    writing.cancel()
                    written += await writing
        return Result(statistics.median(quiet), statistics.median(dead), quiet, dead, written)


async def one_round(sender: Platform, peer: str) -> float:
    deliveries: list[Delivery] = []

    async def send() -> None:
        deliveries.append(await sender.messaging.send(TOPIC, peer, b"x" * 100))

    began = time.perf_counter()
    await pipelined(send, MESSAGES, SENDERS)
    for delivery in deliveries:
        await delivery
    return MESSAGES / (time.perf_counter() - began)


async def write(sender: Platform, peers: Sequence[str]) -> int:
    """To each, again and again, until cancelled; how many messages."""
    written = 0
    try:
        while True:
            for peer in peers:
                await sender.messaging.send(TOPIC, peer, b"x" * 100)
                written += 1
            await asyncio.sleep(EVERY)
    except asyncio.CancelledError:
        return written


async def absent(address: str) -> str:
    """The ticket of a peer that can be reached at this relay only, and is not there."""
    async with Platform(connection_info=(), relays=[address]) as platform:
        return platform.ticket()


@asynccontextmanager
async def receiver(folder: Path, homes: list[str]) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.relay_receiver", str(folder), *homes,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    finally:
        await process.communicate(b"\n")


class dead_relays:
    """The addresses of a relay where nothing listens, and of one whose host takes no packet."""

    def __enter__(self) -> list[str]:
        self._sockets = [socket.socket() for _ in range(6)]
        refuses, silent, *crowd = self._sockets
        for one in (refuses, silent):
            one.bind(("127.0.0.1", 0))
        silent.listen(0)
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        ports = [one.getsockname()[1] for one in (refuses, silent)]
        return [format_relay(f"ws://127.0.0.1:{port}/", Identity.generate().sign_id) for port in ports]

    def __exit__(self, *ignored: object) -> None:
        for one in self._sockets:
            one.close()


def render(result: Result) -> str:
    return (
        f"to a peer of two relays that work: {result.quiet:,.0f} messages/s;"
        f" while {result.to_the_dead} messages went to peers of dead ones: {result.dead:,.0f}"
        f" ({100 * result.share:.0f} %, wanted at least {100 * LIMIT:.0f} %)"
    )


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_dead_lane", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    result = await measure(options.rounds)
    print(render(result))
    if options.json:
        options.json.write_text(json.dumps(asdict(result) | {"share": result.share}, indent=2))
    return 0 if result.share >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
