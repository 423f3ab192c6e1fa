"""Two nodes under load; in every cycle one of them is SIGKILLed, or their link is cut, at a random moment.

``python -m tests.chaos [--cycles 200] [--seed N] [--relay sqlite|redis]``. With a relay the two can reach each other
through it alone; it is killed as well, it keeps mail while one of them is away for a while, and with ``redis`` three
processes are the relay together. The last line is ``cycles N, sent N, lost 0, out of order 0,
repeated 0, repeated at kill N``, and the exit code is 0 only when the three zeros are zeros.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.proxy import Proxy
from tests.chaos.relays import Relays
from tests.chaos.verdict import INSTANT, Verdict, judge
from tests.support.exit_codes import exit_with

DEADLINE = 20.0  # seconds for a node to come up, or for messages to flow again
AWAY = 1.5  # seconds at most for which a killed node stays away while mail collects at the relay
CYCLE_TIME = 3.0  # seconds a cycle may take on average before the run gives up


class Node:
    """One of the two processes; killed and started again."""

    process: asyncio.subprocess.Process

    def __init__(self, role: str, folder: Path, module: str = "tests.chaos.nodes") -> None:
        self.role, self.folder, self._module = role, folder, module
        self.kills: list[float] = []

    async def start(self, *arguments: str) -> str:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, self.role, str(self.folder), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return (await self.line()).removeprefix("ready").strip()

    async def line(self, timeout: float = DEADLINE) -> str:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), timeout)
        if not line:
            raise RuntimeError(f"the {self.role} ended with code {await self.process.wait()}")
        return line.decode().strip()

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.kills.append(time.monotonic())
        await self.process.wait()

    async def finish(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"stop\n")
        await self.process.stdin.drain()

    async def close(self) -> None:
        """Whatever it does: over."""
        if hasattr(self, "process"):
            if self.process.returncode is None:
                self.process.kill()
            await self.process.communicate()


class Chaos:
    def __init__(self, folder: Path, seed: int, store: str = "") -> None:
        self.random = random.Random(seed)
        self.log = folder / "received.log"
        self.port_file = folder / "port"
        self.sender, self.receiver = Node("sender", folder / "a"), Node("receiver", folder / "b")
        self.relays = Relays(folder, store, self.random) if store else None
        self.proxy = self.relays.proxy if self.relays else Proxy(lambda: int(self.port_file.read_text()))
        self.cuts = 0

    async def run(self, cycles: int) -> Verdict:
        await (self.relays or self.proxy).start()
        try:
            self.address = self.relays.address if self.relays else self.proxy.address
            ticket = await self.receiver.start(self.address)
            await self.sender.start(self.address, ticket)
            for cycle in range(cycles):
                await self.flowing()
                await asyncio.sleep(self.random.uniform(0.0, 0.2))
                await self.one_cycle(ticket)
                self.report(cycle + 1, cycles)
            await self.flowing()
            await self.sender.finish()
            sent = int((await self.sender.line(90.0)).split()[1])
            await self.receiver.finish()
            await asyncio.gather(self.sender.process.wait(), self.receiver.process.wait())
            return judge(self.log, sent, self.receiver.kills)
        finally:
            for node in (self.sender, self.receiver):
                if node.process.returncode is None:
                    node.process.kill()
            await (self.relays or self.proxy).close()

    async def one_cycle(self, ticket: str) -> None:
        with_relay = ["relay", "relay", "all", "sender away", "receiver away"] if self.relays else []
        match self.random.choice(["sender", "receiver", "cut", "cut", "both", *with_relay]):
            case "cut":
                self.cuts += self.proxy.cut()
            case "sender":
                await self.sender.kill()
                await self.sender.start(self.address, ticket)
            case "receiver":
                await self.receiver.kill()
                await self.receiver.start(self.address)
            case "relay":
                assert self.relays
                await self.relays.kill()
            case "sender away":
                await self.sender.kill()
                await asyncio.sleep(self.random.uniform(0.0, AWAY))
                await self.sender.start(self.address, ticket)
            case "receiver away":
                await self.receiver.kill()
                await asyncio.sleep(self.random.uniform(0.0, AWAY))
                await self.receiver.start(self.address)
            case _:
                kills = [self.sender.kill(), self.receiver.kill()]
                await asyncio.gather(*kills, *([self.relays.kill()] if self.relays else []))
                await self.receiver.start(self.address)
                await self.sender.start(self.address, ticket)

    async def flowing(self) -> None:
        """Wait until the handler has run again."""
        size, deadline = self.log.stat().st_size, time.monotonic() + DEADLINE
        while self.log.stat().st_size <= size:
            for node in (self.sender, self.receiver):
                if node.process.returncode is not None:
                    raise RuntimeError(f"the {node.role} ended with code {node.process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing arrived for {DEADLINE} s")
            await asyncio.sleep(0.01)

    def report(self, cycle: int, cycles: int) -> None:
        if sys.stderr.isatty():
            kills = f"{len(self.sender.kills)} + {len(self.receiver.kills)} kills, {self.cuts} cuts"
            print(f"\rcycle {cycle}/{cycles}: {kills} ", end="\n" if cycle == cycles else "", file=sys.stderr)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--relay", choices=("sqlite", "redis"), default="", help="through a relay on this store alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mm-chaos-") as folder:
        chaos = Chaos(Path(folder), options.seed, options.relay)
        print(f"seed {options.seed}")
        async with asyncio.timeout(60 + CYCLE_TIME * options.cycles):
            verdict = await chaos.run(options.cycles)
        print(
            f"killed sender {len(chaos.sender.kills)} times, receiver {len(chaos.receiver.kills)} times,"
            f" relay {chaos.relays.kills if chaos.relays else 0} times,"
            f" cut {chaos.cuts} links; repeated at kill: handled in the last {INSTANT} s before a SIGKILL"
        )
        print(
            f"cycles {options.cycles}, sent {verdict.sent}, lost {verdict.lost}, out of order {verdict.out_of_order},"
            f" repeated {verdict.repeated}, repeated at kill {verdict.repeated_at_kill}"
        )
        return 0 if verdict.good else 1


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
