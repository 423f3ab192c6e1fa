"""Inside one process: the local bus beside bare pyee, wildcards, and what importing and idling cost.

``python -m benchmarks.local`` prints the rows as JSON; the runner starts it in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from benchmarks.table import aligned, number

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = 10_000
NAMES = 4_000
REPEATS = 5
IMPORTS = 7
SETTLE = 1.0
IMPORT = """
import time
start = time.perf_counter()
import mmplatform
mmplatform.Platform
print((time.perf_counter() - start) * 1000)
"""


@dataclass(frozen=True)
class Row:
    name: str
    unit: str
    mm: float | None = None
    pyee: float | None = None
    error: str = ""


def measure(quick: bool) -> list[Row]:
    emits = 20_000 if quick else 100_000
    return [
        _row("emit to 1 handler", "emits/s", lambda: emit(1, emits)),
        _row("emit to 10 handlers", "emits/s", lambda: emit(10, emits // 4)),
        _row("find handlers, 10,000 patterns, cold", "names/s", lambda: (wildcards()[0], None)),
        _row("find handlers, 10,000 patterns, cached", "names/s", lambda: (wildcards()[1], None)),
        _row("import mmplatform", "ms", lambda: (import_time(), None)),
        _row("idle node", "MB RSS", lambda: (idle_memory(), None)),
    ]


def _row(name: str, unit: str, values: Callable[[], tuple[float, float | None]]) -> Row:
    try:
        mm, pyee = values()
    except Exception as error:  # a row that cannot be measured is named, the others still count
        return Row(name, unit, error=f"{type(error).__name__}: {error}")
    return Row(name, unit, round(mm, 2), None if pyee is None else round(pyee, 2))


def emit(handlers: int, count: int) -> tuple[float, float]:
    """Emits a second through the platform's bus, and through a bare pyee emitter."""
    from pyee.base import EventEmitter

    from mmplatform.messaging.bus import Bus

    bus, emitter = Bus(_raise), EventEmitter()
    for _ in range(handlers):
        bus.on("self.bench", _new_handler())
        emitter.on("self.bench", _new_handler())

    def through_bus() -> None:
        for _ in range(count):
            if route := bus.route("self", "bench"):
                bus.deliver(route, "sender", b"payload")

    def through_pyee() -> None:
        for _ in range(count):
            emitter.emit("self.bench", "self.bench", "sender", b"payload")

    return rate(count, through_bus), rate(count, through_pyee)


@cache
def wildcards() -> tuple[float, float]:
    """Names a second whose handlers are found among 10,000 patterns, the first time and from then on."""
    from mmplatform.messaging.bus import Bus

    bus = Bus(_raise)
    for position in range(PATTERNS):
        bus.on(_pattern(position), _new_handler())
    topics = [f"area{name % 100}.site{name // 100}.sensor{name % 17}" for name in range(NAMES)]

    def find() -> int:
        return sum(bus.route("self", topic) is not None for topic in topics)

    start = time.perf_counter()
    if find() < NAMES // 2:
        raise RuntimeError("the names should match most of the patterns")
    return NAMES / (time.perf_counter() - start), rate(NAMES, find)


def import_time() -> float:
    """Milliseconds of ``import mmplatform`` (with its Platform) in a fresh process, the median of seven."""
    return statistics.median(_import_time() for _ in range(IMPORTS))


def _import_time() -> float:
    # A node in use has its bytecode at hand, whatever the shell that measures says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", IMPORT]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environment)
    if result.returncode:
        raise RuntimeError(_last_line(result.stderr))
    return float(result.stdout)


def idle_memory() -> float:
    """Megabytes of a node with a folder of its own that listens and has nothing to do."""
    import psutil  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="mm-idle-") as folder:
        command = [sys.executable, "-m", "benchmarks.idle", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as node:
            try:
                assert node.stdout is not None
                assert node.stderr is not None
                if node.stdout.readline() != b"ready\n":
                    raise RuntimeError(_last_line(node.stderr.read().decode(errors="replace")))
                time.sleep(SETTLE)
                return float(psutil.Process(node.pid).memory_info().rss) / 1e6
            finally:
                node.kill()


def rate(count: int, work: Callable[[], object]) -> float:
    seconds: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)


def render(rows: Sequence[Row]) -> str:
    table: list[Sequence[str]] = [("in one process", "unit", "mm", "pyee", "mm/pyee")]
    for row in rows:
        if row.mm is None:
            table.append((f"  {row.name}  failed: {row.error}",))
            continue
        beside = (number(row.pyee), f"{row.mm / row.pyee:.2f}") if row.pyee else ("", "")
        table.append((row.name, row.unit, number(row.mm), *beside))
    return aligned(table)


def _pattern(position: int) -> str:
    """Every position gives another one, a third of each kind."""
    one, other = position % 100, position // 100
    kinds = (f"self.area{one}.site{other}.*", f"*.area{one}.site{other}.>", f"self.area{one}.*.sensor{other}")
    return kinds[(one + other) % 3]


def _new_handler() -> Callable[[str, str, object], None]:
    def handler(topic: str, sender: str, payload: object) -> None:
        pass

    return handler


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _raise(error: Exception, topic: str) -> None:
    raise error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    print(json.dumps([asdict(row) for row in measure(parser.parse_args().quick)]))


if __name__ == "__main__":
    main()
