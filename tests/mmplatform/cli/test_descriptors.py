"""Standard streams that the caller has closed: an exit code and a line, and nothing written in their place."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import MM, Node

NEEDED = "mm: stdin or stdout is closed, and is needed; give it /dev/null to do without\n"


def shell(node: Node, line: str) -> "subprocess.CompletedProcess[str]":
    """Run ``mm`` in a shell; ``line``: its arguments and redirections."""
    command = shlex.join([*MM, "--data", str(node.folder)])
    return subprocess.run(["bash", "-c", f"{command} {line}"], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("id >&-", 1, NEEDED),
        ("--help >&-", 1, NEEDED),
        ("run --listen none >&-", 1, NEEDED),
        ("id <&-", 0, ""),
        ("id 2>&-", 0, ""),
        ("add - <&-", 1, NEEDED),
        ("nonsense <&- >&- 2>&-", 2, ""),
    ],
)
def test_closed_streams(node: Node, line: str, code: int, err: str) -> None:
    done = shell(node, line)
    assert (done.returncode, done.stderr) == (code, err)


def test_a_message_is_not_sent_empty_when_stdin_is_closed(node: Node, tmp_path: Path) -> None:
    bob = Node(tmp_path / "bob").mm("id").stdout.decode().strip()
    assert shell(node, f"add {shlex.quote(bob)} --name bob 2>&-").returncode == 0
    done = shell(node, "send bob chat <&-")
    assert (done.returncode, done.stderr) == (1, NEEDED)
    assert shell(node, "outbox --json").stdout == ""


def test_nothing_is_written_into_what_took_the_place_of_stdout(node: Node) -> None:
    shell(node, "id")
    key = (node.folder / "identity").read_bytes()
    assert shell(node, "id >&- 2>&-").returncode == 1
    assert (node.folder / "identity").read_bytes() == key


def test_a_reader_that_has_seen_enough(node: Node) -> None:
    done = shell(node, "--help | head -1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines() == ["Usage: mm [OPTIONS] COMMAND [ARGS]...", "0"]
    assert done.stderr == ""
