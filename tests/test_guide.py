"""The guide, followed from the top: its shell lines and its programs, as real processes, one beside the other."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import MM
from tests.support.documents import ROOT, blocks
from tests.support.packages import run_tests, write_programs
from tests.support.programs import Program, environment

PAGE = ROOT / "docs" / "guide.rst"
WORDS = (1500, 4000)  # of a page that is read in twenty minutes

pytestmark = pytest.mark.slow


def shell(number: int) -> str:
    """One of the page's blocks for a shell."""
    return [block for block in blocks(PAGE) if block.language == "sh"][number].code


def here(text: str, folder: Path) -> str:
    return text.replace("/tmp/", f"{folder}/")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The folder with the programs of the page, which have their data in it, too."""
    names = write_programs(PAGE, tmp_path)
    assert names == ["bob.py", "alice.py", "behind_nat.py", "test_orders.py"]
    for name in names:
        (tmp_path / name).write_text(here((tmp_path / name).read_text(), tmp_path))
    return tmp_path


@pytest.fixture
def begun() -> Iterator[list[Any]]:
    """What is ended with the test."""
    found: list[Any] = []
    yield found
    for each in reversed(found):
        each.kill()


def mm_in(folder: Path) -> dict[str, str]:
    """An environment in which ``mm`` is a command."""
    script = folder / "bin" / "mm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {MM[2]} "$@"\n')
    script.chmod(0o755)
    return {**environment(), "PATH": f"{script.parent}:{os.environ['PATH']}"}


def test_two_people_from_a_shell_and_then_in_programs(programs: Path, begun: list[Any]) -> None:
    out = programs / "out"
    script = here(shell(0), programs) + f"kill $(cat {programs}/bob/lock)\nwait\n"
    with out.open("wb") as to:
        done = subprocess.run(["bash", "-euc", script], env=mm_in(programs), stdout=to, stderr=to, timeout=60)
    told = out.read_text().splitlines()
    assert done.returncode in (0, 143), told
    assert [line for line in told if line.startswith("friends.chat")] == [
        "friends.chat alice hello, Bob",
        "friends.chat alice are you there?",
    ]
    assert len([line for line in told if line.startswith("delivered")]) == 2
    bob = Program("bob.py", cwd=programs)
    begun.append(bob)
    alice = Program("alice.py", cwd=programs)
    begun.append(alice)
    code, said = alice.end(None)
    assert code == 0
    assert said.splitlines()[1:] == ["Outcome(state='delivered', reason='')", "3"]
    assert bob.end(signal.SIGTERM) == (0, "alice: hello, Bob\n")


def test_a_program_behind_a_relay(programs: Path, begun: list[Any]) -> None:
    command = here(shell(1), programs).replace("8080", "0").split()
    assert command[0] == "mm"
    relay = Program(*MM[1:], *command[1:])
    begun.append(relay)
    bot = Program("behind_nat.py", relay.line(), cwd=programs)
    begun.append(bot)
    asker = (*MM, "--data", str(programs / "asker"))
    subprocess.run([*asker, "add", bot.line(), "--name", "bot"], check=True, env=environment(), timeout=60)
    said = subprocess.run([*asker, "request", "bot", "time"], capture_output=True, env=environment(), timeout=60)
    assert said.stdout.startswith(b"20"), said
    assert bot.end() == (0, "")


def test_the_tests_of_an_application(programs: Path) -> None:
    assert run_tests(programs / "test_orders.py", programs) == {"passed": 1}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    [unit] = [block.code for block in blocks(PAGE) if block.language == "ini"]
    file = tmp_path / "bot.service"
    file.write_text(unit.replace("/opt/bot/bin/python", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_can_be_installed_is_there() -> None:
    """Every extra that an application may want, and no other."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = re.findall(r"mm-platform\[(.*)\]", settings["options.extras_require"]["all"])[0].split(",")
    table = PAGE.read_text("utf-8").partition("Two people, from a shell")[0]
    assert sorted(re.findall(r"^``([a-z-]+)`` ", table, re.MULTILINE)) == sorted([*extras, "testing"])


def test_it_has_what_a_newcomer_needs_in_the_order_in_which_it_is_needed() -> None:
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^(.+)\n-{4,}$", text, re.MULTILINE) == [
        "Install it",
        "Two people, from a shell",
        "The same in a program",
        "Who may say what: scopes and circles",
        "Sending",
        "Handlers",
        "Requests",
        "Far away: relays",
        "Test your application",
        "A node under systemd",
        "Your key",
        "From NATS, from MQTT",
        "Where to read on",
    ]
    installs = re.findall(r"^   .*pip install .*$", text, re.MULTILINE)
    assert "mm-platform" in installs[0], "from PyPI first"
    key = text.partition("\nYour key\n")[2].partition("\nFrom NATS, from MQTT\n")[0]
    for word in ("mm backup", "mm restore", "--encrypt", "--keyring"):
        assert word in key


def test_it_is_read_in_twenty_minutes() -> None:
    assert WORDS[0] < len(PAGE.read_text().split()) < WORDS[1]
