"""How far a run is, on stderr: a bar on a terminal, a line a measurement elsewhere."""

import sys
import time
from typing import TextIO

from benchmarks.results import Measurement
from benchmarks.table import number
from benchmarks.workloads import workload

WIDTH = 24


class Progress:
    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total, self._done = total, 0
        self._stream = stream or sys.stderr
        self._started = time.monotonic()

    def begin(self, what: str) -> None:
        if self._stream.isatty():
            filled = WIDTH * self._done // max(1, self._total)
            bar = "#" * filled + "." * (WIDTH - filled)
            self._write(f"\r\033[K[{bar}] {self._done}/{self._total}  {self._left()}{what}")

    def end(self, row: Measurement | None = None) -> None:
        """One step further; failures stay on the screen, everything does where there is no bar."""
        self._done += 1
        if row is not None and (row.error or not self._stream.isatty()):
            head = f"[{self._done}/{self._total}] round {row.round + 1} {row.workload:4} {row.peer:18}"
            unit = workload(row.workload).unit
            text = f"failed: {row.error}" if row.error else f"{number(row.value):>10} {unit} ({row.seconds:.2f} s)"
            self._write(("\r\033[K" if self._stream.isatty() else "") + f"{head} {text}\n")

    def close(self) -> None:
        if self._stream.isatty():
            self._write("\r\033[K")

    def _left(self) -> str:
        if not self._done:
            return ""
        seconds = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"{seconds:.0f} s left  "

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
