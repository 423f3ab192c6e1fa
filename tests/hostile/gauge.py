"""Reads from /proc what a process uses, all the time while an attack runs."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

from tests.hostile.asking import percentile

EVERY: Final = 0.05  # seconds between two looks at the memory
NAP: Final = 0.005  # seconds that the one who only sleeps wants to sleep
DESCRIPTORS_EVERY: Final = 4  # looks at the memory between two at the descriptors
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def rss(pid: int) -> int:
    """Return the memory of a process in bytes; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def written(pid: int) -> int:
    """Return the bytes that a process has had written to disk."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def descriptors(pid: int) -> int:
    """Return how many files, sockets and pipes a process has open."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def processor(pid: int) -> float:
    """Return the seconds that a process has computed."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Gauge:
    """Keeps the highest values of a process between :meth:`start` and :meth:`stop`.

    ``stall``: by how much a process that only sleeps woke too late, in seconds, of a hundred times the worst but one:
    what everybody on this machine waits for the processor.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.rss_peak = self.descriptors_peak = 0
        self.stall = 0.0
        self._late: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._look(True)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()), loop.create_task(self._nap())]

    def stop(self) -> None:
        self._look(True)
        self.stall = percentile(self._late)
        for task in self._tasks:
            task.cancel()

    async def _nap(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(NAP)
            self._late.append(time.monotonic() - begun - NAP)

    async def _run(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(EVERY)
            number += 1
            self._look(number % DESCRIPTORS_EVERY == 0)

    def _look(self, at_descriptors: bool) -> None:
        self.rss_peak = max(self.rss_peak, rss(self._pid))
        if at_descriptors:
            self.descriptors_peak = max(self.descriptors_peak, descriptors(self._pid))
