"""What idle connections cost a relay: ``python -m benchmarks.relay_idle [--connections 5000] [--plain] [--rmb]``.

Real clients (``mm_transports.relay.client``) of as many identities, or twins of RMB, sign in over loopback from two
processes and stay; then nobody says anything but pings, every 12 s. Prints seconds until all were signed in, the memory
of the relay before and after, kilobytes a connection, and the share of a processor that it takes while idle.
"""

import argparse
import asyncio
import json
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
from benchmarks.relay_crowd import PATIENCE, SPARE, allow_files, write_twins
from benchmarks.relay_process import RelayProcess
from tests.support.exit_codes import exit_with

CROWDS = 2  # processes of clients
IDLE = 40.0  # seconds over which the idle relay is watched: who answers no pings is cut after 36


@dataclass(frozen=True)
class Row:
    connections: int
    door: str
    secured: str
    sign_in_seconds: float
    rss_before_mb: float
    rss_mb: float
    kb_a_connection: float
    idle_cpu_percent: float
    lost: int  # connections while idle
    retried: int  # attempts before

    def mb_of(self, connections: int) -> float:
        """Return the memory of a relay with so many connections."""
        return self.rss_before_mb + self.kb_a_connection * connections / 1000


async def measure(count: int, plain: bool, idle: float = IDLE, *, rmb: bool = False) -> Row:
    allow_files(count + SPARE)
    with tempfile.TemporaryDirectory(prefix="mm-idle-") as name:
        folder = Path(name)
        tls.create(folder / "tls")
        each = count // CROWDS
        async with running(folder, plain, rmb=CROWDS * each if rmb else 0) as relay:
            process = psutil.Process(relay.pid)
            before = process.memory_info().rss
            began = time.monotonic()
            trust = "" if plain else str(folder / "tls")
            door = "rmb" if rmb else "native"
            crowds = [await crowd(door, relay.address, 1 + number * each, each, trust) for number in range(CROWDS)]
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
    signed_in = CROWDS * each
    return Row(
        signed_in, door, "plain" if plain else "TLS", round(took, 2), round(before / 1e6, 1), round(rss / 1e6, 1),
        round((rss - before) / 1000 / signed_in, 1), round(100 * busy / seconds, 2), sum(lost), sum(retried),
    )  # fmt: skip


@asynccontextmanager
async def running(folder: Path, plain: bool, rmb: int = 0) -> AsyncIterator[RelayProcess]:
    """Run a relay, with so many twins of RMB."""
    options = ["--max-connections-per-address", "0", "--max-unproven", "0"]
    if rmb:
        options += ["--rmb", "--twins", str(write_twins(folder / "twins.toml", rmb))]
    if not plain:
        options += ["--tls-certificate", str(folder / "tls" / tls.CERTIFICATE)]
        options += ["--tls-key", str(folder / "tls" / tls.KEY)]
    relay = RelayProcess(folder / "relay", *options, scheme="ws" if plain else "wss")
    await relay.start()
    try:
        yield relay
    finally:
        await relay.kill()


async def crowd(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.relay_crowd", *map(str, arguments),
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


def render(rows: list[Row]) -> str:
    from benchmarks.table import aligned

    head = ("idle connections", "door", "", "signed in", "relay RSS", "KB each", "idle CPU", "lost")
    return aligned([
        head,
        *(
            (
                f"{row.connections:,}", row.door, row.secured, f"{row.sign_in_seconds:.1f} s",
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
    parser.add_argument("--rmb", action="store_true", help="twins at the door for RMB")
    parser.add_argument("--seconds", type=float, default=IDLE, help="to watch the idle relay")
    parser.add_argument("--json", type=Path, help="write the rows there")
    options = parser.parse_args()
    rows = [
        await measure(options.connections, plain, options.seconds, rmb=options.rmb)
        for plain in ([False, True][: 1 + options.plain])
    ]
    print(render(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))
    return 0 if all(row.lost == 0 for row in rows) else 1


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
