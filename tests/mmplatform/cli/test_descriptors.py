"""Standard streams that the caller has closed: an exit code and a line, and nothing written in their place."""

import json
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.cli import MM, Node
from tests.support.waiting import wait_until

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
        ("on 'self.>' >&-", 1, NEEDED),
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


WITHOUT: Final = {  # what it ends with, and whether it has something to say on stdout
    "id": (0, True), "add bob": (0, True), "peers": (0, True), "accept bob": (0, True), "rename bob bob": (0, True),
    "move bob friends": (0, True), "list": (0, False), "status": (0, True), "inbox": (0, False), "outbox": (0, False),
    "send bob chat x --no-wait": (0, True), "request bob x --timeout 1": (1, False), "ping bob --timeout 1": (1, False),
    "delivery 1.2.3@x": (0, True), "unblock bob": (1, False), "doctor --listen none": (1, True), "dht": (1, False),
    "completion zsh": (0, True), "restore /nowhere": (1, False), "demo --input /nowhere": (2, False),
    "relay --demo --store x": (2, False),
}  # fmt: skip


@pytest.mark.slow
def test_every_command_without_stdout(pair: tuple[Node, Node]) -> None:
    """One that has something to say fails, and says so."""
    for line, (code, says) in WITHOUT.items():
        done = shell(pair[0], f"{line} </dev/null >&-")
        assert done.returncode == (1 if says else code), (line, done.stderr)
        assert (NEEDED in done.stderr) == says, line
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_node_goes_on_when_its_news_find_no_room(node: Node, options: tuple[str, ...]) -> None:
    """The disk of the log is full, that of the data is not."""
    command = [*MM, *options, "--data", str(node.folder), "run", "--listen", "tcp://127.0.0.1:0", "--service", "none"]
    with Path("/dev/full").open("w") as full:
        running = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: running.poll() is not None or json.loads(shell(node, "id --json").stdout)["pid"])
        assert running.poll() is None
        shell(Node(node.folder.parent / "bob"), f"add {shell(node, 'id --ticket').stdout.strip()} --name a")
        assert shell(Node(node.folder.parent / "bob"), "ping a").returncode == 0
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=20)
        assert running.returncode == 0
        assert err == "mm: stdout cannot be written (No space left on device); it goes on without\n"
    finally:
        running.kill()
        running.communicate()


def test_a_result_that_finds_no_room_is_a_failure(node: Node) -> None:
    done = shell(node, "id > /dev/full")
    assert (done.returncode, "No space left" in done.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["add bob", "send bob chat x --no-wait", "request bob x --timeout 1", "restore /nowhere", "status"]
)
def test_those_that_might_read_do_without_stdin(pair: tuple[Node, Node], line: str) -> None:
    done = shell(pair[0], f"{line} <&-")
    assert (done.returncode, NEEDED in done.stderr) == (WITHOUT[line][0], False), done.stderr
