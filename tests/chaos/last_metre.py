"""The last metre: what a node was sent reaches its handlers, or its inbox, exactly once, whatever happens to the node.

``python -m tests.chaos.last_metre [--cycles 100] [--seed N] [--handlers plain|transactional]``. A sender floods the
node under test, whose program waits 0 to 2 s before it subscribes, and which is stopped in order and SIGKILLed in turn:
while it starts, before it listens, while it hands over what it kept, or later. Its handlers raise at random, and some
forward to a third node. First they are plain ones, then, in a second run, transactional ones. The last line of each is
``cycles N, sent N, handled N, held 0, failed N, lost 0, repeated 0, repeated at kill N``. The exit code is 0 only when
nothing was lost, out of order, or told otherwise than it was; when a kill repeated at most 16 messages, and none of
transactional handlers.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.chaos.__main__ import DEADLINE, Node
from tests.chaos.last_metre_nodes import LAST
from tests.chaos.last_metre_verdict import Found, LastMetre, judge
from tests.chaos.proxy import Proxy
from tests.support.exit_codes import exit_with

MODULE: Final = "tests.chaos.last_metre_nodes"
HANDLERS: Final = ("plain", "transactional")
CYCLE_TIME: Final = 5.0  # seconds a cycle may take on average before the run gives up
MOMENTS: Final = ("starting", "unsubscribed", "handing over", "handing over", "handling", "handling")


class Run:
    """One run with handlers of one kind. ``killed``: the lives of the receiver that a SIGKILL ended."""

    def __init__(self, folder: Path, seed: int, handlers: str) -> None:
        self._folder, self._seed, self._handlers = folder, seed, handlers
        self._random = random.Random(seed)
        self._proxy = Proxy(lambda: int((folder / "port").read_text()))
        self._sender, self._receiver, self._counter, self._contents = (
            Node(role, folder / name, MODULE)
            for role, name in (("sender", "a"), ("receiver", "b"), ("counter", "c"), ("contents", "b"))
        )
        self._life = 0
        self.killed: list[int] = []
        self.stopped = 0

    async def run(self, cycles: int) -> LastMetre:
        await self._proxy.start()
        try:
            (self._folder / "counter.ticket").write_text(await self._counter.start())
            (self._folder / "receiver.ticket").write_text(await self._start())
            await self._sender.start()
            for cycle in range(cycles):
                await self._one_cycle(kill=cycle % 2 == 1)
                self._report(cycle + 1, cycles)
            sent = await self._finish()
            return judge(Found.read(self._folder, self._handlers == "transactional"), sent, self.killed)
        finally:
            for node in (self._sender, self._receiver, self._counter, self._contents):
                await node.close()
            await self._proxy.close()

    async def _start(self) -> str:
        self._life += 1
        return await self._receiver.start(self._proxy.address, str(self._life), str(self._seed), self._handlers)

    async def _one_cycle(self, kill: bool) -> None:
        """The receiver is running: end it at some moment, and start it again."""
        moment = self._random.choice(MOMENTS)
        if moment in ("starting", "unsubscribed"):
            await asyncio.sleep(self._random.uniform(0.0, 1.0))
        else:
            assert await self._receiver.line() == "on"
            await asyncio.sleep(self._random.uniform(0.0, 0.1) if "over" in moment else self._random.uniform(0.1, 1.0))
        await (self._kill() if kill else stop(self._receiver))
        self.stopped += not kill
        if kill and moment == "starting":
            starting = asyncio.create_task(self._start())
            await asyncio.sleep(self._random.uniform(0.3, 0.8))
            await self._kill()
            with contextlib.suppress(RuntimeError):
                await starting
        await self._start()

    async def _kill(self) -> None:
        await self._receiver.kill()
        self.killed.append(self._life)

    async def _finish(self) -> int:
        """Let everything end, stop all, and have the rest of the receiver written down; how many were sent."""
        await self._sender.finish()
        sent = int((await self._sender.line(LAST + DEADLINE)).split()[1])
        await self._forwarded()
        for node in (self._sender, self._receiver, self._counter):
            await stop(node)
        await self._contents.start()
        return sent

    async def _forwarded(self) -> None:
        """Until the third node has got nothing for a moment: the receiver sends on what it has accepted."""
        log, deadline, size = self._folder / "counted.log", time.monotonic() + DEADLINE, -1
        while size != log.stat().st_size and time.monotonic() < deadline:
            size = log.stat().st_size
            await asyncio.sleep(1.0)

    def _report(self, cycle: int, cycles: int) -> None:
        if sys.stderr.isatty():
            said = f"\rcycle {cycle}/{cycles}: {self.stopped} stops, {len(self.killed)} kills "
            print(said, end="\n" if cycle == cycles else "", file=sys.stderr)


async def stop(node: Node) -> None:
    """Stop it in order. Raises RuntimeError when it ends in another way."""
    if node.process.returncode is None:
        node.process.terminate()
    if (code := await asyncio.wait_for(node.process.wait(), DEADLINE)) != 0:
        raise RuntimeError(f"the {node.role} ended with code {code}")


async def one_run(cycles: int, seed: int, handlers: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="mm-last-metre-") as folder:
        run = Run(Path(folder), seed, handlers)
        began = time.monotonic()
        async with asyncio.timeout(2 * LAST + CYCLE_TIME * cycles):
            verdict = await run.run(cycles)
    print(
        f"{handlers} handlers, seed {seed}: stopped {run.stopped} times, killed {len(run.killed)} times in"
        f" {time.monotonic() - began:.0f} s; one kill repeated {verdict.worst} messages at most"
    )
    for wrong in verdict.wrong:
        print(f"WRONG: {wrong}")
    print(f"cycles {cycles}, {verdict}", flush=True)
    return verdict.good


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.last_metre", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--handlers", choices=HANDLERS, help="one of the two runs")
    options = parser.parse_args()
    kinds = [options.handlers] if options.handlers else HANDLERS
    return 0 if all([await one_run(options.cycles, options.seed, kind) for kind in kinds]) else 1


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
