"""The runner's side of one process of a measurement: start it, hear its events, read its CPU and memory, end it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

from benchmarks.contract import Info, Job

Event = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 3.0
"""Seconds a process may take to leave after its stdin has closed."""


class MeasurementFailed(Exception):
    """A process of a measurement ended early or stayed silent; the text has the end of what it wrote to stderr."""


@dataclass(frozen=True)
class Usage:
    cpu: float
    rss: float
    """Seconds and megabytes."""


class Worker:
    """One role of one peer, in a process of its own (:mod:`benchmarks.driver`)."""

    def __init__(self, name: str, process: Process, log: Path, log_file: IO[bytes]) -> None:
        self.name = name
        self._process = process
        self._log, self._log_file = log, log_file
        self._measured: psutil.Process | None = None

    @classmethod
    async def start(cls, role: str, peer: str, job: Job, loop: str) -> "Worker":
        log = job.folder.parent / f"{job.folder.name}-{role}.log"
        log_file = log.open("wb")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.driver", role, peer, job.workload.name),
            *("--count", str(job.count), "--port", str(job.port), "--loop", loop),
            *("--folder", str(job.folder), "--tls", str(job.tls)),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log_file,
        )
        return cls(f"{peer} {role}", process, log, log_file)

    async def event(self, name: str, timeout: float) -> Event:
        """The next event of this name; a library's own prints are passed over."""
        try:
            async with asyncio.timeout(timeout):
                return await self._next(name)
        except TimeoutError:
            raise MeasurementFailed(f"{self.name}: no {name} within {timeout:.0f} s{self._last_words()}") from None

    async def _next(self, name: str) -> Event:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == name:
                if "pid" in event:
                    self._measured = psutil.Process(event["pid"])
                return event
        raise MeasurementFailed(f"{self.name}: ended before {name}{self._last_words()}")

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def tell_info(self, info: Info) -> None:
        self.tell(json.dumps(info))

    def usage(self) -> Usage:
        """Of the process that does the work, which for a broker is not the Python around it."""
        assert self._measured is not None, "no ready event yet"
        try:
            times, memory = self._measured.cpu_times(), self._measured.memory_info()
        except psutil.Error as error:
            raise MeasurementFailed(f"{self.name}: {error}{self._last_words()}") from None
        return Usage(times.user + times.system, memory.rss / 1e6)

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._log_file.close()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:300]} ({self._log})" if lines else ""
