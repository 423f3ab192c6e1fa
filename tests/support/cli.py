"""Real ``mm`` processes on real folders."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmplatform.storage.folder import DataFolder
from tests.support.waiting import wait_until

PATIENCE = 30.0
INTERRUPTED = 130  # the exit code after Ctrl-C
MM = (sys.executable, "-m", "mmplatform.cli")
LOOPBACK = ("tcp://127.0.0.1:0",)


class Node:
    """One data folder, and the commands that run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = DataFolder(folder).control
        self._stdout, self._stderr = folder.with_suffix(".out"), folder.with_suffix(".err")
        self._stdout.touch()
        self._stderr.touch()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, stdin: Any = subprocess.DEVNULL, stdout: Any = None) -> "subprocess.Popen[bytes]":
        """A command in the background; ``stdout`` by default goes to ``<folder>.out``, stderr to ``<folder>.err``."""
        command = (*MM, "--data", str(self.folder), *arguments)
        with self._stdout.open("ab") as out, self._stderr.open("ab") as err:
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout or out, stderr=err)
        self.processes.append(process)
        return process

    def serve(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command that is a node, and wait until it answers."""
        process = self.start(*arguments)
        wait_until(lambda: self.holder() == process.pid)
        return process

    def holder(self) -> int:
        """The process that answers on the control socket."""
        if not self.control.is_socket():
            return 0
        lock = self.folder / "lock"
        return int(lock.read_text() or 0)

    def mm(self, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        """A command in the foreground."""
        return subprocess.run(
            (*MM, "--data", str(self.folder), *arguments), input=stdin, capture_output=True, timeout=PATIENCE
        )

    @property
    def out(self) -> str:
        return self._stdout.read_text()

    @property
    def err(self) -> str:
        return self._stderr.read_text()

    @property
    def lines(self) -> int:
        return self.out.count("\n")

    def payloads(self) -> list[Any]:
        """Of what ``mm on --json`` printed."""
        return [json.loads(line)["payload"] for line in self.out.splitlines()]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def end(process: "subprocess.Popen[bytes]", number: int = signal.SIGINT) -> int:
    process.send_signal(number)
    return process.wait(PATIENCE)
