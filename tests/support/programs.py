"""Programs in Python that tests start, examples and those of pages: real processes, spoken to by lines."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 30.0
PLACES: Final = os.pathsep.join(str(ROOT / part) for part in (".", "relay", "services", "transports"))


def environment() -> dict[str, str]:
    """That of a program which finds this checkout; a warning is an error, and no node finds another one by itself."""
    return {**os.environ, "PYTHONPATH": PLACES, "PYTHONWARNINGS": "error", "MM_SERVICES": "none"}


class Program:
    """One process: ``write`` gives it a line, ``line`` takes the next one that it prints."""

    def __init__(self, *command: str | Path, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=cwd, env=environment(), text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self, number: int | None = signal.SIGTERM) -> tuple[int, str]:
        """Send it a signal, or close its stdin only; its exit code and what it printed since. It has no complaints."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert err == ""
        return self.process.returncode, out

    def kill(self) -> None:
        """End it at once, if it runs."""
        self.process.kill()
        self.process.communicate()
