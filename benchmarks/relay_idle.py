"""What idle connections cost one relay process: ``python -m benchmarks.relay_idle [--connections 5000] [--plain]``.

Real clients (``mm_transports.relay.client``) of as many identities sign in over loopback from two processes and stay;
then nobody says anything but pings, every 12 s. Prints seconds until all were signed in, the memory of the relay before
and after, kilobytes a connection, and the share of a processor that it takes while idle.
"""

import argparse
import asyncio
import json
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks import tls
from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Item, Limits
from mmplatform.identity.keys import Identity
from tests.support.exit_codes import exit_with

CROWDS = 2  # processes of clients
AT_ONCE = 64  # of one process that are signing in
IDLE = 40.0  # seconds over which the idle relay is watched: who answers no pings is cut after 36
PATIENCE = 120.0
SPARE = 200  # files a process needs beside its connections


@dataclass(frozen=True)
class Row:
    connections: int
    secured: str
    sign_in_seconds: float
    rss_before_mb: float
    rss_mb: float
    kb_a_connection: float
    idle_cpu_percent: float
    lost: int  # connections while idle
    retried: int  # attempts before


class Idler:
    """The owner of a client that has nothing to say."""

    downs = 0

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None: ...

    def relay_down(self, client: Client, reason: str) -> None:
        Idler.downs += 1

    def relay_writable(self, client: Client) -> None: ...


async def measure(count: int, plain: bool, idle: float = IDLE) -> Row:
    allow_files(count + SPARE)
    with tempfile.TemporaryDirectory(prefix="mm-idle-") as name:
        folder = Path(name)
        tls.create(folder / "tls")
        async with running(folder, plain) as relay:
            process = psutil.Process(relay.pid)
            before = process.memory_info().rss
            began = time.monotonic()
            crowds = [await crowd(relay, count // CROWDS, folder, plain) for _ in range(CROWDS)]
            try:
                retried = [int(await said(one, "signed in ")) for one in crowds]
                took = time.monotonic() - began
                used = process.cpu_times()
                start = time.monotonic()
                await asyncio.sleep(idle)
                cpu, seconds = process.cpu_times(), time.monotonic() - start
                rss = process.memory_info().rss
                lost = [int(await answer(one)) for one in crowds]
            finally:
                for one in crowds:
                    if one.returncode is None:
                        one.kill()
                    await one.communicate()
    busy = cpu.user + cpu.system - used.user - used.system
    signed_in = count // CROWDS * CROWDS
    return Row(
        signed_in, "plain" if plain else "TLS", round(took, 2), round(before / 1e6, 1), round(rss / 1e6, 1),
        round((rss - before) / 1000 / signed_in, 1), round(100 * busy / seconds, 2), sum(lost), sum(retried),
    )  # fmt: skip


@asynccontextmanager
async def running(folder: Path, plain: bool) -> AsyncIterator[RelayProcess]:
    options = ["--max-connections-per-address", "0", "--max-unproven", "0"]
    if not plain:
        options += ["--tls-certificate", str(folder / "tls" / tls.CERTIFICATE)]
        options += ["--tls-key", str(folder / "tls" / tls.KEY)]
    relay = RelayProcess(folder / "relay", *options, scheme="ws" if plain else "wss")
    await relay.start()
    try:
        yield relay
    finally:
        await relay.kill()


async def crowd(relay: RelayProcess, count: int, folder: Path, plain: bool) -> asyncio.subprocess.Process:
    trust = "" if plain else str(folder / "tls")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.relay_idle", "--crowd", relay.address, str(count), trust,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


async def said(process: asyncio.subprocess.Process, wanted: str) -> str:
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()
    if not line.startswith(wanted):
        raise RuntimeError(f"clients said {line!r} instead of {wanted!r}")
    return line.removeprefix(wanted)


async def answer(process: asyncio.subprocess.Process) -> str:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    return await said(process, "lost ")


async def be_a_crowd(address: str, count: int, trust: str) -> None:
    """In a process of its own: sign in ``count`` times, say so, and wait to be asked how many were lost."""
    allow_files(count + SPARE)
    context: ssl.SSLContext | None = tls.client_context(Path(trust)) if trust else None
    relay, turn = parse_relay(address), asyncio.Semaphore(AT_ONCE)

    async def sign_in() -> Client:
        client = Client(
            relay, Identity.generate(), Idler(), random=random.random, now=time.time, ssl_context=context, keep=True
        )
        async with turn:
            client.start()
            await client.connected(PATIENCE)
        return client

    clients = await asyncio.gather(*(sign_in() for _ in range(count)))
    print(f"signed in {Idler.downs}", flush=True)
    Idler.downs = 0
    await asyncio.to_thread(sys.stdin.readline)
    print(f"lost {Idler.downs + sum(not client.up for client in clients)}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def allow_files(count: int) -> None:
    """As many open files as that, for this process and those it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        raise SystemExit(f"{count} open files are needed and {most} allowed: ulimit -n {count}, or --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def render(rows: list[Row]) -> str:
    from benchmarks.table import aligned

    head = ("idle connections", "", "signed in", "relay RSS", "KB each", "idle CPU", "lost")
    return aligned([
        head,
        *(
            (
                f"{row.connections:,}", row.secured, f"{row.sign_in_seconds:.1f} s",
                f"{row.rss_before_mb:.0f} -> {row.rss_mb:.0f} MB", f"{row.kb_a_connection:.1f}",
                f"{row.idle_cpu_percent:.1f} %", str(row.lost),
            )
            for row in rows
        ),
    ])  # fmt: skip


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay_idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--plain", action="store_true", help="without TLS, too")
    parser.add_argument("--seconds", type=float, default=IDLE, help="to watch the idle relay")
    parser.add_argument("--json", type=Path, help="write the rows there")
    options = parser.parse_args()
    rows = [
        await measure(options.connections, plain, options.seconds) for plain in ([False, True][: 1 + options.plain])
    ]
    print(render(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))
    return 0 if all(row.lost == 0 for row in rows) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(be_a_crowd(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    else:
        exit_with(lambda: asyncio.run(main()))
