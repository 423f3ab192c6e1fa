"""A transfer that moves from a relay to a direct link while it runs: ``python -m benchmarks.moving [--seconds 3]``.

Three processes: ``mm relay``, a receiver, and this one, which sends. The direct address can be dialled from the middle
of the transfer on. Printed: what arrived a second before and after the move, the longest time in which nothing did, and
what was sent twice.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from typing import Any, Final

from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mmplatform import Platform, Unreachable
from mmplatform.delivery.wire import Frame
from mmplatform.identity.keys import SignId
from mmplatform.links.link import Link
from mmplatform.peers.peer import Peer
from mmplatform.plugins.transport import Accept, Connection

SIZES: Final = {100: 20_000, 65_536: 400}  # bytes of a message, and how many are under way at most
TOGETHER: Final = 20  # messages in one turn of the loop
SLICE: Final = 0.05  # seconds


class Gated(TCP):
    """Can dial from the moment it is told."""

    open = False

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        if not self.open:
            raise Unreachable(f"{address}: not yet")
        return await super().dial(address, peer, accept)


class Tally:
    """What arrived when, in slices of time; whether each came once and in order; what came twice."""

    def __init__(self) -> None:
        self.slices: dict[int, int] = {}
        self.next = self.records = 0
        self.orderly = True
        self.gap = self.last = 0.0

    def take(self, topic: str, sender: str, payload: Any) -> None:
        now = time.time()
        self.orderly = self.orderly and payload[0] == self.next
        self.next += 1
        self.gap, self.last = max(self.gap, now - (self.last or now)), now
        key = int(now / SLICE)
        self.slices[key] = self.slices.get(key, 0) + 1

    def report(self, topic: str, sender: str, payload: Any) -> list[Any]:
        found = [self.next, self.records, self.orderly, self.gap, sorted(self.slices.items())]
        self.__init__()  # type: ignore[misc]  # the next transfer begins
        return found


async def receive(relay: str) -> None:
    tally = Tally()
    received = Peer.frame_received

    def frame_received(peer: Peer, link: Link, frame: Frame) -> None:
        tally.records += sum(len(batch.records) for batch in frame.batches if batch.lane == 2)
        received(peer, link, frame)

    Peer.frame_received = frame_received  # type: ignore[method-assign]
    async with Platform(connection_info=["tcp://127.0.0.1:0"], relays=[relay], transports=[TCP(), Relay()]) as platform:
        platform.messaging.on("*.load", tally.take)
        platform.messaging.on("*.report", tally.report)
        print(platform.ticket(), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(ticket: str, relay: str, size: int, under_way: int, seconds: float) -> None:
    direct = Gated()
    async with Platform(connection_info=(), relays=[relay], transports=[direct, Relay()]) as platform:
        moved: list[float] = []
        platform.on("path", lambda peer, address, rtt, why: moved.append(time.time()) if why == "better" else None)
        while any(platform.relays.values()):  # noqa: ASYNC110 - a script
            await asyncio.sleep(0.01)
        peer = await platform.add(ticket)
        await platform.connect(peer)
        loop, room = asyncio.get_running_loop(), asyncio.Semaphore(under_way)
        begun, number, waiting = loop.time(), 0, set[asyncio.Future[Any]]()
        while loop.time() - begun < 2 * seconds:
            if not direct.open and loop.time() - begun >= seconds:
                direct.open = True
                platform.network_changed()
            for _ in range(TOGETHER):
                await room.acquire()
            sends = [platform.messaging.send("load", peer, [number + n, bytes(size)]) for n in range(TOGETHER)]
            number += TOGETHER
            for delivery in await asyncio.gather(*sends):
                task = asyncio.ensure_future(_done(delivery))
                waiting.add(task)
                task.add_done_callback(lambda task: (waiting.discard(task), room.release()))
        await platform.flush(peer, timeout=60)
        handled, records, orderly, gap, slices = await platform.messaging.request("report", peer, timeout=20)
        before = _rate(slices, moved[0] - 1.2, moved[0] - 0.2) if moved else 0.0
        after = _rate(slices, moved[0] + 0.3, moved[0] + 1.3) if moved else 0.0
        print(
            f"{size:6} bytes: relay {before:9,.0f} msg/s ({before * size / 1e6:7.1f} MB/s)   "
            f"direct {after:9,.0f} msg/s ({after * size / 1e6:7.1f} MB/s)   {number} sent, {handled} handled, "
            f"{'in order' if orderly and handled == number else 'NOT IN ORDER OR NOT ALL'}, "
            f"sent twice {max(records - handled, 0)}, longest gap {gap * 1000:.0f} ms"
        )


async def _done(delivery: Any) -> None:
    await delivery


def _rate(slices: list[list[int]], begin: float, end: float) -> float:
    return sum(count for key, count in slices if begin <= key * SLICE < end) / (end - begin)


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", folder, "--listen", "127.0.0.1:0",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert relay.stdout is not None
        address = json.loads(await relay.stdout.readline())["address"]
        receiver = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.moving", "--receive", address,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert receiver.stdout is not None
        ticket = (await receiver.stdout.readline()).decode().strip()
        try:
            for size, under_way in SIZES.items():
                await measure(ticket, address, size, under_way, seconds)
        finally:
            receiver.terminate()
            relay.terminate()
            await asyncio.gather(receiver.wait(), relay.wait())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="over each of the two ways")
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asyncio.run(receive(asked.receive) if asked.receive else main(asked.seconds))
