"""A real terminal: tmux, with a bash in it that knows ``mm``."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Final

import pytest

from tests.support.cli import MM
from tests.support.waiting import wait_until

ROWS: Final = 400

needs_tmux = pytest.mark.skipif(which("tmux") is None, reason="tmux is not installed: apt-get install tmux")


def mm_on_path(folder: Path) -> str:
    """A folder with ``mm`` in it, before all others of PATH."""
    folder.mkdir(exist_ok=True)
    script = folder / "mm"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(MM)} "$@"\n')
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


class Tmux:
    """One window of ``columns`` and ``rows``, with a server of its own."""

    def __init__(self, folder: Path, columns: int, rows: int = ROWS, **environment: str) -> None:
        self._socket, self._number = folder / f"tmux{len(list(folder.glob('tmux*')))}", 0
        settings = folder / "bashrc"
        settings.write_text("PS1=\nbind 'set enable-bracketed-paste off'\n")
        given = {
            "PATH": mm_on_path(folder / "bin"), "MM_DATA": str(folder / "node"), "MM_SERVICES": "none",
            "HOME": str(folder), "COLUMNS": "", **environment,
        }  # fmt: skip
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "COLUMNS")}
        self._environment = inherited | given
        kind = f"TERM={environment['TERM']} " if "TERM" in environment else ""  # else tmux says what it is
        shell = f"exec env -u COLUMNS {kind}bash --noprofile --rcfile {shlex.quote(str(settings))}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), shell)

    def run(self, line: str) -> str:
        """Run a line to its end; the screen, which ends with "exit code N"."""
        self.start(line)
        return self.ended()

    def start(self, line: str) -> None:
        """Begin a line on an empty screen."""
        self._number += 1
        self.keys(f'clear; {line}; echo exit code $?; echo "#"{self._number}', "Enter")

    def ended(self, *options: str) -> str:
        """The screen once the line has ended."""
        end = f"\n#{self._number}"
        return wait_until(lambda: found if (found := self.screen(*options)).endswith(end) else "").removesuffix(end)

    def keys(self, *keys: str) -> None:
        """Press keys, by their names in tmux, or type text."""
        self._tmux("send-keys", *keys)

    def shown(self, text: str, *options: str) -> str:
        """The screen once it shows ``text``, and nothing any more of the line before."""
        before = f"\n#{self._number - 1}"
        return wait_until(lambda: found if text in (found := self.screen(*options)) and before not in found else "")

    def screen(self, *options: str) -> str:
        """What is seen; with -J lines that the terminal has broken are whole, with -e colours are there."""
        return self._tmux("capture-pane", "-p", *options).rstrip()

    def close(self) -> None:
        """End the server, and all that runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


OpenTerminal = Callable[..., Tmux]
