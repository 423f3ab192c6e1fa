"""docs/rmb.rst, done as it says: two secrets, two twins, a relay, a bot, and who asks it."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.cli import MM, PATIENCE

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs" / "rmb.rst").read_text()
PATHS: Final = os.pathsep.join(str(ROOT / part) for part in (".", "relay", "services", "transports"))


def commands() -> list[str]:
    """Return the commands of the first section, in order."""
    section = PAGE.partition("A world on a laptop")[2].partition("A bot in Python")[0]
    return re.findall(r"^    (\S.*)$", section, re.MULTILINE)


class Begin:
    """Starts programs in a folder, and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str, sign: str, **environment: str) -> str:
        """Start a program; return its first line with ``sign`` in it."""
        errors = self._folder / f"stderr.{len(self._started)}"
        with errors.open("w") as file:
            process = subprocess.Popen(
                words, cwd=self._folder, stdout=subprocess.PIPE, stderr=file, text=True,
                env=os.environ | {"PYTHONPATH": PATHS, **environment},
            )  # fmt: skip
        self._started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if sign in line:
                return line
        raise AssertionError(f"{words} ended with {process.wait()}: {errors.read_text()}")

    def end_last(self) -> None:
        """End the program that was started last."""
        process = self._started.pop()
        process.kill()
        process.communicate()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started = Begin(tmp_path)
    yield started
    while started._started:
        started.end_last()


@pytest.mark.slow
def test_a_world_on_a_laptop(begin: Begin, tmp_path: Path) -> None:
    said = commands()
    assert [command.split()[0] for command in said] == ["python3", "python3", "mm", "mm", "mm", "python", "mm"]
    secrets, adding, relay, bot, asking = said[:2], said[2:4], said[4], said[5], said[6]
    for command in secrets:
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=PATIENCE)
    for command in adding:
        subprocess.run([*MM, *command.split()[1:]], cwd=tmp_path, check=True, timeout=PATIENCE, capture_output=True)
    data = ["--data", str(tmp_path / "relay")]
    ready = json.loads(begin(*MM, "--json", *data, *relay.split()[1:], "--listen", "127.0.0.1:0", sign='"ready"'))
    host = ready["listening"]

    def here(command: str) -> list[str]:
        return command.replace("127.0.0.1:8080", host).split()[1:]

    # The port is another one than that of the page, so the twins of its file have to name it.
    text = (tmp_path / "twins.toml").read_text()
    (tmp_path / "twins.toml").write_text(text.replace("127.0.0.1:8080", host))
    program = [word.replace("examples/", f"{ROOT}/examples/") for word in here(bot)]
    assert begin(sys.executable, *program, sign="adds") == "twin 30 adds\n"
    arguments = [*here(asking)[:4], "-j", "[1, 2]", "--secret-file", "alice.secret", "--file", "twins.toml"]
    answer = subprocess.run(
        [*MM, "--data", str(tmp_path / "asker"), *arguments], cwd=tmp_path, check=True, timeout=PATIENCE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert answer.stdout == "3\n"


@pytest.mark.slow
def test_peers_and_twins(begin: Begin, tmp_path: Path) -> None:
    section = PAGE.partition("Peers and twins")[2].partition("What a relay gives twins")[0]
    rules = textwrap.dedent(section.partition(":caption: bridge.toml\n\n")[2].partition("``Platform(")[0])
    asking = re.findall(r"^    (mm request .*)$", section, re.MULTILINE)[0].split()
    relay = json.loads(
        begin(
            *MM, "--json", "--data", str(tmp_path / "relay"), "relay", "--rmb", "--twins", str(twins(tmp_path)),
            "--listen", "127.0.0.1:0", sign='"ready"',
        )
    )["listening"]  # fmt: skip
    for line in ("10 alice", "77 bob", "30 bot"):
        number, name = line.split()
        (tmp_path / f"{name}.secret").write_text(f"0x{bytes([int(number)] * 32).hex()}\n")
        add = ["rmb", "twin", "add", number, "--secret-file", f"{name}.secret", "--relay", f"ws:/{relay}"]
        subprocess.run([*MM, *add, "--file", "twins.toml"], cwd=tmp_path, check=True, timeout=PATIENCE)
    (tmp_path / "bridge.toml").write_text(rules)
    bot, bridging = (str(ROOT / "examples" / f"rmb_{name}.py") for name in ("bot", "bridge"))
    begin(sys.executable, bot, "bot.secret", "twins.toml", "30", f"ws://{relay}/", sign="adds")
    assert begin(sys.executable, bridging, "node", "bridge.toml", "calculator", sign="3") == "3\n"
    begin.end_last()
    node = [*MM, "--data", str(tmp_path / "node")]
    run = ["run", "--service", "rmb_bridge", "--listen", "tcp://127.0.0.1:0"]
    begin(*node, "--json", *run, sign='"ready"', MM_RMB_BRIDGE="bridge.toml")
    answer = subprocess.run(
        [*node, *shlex.split(" ".join(asking[1:]))], cwd=tmp_path, timeout=PATIENCE, capture_output=True, text=True
    )
    assert answer.stdout == "3\n", answer.stderr


def twins(folder: Path) -> Path:
    """Return a file of twins without any."""
    path = folder / "twins.toml"
    path.touch()
    return path
