"""The outbox at scale: ``python -m benchmarks.outbox_scale [NAME ...]``, each part in a process of its own.

- ``drain``: a backlog put one message at a time to a peer that is away, read back and acknowledged.
- ``flush``: waiting for all of many destinations to be settled, in CPU.
- ``start``: the longest stall of the event loop while a node starts for whom many destinations wait.
- ``gathered``: memory of a node that is given many large messages at once for a peer that is away.
- ``listing``: what ``mm outbox`` reads, in seconds and memory.
- ``cancel``: taking back the newest of many waiting messages, in CPU.
- ``expiry``: messages that expire one after the other while others wait, in CPU.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from mmplatform import Platform
from mmplatform.accounts import Accounts
from mmplatform.delivery.wire import Ack
from mmplatform.durable import inspection
from mmplatform.durable.outbox import Outbox
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import Priority
from mmplatform.storage.contract import Row, Storage
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage

Wake = Callable[[str], None]

AWAY: Final = "A" * 43 + "="
LATER: Final = 10**13
TOGETHER: Final = 500  # destinations that are put in one turn of the loop
ADDRESSES: Final = 4000  # destinations with a known address
FILL: Final = "fill"
MB: Final = 1024 * 1024
PORT_OF_NOBODY: Final = "tcp://127.0.0.1:9"


async def drain(messages: int = 60_000) -> str:
    """Save one message a transaction, start anew, read all back."""
    with tempfile.TemporaryDirectory() as folder:
        async with Unsynced(Path(folder) / "data.db") as unsynced, _outbox(unsynced, 1) as outbox:
            for _ in range(messages):
                await _put(outbox, AWAY)
        news = asyncio.Event()
        async with (
            SQLiteStorage(Path(folder) / "data.db") as storage,
            _outbox(storage, 2, lambda _: news.set()) as outbox,
        ):
            seconds, cpu = await _drained(outbox, messages, news)
    each = cpu / messages * 1e6
    return f"{messages:,} messages put one at a time: drained at {messages / seconds:,.0f}/s, {each:.1f} us CPU each"


async def flush(destinations: int = 8_000) -> str:
    """Settle one message for each destination while somebody waits for all."""
    async with MemoryStorage() as storage, _outbox(storage, 1) as outbox:
        peers = [f"{number:043}=" for number in range(destinations)]
        await _put_everywhere(outbox, peers)
        begun = time.process_time()
        flushed = asyncio.ensure_future(outbox.empty())
        await asyncio.sleep(0)
        for peer in peers:
            outbox.queue(peer).sender.take(MB, MB, 0)
            outbox.acknowledge(peer, Ack(Priority.NORMAL, 1, 1, [], [], []))
            await asyncio.sleep(0)
        await flushed
        cpu = time.process_time() - begun
    return f"flush over {destinations:,} destinations: {cpu:.3f} s CPU"


async def start(destinations: int = 10_000, seconds: float = 8.0) -> str:
    """Start a node for which ``destinations`` wait; a part of them has an address where nobody listens."""
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(_in_a_process, f"{FILL}={folder}={destinations}")
        platform = Platform(folder, connection_info=())
        lags: list[tuple[float, float]] = []
        watch = asyncio.create_task(_watch(lags))
        begun, cpu = time.monotonic(), time.process_time()
        await platform.start()
        ready, busy = time.monotonic() - begun, time.process_time() - cpu
        await asyncio.sleep(seconds)
        watch.cancel()
        total = time.process_time() - cpu
        await platform.stop()
    worst = sorted(lags, key=lambda lag: -lag[1])[:3]
    shown = ", ".join(f"{lag * 1000:.0f} ms after {at - begun:.1f} s" for at, lag in worst)
    return (
        f"start with {destinations:,} destinations waiting: {ready:.2f} s ({busy:.2f} s CPU), {total:.1f} s CPU in the "
        f"{seconds:.0f} s behind, longest stalls {shown}"
    )


async def _fill(folder: str, destinations: int) -> None:
    """Leave a message for each destination, some of them with an address at which nobody listens."""
    keys = [Identity.generate() for _ in range(destinations)]
    async with Platform(folder, connection_info=()) as platform:
        for key in keys[:ADDRESSES]:
            info = NodeInfo.create(key, [PORT_OF_NOBODY], 1, int(time.time()) + 3600)
            platform.directory.put(info, "benchmark")
    async with SQLiteStorage(DataFolder(folder).database) as storage, _outbox(storage, 1) as outbox:
        await _put_everywhere(outbox, [key.sign_id for key in keys])


async def gathered(messages: int = 500, size: int = MB, minute: float = 60.0) -> str:
    """Send many large messages at once to a peer that is away, look at the memory, and again a minute later."""
    with tempfile.TemporaryDirectory() as folder:
        async with Platform(folder, connection_info=()) as platform:
            before, begun, cpu = _memory(), time.monotonic(), time.process_time()
            payload = os.urandom(size)
            sending = asyncio.gather(
                *(platform.messaging.send("large", AWAY_KEY, [n, payload]) for n in range(messages)),
                return_exceptions=True,
            )
            total, limit = messages * size, 256 * MB
            while not sending.done() and platform.parts.outbox.queue(AWAY_KEY).bytes < min(limit, total):  # noqa: ASYNC110 - a script
                await asyncio.sleep(0.01)
            seconds, busy = time.monotonic() - begun, time.process_time() - cpu
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            del payload, sending
            soon = _memory()
            await asyncio.sleep(minute)
            after = _memory()
    return (
        f"{messages} x {size / MB:.0f} MiB gathered: {seconds:.1f} s until the box was full ({busy:.1f} s CPU), "
        f"RSS {before:.0f} MB before, {peak:.0f} at most, {soon:.0f} then, {after:.0f} a minute later"
    )


async def listing(rows: int = 60_000, messages: int = 1_000_000) -> str:
    """List what waits, as ``mm outbox`` does: many rows of one message, and many messages in few rows."""
    found = []
    for count, together in ((rows, 1), (messages, 1000)):
        with tempfile.TemporaryDirectory() as folder:
            async with Unsynced(Path(folder) / "data.db") as storage, _outbox(storage, 1) as outbox:
                for _ in range(count // together):
                    await asyncio.gather(*(_put(outbox, AWAY) for _ in range(together)))
                before, begun = _memory(), time.monotonic()
                listed = 0
                async for _ in inspection.queued(outbox):
                    listed += 1
                seconds, more = time.monotonic() - begun, _memory() - before
                found.append(f"{listed:,} in {count // together:,} rows: {seconds:.1f} s, {more:.0f} MB more")
    return f"listing: {'; '.join(found)}"


async def cancel(*counts: int) -> str:
    """Take back the newest of so many rows."""
    found = []
    for count in counts or (1_000, 16_000):
        async with MemoryStorage() as storage, _outbox(storage, 1) as outbox:
            for _ in range(count):
                await _put(outbox, AWAY)
            begun = time.process_time()
            for seq in range(count - 199, count + 1):
                await inspection.cancel(outbox, f"1.{Priority.NORMAL:d}.{seq}@{AWAY}")
            found.append(f"{(time.process_time() - begun) / 200 * 1e6:.0f} us of {count:,}")
    return f"cancel the newest: {', '.join(found)}"


async def expiry(messages: int = 6_000) -> str:
    """Let messages expire one a millisecond while all of them wait."""
    async with MemoryStorage() as storage, _outbox(storage, 1) as outbox:
        queue = outbox.queue(AWAY)
        for n in range(messages):
            outbox.put(queue, Priority.NORMAL, "chat", "ms", b"x" * 100, 1000 + n)
        await asyncio.sleep(0.1)
        begun = time.process_time()
        for n in range(messages):
            if queue.sender.next_expiry <= 1000 + n:
                for settled in queue.sender.expire(1000 + n):
                    outbox.settle(AWAY, settled)
        cpu = time.process_time() - begun
    return f"{messages:,} messages that expire one after the other: {cpu / messages * 1e6:.0f} us CPU each"


class Unsynced(SQLiteStorage):
    """Waits for no disk: what is measured is reading back."""

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        return super().write(rows, sync=False)


PARTS: Final[dict[str, Callable[[], Coroutine[Any, Any, str]]]] = {
    part.__name__: part for part in (drain, flush, start, gathered, listing, cancel, expiry)
}
AWAY_KEY: Final = Identity.generate().sign_id


@asynccontextmanager
async def _outbox(storage: Storage, epoch: int, wake: Wake = lambda peer: None) -> AsyncIterator[Outbox]:
    outbox = Outbox(storage, epoch, time.time, wake, _raise, lambda peer: True, Accounts().disk)
    await outbox.open()
    yield outbox
    await outbox.close()


def _raise(error: Exception) -> None:
    raise error


async def _put(outbox: Outbox, peer: str) -> None:
    _, saved = outbox.put(outbox.queue(peer), Priority.NORMAL, "chat", "ms", b"x" * 100, LATER)
    await saved


async def _put_everywhere(outbox: Outbox, peers: Sequence[str]) -> None:
    for first in range(0, len(peers), TOGETHER):
        await asyncio.gather(*(_put(outbox, peer) for peer in peers[first : first + TOGETHER]))


async def _drained(outbox: Outbox, messages: int, news: asyncio.Event) -> tuple[float, float]:
    """Take all as a link does, which waits while there is nothing: a loop that turns would keep the reader waiting."""
    queue = outbox.queue(AWAY)
    queue.linked = True
    begun, cpu = time.monotonic(), time.process_time()
    outbox.refill(AWAY)
    while not queue.empty:
        news.clear()
        batches, _ = queue.sender.take(64 * 1024, MB, 0)
        for batch in batches:
            outbox.acknowledge(AWAY, Ack(batch.lane, batch.epoch, batch.records[-1].seq, [], [], []))
        outbox.refill(AWAY)
        await (asyncio.sleep(0) if batches else news.wait())
    return time.monotonic() - begun, time.process_time() - cpu


async def _watch(lags: list[tuple[float, float]]) -> None:
    loop, pause = asyncio.get_running_loop(), 0.002
    while True:
        due = loop.time() + pause
        await asyncio.sleep(pause)
        lags.append((time.monotonic(), loop.time() - due))


def _memory() -> float:
    """Resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MB


def _in_a_process(name: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.outbox_scale", name], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}; all without")
    names = parser.parse_args().names or list(PARTS)
    if names[0].startswith(FILL):
        _, folder, destinations = names[0].split("=")
        asyncio.run(_fill(folder, int(destinations)))
    elif len(names) == 1:
        print(asyncio.run(PARTS[names[0]]()), flush=True)
    else:
        for name in names:
            _in_a_process(name)


if __name__ == "__main__":
    main()
