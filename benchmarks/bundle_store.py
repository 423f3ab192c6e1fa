"""What 100,000 bundles of 1 kB cost a carrier: ``python -m benchmarks.bundle_store`` (QUICK=1: a tenth).

Two processes, one after the other. The first adds them, some one at a time and the others 500 side by side, and asks
for its ids. The second opens the store again. Printed: bundles a second, the time it takes to open, and memory.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from tests.support.bundle_stores import ALICE, BOB, CAROL, DAVE, MadeBundle, TestedStore, make_bundle
from tests.support.exit_codes import exit_with

COUNT: Final = 10_000 if os.environ.get("QUICK") else 100_000
ALONE: Final = 2_000  # added one at a time
TOGETHER: Final = 500
SENDERS: Final = (ALICE, BOB, CAROL, DAVE)


def made(count: int) -> list[MadeBundle]:
    return [make_bundle(os.urandom(1000), sender=SENDERS[i % len(SENDERS)]) for i in range(count)]


async def fill(folder: Path) -> None:
    store = TestedStore(folder)
    await store.open()
    spent = 0.0
    alone = made(ALONE)
    began = time.perf_counter()
    for each in alone:
        await store.take(each)
    print(f"  one at a time {ALONE / (time.perf_counter() - began):,.0f} bundles/s")
    for _ in range((COUNT - ALONE) // TOGETHER):
        some = made(TOGETHER)
        began = time.perf_counter()
        await asyncio.gather(*(store.take(each) for each in some))
        spent += time.perf_counter() - began
    print(f"  {TOGETHER} side by side {(COUNT - ALONE) / spent:,.0f} bundles/s")
    began = time.perf_counter()
    ids = store.ids()
    print(f"  its {len(ids) // 16:,} ids in {(time.perf_counter() - began) * 1e3:.1f} ms")
    await store.close()
    print(f"  memory while it was filled {memory():.1f} MB")


async def open_again(folder: Path) -> None:
    empty = memory()
    store = TestedStore(folder)
    began = time.perf_counter()
    await store.open()
    seconds = time.perf_counter() - began
    assert store.usage().bundles == COUNT
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"  open in {seconds * 1e3:.0f} ms (limit 1000)")
    print(f"  memory {memory():.1f} MB, at most {peak:.1f} MB (limit 100; without a store {empty:.1f} MB)")
    await store.close()
    if seconds > 1 or peak > 100:
        raise SystemExit(1)


def memory() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> int:
    print(f"{COUNT:,} bundles of 1 kB", flush=True)
    with tempfile.TemporaryDirectory(prefix="mm-bundles-") as folder:
        for step in ("fill", "open"):
            found = subprocess.run([sys.executable, "-m", "benchmarks.bundle_store", step, folder])
            if found.returncode:
                return found.returncode
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 1:
        exit_with(main)
    asyncio.run({"fill": fill, "open": open_again}[sys.argv[1]](Path(sys.argv[2])))
