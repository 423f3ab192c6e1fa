"""mm chat as a command: pipes, exit codes, what is imported, and what it says when something is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm_services.messenger.chat import commands
from mm_services.messenger.chat.options import ChatOptions
from mmplatform.cli.command import Failure, Settings
from tests.support.cli import INTERRUPTED, Node, end
from tests.support.cli_fixtures import apart, here, node, pair
from tests.support.waiting import wait_until

__all__ = ["apart", "here", "node", "pair"]

Pair = tuple[Node, Node]
MODULES = """
import atexit, sys
path = sys.argv.pop(1)
atexit.register(lambda: open(path, "w").write("\\n".join(sys.modules)))
from mmplatform.cli import mm
sys.exit(mm())
"""


def test_what_goes_in_comes_out_at_the_other_end(pair: Pair) -> None:
    """Also what was said while bob was away: it waits at alice until both are there."""
    alice, bob = pair
    done = alice.mm("chat", "bob", "--plain", stdin=b"one\n/share /etc/passwd\ntwo")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    listener = bob.start("chat", "alice", "--json", stdin=subprocess.PIPE)
    speaker = alice.start("chat", "bob", stdin=subprocess.PIPE)
    assert listener.stdin is not None
    assert speaker.stdin is not None
    with listener.stdin, speaker.stdin:
        speaker.stdin.write(b"three\n")
        speaker.stdin.flush()
        wait_until(lambda: bob.lines == 4)
        said = [json.loads(line)["text"] for line in bob.out.splitlines()]
        assert sorted(said) == ["/share /etc/passwd", "one", "three", "two"]
        assert end(speaker) == INTERRUPTED
    assert listener.wait(30) == 0
    assert bob.err == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
        (("nobody", "--plain"), b"x\n", 1, "neither a signId nor the name"),
        (("@nobody", "--plain"), b"x\n", 1, "is not the name of a list"),
        (("--plain", "--no-history"), b"x" * 5000 + b"\n", 1, "too many for a line"),
        (("--plain", "--incoming-dir", "/etc/passwd"), b"", 2, "is a file"),
        (("--plain", "bob", "eve"), b"", 2, "unexpected extra argument"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    node: Node, arguments: tuple[str, ...], stdin: bytes, code: int, says: str
) -> None:
    done = node.mm("chat", *arguments, stdin=stdin)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    as_json = node.mm("chat", *arguments, "--json", stdin=stdin)
    assert json.loads(as_json.stderr)["kind"]


def test_a_folder_in_use_is_an_error_with_advice(node: Node) -> None:
    node.serve("run", "--listen", "none")
    done = node.mm("chat", "--plain")
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert "is in use by process" in lines[0]
    assert "stop mm run first" in lines[1]


def test_mm_on_makes_way(node: Node) -> None:
    listening = node.serve("on", "friends.chat")
    done = node.mm("chat", "--plain", "--no-history", stdin=b"hello\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert listening.poll() is None
    assert not (node.folder / "chat.jsonl").exists()


def imported(folder: Path, *arguments: str) -> set[str]:
    found = folder.with_suffix(".modules")
    measured = {name for name in os.environ if name.startswith("COV")}
    environment = {name: value for name, value in os.environ.items() if name not in measured}
    command = [sys.executable, "-c", MODULES, str(found), "--data", str(folder), "chat", *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    return set(found.read_text().split())


def test_textual_is_for_the_window_alone(tmp_path: Path) -> None:
    for arguments in (("--help",), ("--plain",), ("--json",)):
        assert "textual" not in imported(tmp_path / "node", *arguments)


def test_the_window_is_painted_before_a_node_is_imported() -> None:
    """Else it would be seen half a second later."""
    program = (
        "import sys, mmplatform.cli.main, mm_services.messenger.chat.commands, mm_services.messenger.chat.window.app\n"
        "print(*[name for name in ('mmplatform.platform', 'mmplatform.cli.node.host', 'msgspec', 'sqlite3', 'zeroconf',"
        " 'mm_services.messenger.service') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_without_textual_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("mm_services.messenger.chat.window")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    with pytest.raises(Failure, match=r"mm-platform\[tui\].*--plain"):
        commands._in_a_window(Settings(), ChatOptions(tmp_path))
