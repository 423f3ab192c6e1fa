"""Two relays that work together, both nodes at home at both: the one that carries them is SIGKILLed midway.

``python -m tests.chaos.failover [--seconds 3]``. First both nodes are there and messages flow; then the recipient is
away, and the relay dies while it takes the mail. The last lines are the verdict and how long nothing arrived; the exit
code is 0 only when nothing was lost, repeated or out of order.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.relay_process import RelayProcess
from tests.chaos.__main__ import Node
from tests.chaos.verdict import Verdict, judge
from tests.support.exit_codes import exit_with

LONGEST = 30.0  # seconds until messages flow again


class Outcome(NamedTuple):
    """``gap``: the longest time without a message after the kill, in seconds; ``usual`` before it."""

    verdict: Verdict
    gap: float
    usual: float


class Failover:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "received.log"
        self.relays = [RelayProcess(folder / name, "--metrics", "same") for name in ("one", "two")]
        self.sender, self.receiver = Node("sender", folder / "a"), Node("receiver", folder / "b")

    async def run(self, seconds: float) -> Outcome:
        try:
            await asyncio.gather(*(relay.start() for relay in self.relays))
            homes = ",".join(relay.address for relay in self.relays)
            ticket = await self.receiver.start(homes)
            await self.sender.start(homes, ticket)
            await self.flowing()
            await asyncio.sleep(seconds / 2)
            killed = time.monotonic()
            await (await self.carrier()).kill()
            await self.flowing()
            await asyncio.sleep(seconds / 2)
            await asyncio.gather(*(relay.start() for relay in self.relays if not relay.running))
            went = time.monotonic()
            await self.receiver.finish()
            await self.receiver.process.wait()
            mailed = [await self.mailed(relay) for relay in self.relays]
            await self.more_mail(mailed)
            carrier = await self.mail_carrier(mailed)
            await carrier.kill()
            mailed = [0 if relay is carrier else await self.mailed(relay) for relay in self.relays]
            await self.more_mail(mailed)
            await carrier.start()
            await self.receiver.start(homes)
            await self.flowing()
            await self.sender.finish()
            sent = int((await self.sender.line(90.0)).split()[1])
            await self.receiver.finish()
            await asyncio.gather(self.sender.process.wait(), self.receiver.process.wait())
            before, after = gaps(self.log, killed, went)
            return Outcome(judge(self.log, sent, []), after, before)
        finally:
            for node in (self.sender, self.receiver):
                await node.close()
            await asyncio.gather(*(relay.kill() for relay in self.relays))

    async def flowing(self) -> None:
        """Until more has been handled."""
        size, deadline = self.log.stat().st_size, time.monotonic() + LONGEST
        while self.log.stat().st_size <= size + 100:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing arrived for {LONGEST:.0f} s")
            await asyncio.sleep(0.01)

    async def carrier(self) -> RelayProcess:
        """The relay over which the nodes speak."""
        frames = [(await relay.metric("mm_relay_frames_total"), relay) for relay in self.relays]
        return max(frames, key=lambda found: found[0])[1]

    async def mail_carrier(self, before: list[float]) -> RelayProcess:
        found = [await self.mailed(relay) - count for relay, count in zip(self.relays, before, strict=True)]
        return self.relays[found.index(max(found))]

    async def mailed(self, relay: RelayProcess) -> float:
        return await relay.metric("mm_relay_stored_total")

    async def more_mail(self, before: list[float]) -> None:
        """Until relays that run have taken some more."""
        deadline = time.monotonic() + LONGEST
        while True:
            running = [(relay, count) for relay, count in zip(self.relays, before, strict=True) if relay.running]
            if any([await self.mailed(relay) > count + 4 for relay, count in running]):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"no relay took mail for {LONGEST:.0f} s")
            await asyncio.sleep(0.02)


def gaps(log: Path, killed: float, until: float) -> tuple[float, float]:
    """The longest times between two messages, before ``killed`` and from then ``until`` the receiver went."""
    moments = [int(line.split()[1]) / 1e9 for line in log.read_text().splitlines() if line != "start"]
    before, after = 0.0, 0.0
    for one, next_one in itertools.pairwise(moments):
        if next_one < killed:
            before = max(before, next_one - one)
        elif next_one < until:
            after = max(after, next_one - one)
    return before, after


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.failover", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of traffic around the kill")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mm-failover-") as folder:
        verdict, gap, usual = await Failover(Path(folder)).run(options.seconds)
    print(f"nothing arrived for {gap * 1000:.0f} ms after the kill; the longest before it: {usual * 1000:.0f} ms")
    print(
        f"sent {verdict.sent}, lost {verdict.lost}, out of order {verdict.out_of_order}, repeated"
        f" {verdict.repeated + verdict.repeated_at_kill}"
    )
    return 0 if verdict.good and not verdict.repeated_at_kill else 1


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
