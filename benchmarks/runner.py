"""One measurement from start to end, and the order of all of them: peers interleaved in rounds.

A slow minute of the machine then hits everybody, and the medians over the rounds forget it.
"""

import asyncio
import shutil
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contract import Job
from benchmarks.process import Event, MeasurementFailed, Usage, Worker
from benchmarks.registry import Entry
from benchmarks.results import Measurement
from benchmarks.workloads import DEPTHS, PIPELINING, Workload, workload

ATTEMPTS = 2
"""After so many failures a peer's workload is not tried again in later rounds."""

Step = tuple[int, Workload, Entry]


@dataclass(frozen=True)
class Settings:
    """``share``: the part of a full round's messages that is sent; ``timeout``: seconds for each wait."""

    state: Path
    loop: str = "asyncio"
    share: float = 1.0
    timeout: float = 30.0


def plan(entries: Sequence[Entry], workloads: Iterable[str], rounds: int) -> list[Step]:
    """Every round takes the workloads in turn, every workload the peers in turn, beginning with another each round."""
    steps: list[Step] = []
    names = list(workloads)
    for number in range(rounds):
        for name in names:
            peers = [entry for entry in entries if name in entry.counts]
            first = number % len(peers) if peers else 0
            steps += [(number, workload(name), entry) for entry in peers[first:] + peers[:first]]
    return steps


class Runner:
    """Takes the steps of a plan one by one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failures: Counter[tuple[str, str]] = Counter()

    async def run(self, step: Step) -> Measurement | None:
        """None when this peer has failed at this workload too often."""
        number, task, entry = step
        if self._failures[task.name, entry.name] >= ATTEMPTS:
            return None
        count = max(1, round(entry.counts[task.name] * self._settings.share))
        job = self._job(task, entry, count)
        try:
            return await self._measure(entry, job, number)
        except (MeasurementFailed, OSError) as error:
            self._failures[task.name, entry.name] += 1
            return Measurement(entry.name, task.name, number, count, error=str(error))
        finally:
            shutil.rmtree(job.folder, ignore_errors=True)

    def _job(self, task: Workload, entry: Entry, count: int) -> Job:
        folder = self._settings.state / f"{entry.name}-{task.name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Job(task, count, free_port(), folder, self._settings.state / "tls")

    async def _measure(self, entry: Entry, job: Job, number: int) -> Measurement:
        timeout, task = self._settings.timeout, job.workload
        async with self._workers(entry, job) as workers:
            sender, receiver = workers["sender"], workers["receiver"]
            sender.tell_info((await receiver.event("ready", timeout))["info"])
            await sender.event("ready", timeout)
            if task.to_receiver:
                await receiver.event("warm", timeout)
            before = {role: worker.usage() for role, worker in workers.items()}
            sender.tell("go")
            result = await sender.event("result", timeout)
            if task.to_receiver:
                result["end"] = max(result["end"], (await receiver.event("result", timeout))["end"])
            after = {role: worker.usage() for role, worker in workers.items()}
        return measurement(entry, job, number, result, before, after)

    @asynccontextmanager
    async def _workers(self, entry: Entry, job: Job) -> AsyncIterator[dict[str, Worker]]:
        """The broker first; then receiver and sender side by side, since both begin with their imports."""
        workers: dict[str, Worker] = {}
        try:
            if entry.program:
                workers["broker"] = await Worker.start("broker", entry.name, job, self._settings.loop)
                await workers["broker"].event("ready", self._settings.timeout)
            for role in ("receiver", "sender"):
                workers[role] = await Worker.start(role, entry.name, job, self._settings.loop)
            yield dict(reversed(workers.items()))
        finally:
            await asyncio.gather(*(worker.stop() for role, worker in workers.items() if role != "broker"))
            if "broker" in workers:
                await workers["broker"].stop()


def measurement(
    entry: Entry, job: Job, number: int, result: Event, before: dict[str, Usage], after: dict[str, Usage]
) -> Measurement:
    seconds = result["end"] - result["start"]
    return Measurement(
        entry.name,
        job.workload.name,
        number,
        job.count,
        value=_value(job, result, seconds),
        seconds=round(seconds, 4),
        p99=result["p99"] * _per_second(job.workload) if "p99" in result else None,
        cpu={role: round((after[role].cpu - before[role].cpu) / job.count * 100_000, 3) for role in after},
        rss={role: round(usage.rss, 1) for role, usage in after.items()},
        depths=result.get("depths", {}),
    )


def _value(job: Job, result: Event, seconds: float) -> float:
    task = job.workload
    if task.name == PIPELINING.name:
        deepest: Event = result["depths"]["request"][str(DEPTHS[-1])]
        return float(deepest["per_message"])
    if task.lower_is_better:
        return float(result["p50"]) * _per_second(task)
    if task.unit == "MB/s":
        return job.count * task.size / seconds / 1e6
    return job.count / seconds


def _per_second(task: Workload) -> float:
    return {"us": 1e6, "ms": 1e3}[task.unit]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
