"""Ctrl-C at five moments of each command that runs long: at the start, ready, in the middle, as it stops, twice.

It ends with 130 each time, without a traceback, and what it leaves is what docs/cli.rst says.
"""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.cli import INTERRUPTED, LOOPBACK, PATIENCE, Node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

Pair = tuple[Node, Node]
BY_SIGNAL: Final = -signal.SIGINT  # what a shell calls 130: the command had not begun, or was done


class Long(NamedTuple):
    """A command that runs long: its words, when it is ready, when it is in the middle, and what it leaves."""

    arguments: tuple[str, ...]
    ready: Callable[[Node], object]
    middle: Callable[[Node], object]
    leaves: str


def answers(node: Node) -> bool:
    return node.holder() > 0


def rung(node: Node) -> bool:
    """Somebody has asked it something."""
    return answers(node) and node.mm("status").returncode == 0


LONG: Final = {
    "run": Long(("run", "--listen", *LOOPBACK), answers, rung, "stopped\n"),
    "on": Long(("on", "friends.>"), answers, rung, ""),
    "send": Long(("send", "bob", "chat", "x", "--wait"), answers, rung, "it is sent while a node runs on this folder"),
    "lines": Long(("send", "bob", "chat", "--lines"), answers, rung, "interrupted; "),
    "ping": Long(("ping", "bob", "--count", "1000000"), lambda n: n.lines, lambda n: n.lines > 9, ""),
    "demo": Long(("demo",), lambda n: "paired" in n.out, lambda n: "crash" in n.out, ""),
    "relay": Long(("relay", "--demo"), lambda n: n.lines, lambda n: n.lines, "stopped\n"),
}
each = pytest.mark.parametrize("name", LONG)


def begun(pair: Pair, name: str) -> tuple[Node, "subprocess.Popen[bytes]"]:
    """The command of alice; bob runs for ping, and is away for those who wait for him."""
    alice, bob = pair
    if name == "ping":
        bob.serve("run", "--listen", *LOOPBACK)
    stdin = subprocess.PIPE if name == "lines" else subprocess.DEVNULL  # with no end
    process = alice.start(*LONG[name].arguments, stdin=stdin)
    if process.stdin is not None:
        process.stdin.write(b"a\nb\n")
        process.stdin.flush()
    return alice, process


def ended(node: Node, process: "subprocess.Popen[bytes]") -> int:
    code = process.wait(PATIENCE)
    if process.stdin is not None:
        process.stdin.close()
    assert "Traceback" not in node.err
    assert "defect" not in node.err
    return code


@each
def test_at_the_start(pair: Pair, name: str) -> None:
    """As soon as it holds its folder; the demo and the relay have one of their own, and say a line first."""
    (pair[0].folder / "lock").unlink()
    alice, process = begun(pair, name)
    wait_until(lambda: alice.lines or (alice.folder / "lock").exists())
    process.send_signal(signal.SIGINT)
    assert ended(alice, process) in (INTERRUPTED, BY_SIGNAL)


@each
@pytest.mark.parametrize("moment", ["ready", "middle"])
def test_at_work(pair: Pair, name: str, moment: str) -> None:
    alice, process = begun(pair, name)
    wait_until(lambda: getattr(LONG[name], moment)(alice))
    process.send_signal(signal.SIGINT)
    assert ended(alice, process) == INTERRUPTED
    if moment == "middle":
        assert LONG[name].leaves in alice.out + alice.err


@each
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_twice_and_while_it_stops(pair: Pair, name: str, first: int) -> None:
    """The second one, or the one that comes while it stops for another reason, ends the process at once."""
    alice, process = begun(pair, name)
    wait_until(lambda: LONG[name].ready(alice))
    process.send_signal(first)
    process.send_signal(signal.SIGINT)
    done = (INTERRUPTED, BY_SIGNAL) if first == signal.SIGINT else (INTERRUPTED, BY_SIGNAL, 128 + signal.SIGTERM, 0)
    assert ended(alice, process) in done


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_backup_leaves_no_part(pair: Pair, command: str, tmp_path: Path) -> None:
    """Through a pipe that nobody reads, or that nobody ends."""
    alice, _ = pair
    new = Node(tmp_path / "new")
    if command == "backup":
        process = alice.start("backup", "-", stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.read(8) == b"mmbackup"
        wait_until(lambda: list(alice.folder.glob("data.db.copy-*")))
    else:
        process = new.start("restore", "-", stdin=subprocess.PIPE)
        wait_until(lambda: list(tmp_path.glob(".new.*")))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == INTERRUPTED
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    assert list(alice.folder.glob("data.db.copy-*")) == list(tmp_path.glob(".new.*")) == []
    assert not new.folder.exists()
    assert "Traceback" not in alice.err + new.err
