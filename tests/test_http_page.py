"""docs/http.rst, done as it says: a node with a door, and curl."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from mmplatform.cli.http.calls import JSON
from tests.support.cli import MM, PATIENCE

PAGE: Final = (Path(__file__).parent.parent / "docs" / "http.rst").read_text()
COMMANDS: Final = re.findall(r"^    ((?:mm|TOKEN=|curl) ?.*)$", PAGE, re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: apt install curl"),
]


class Door:
    """A node that runs as the page says, in a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        words = COMMANDS[0].replace("9111", "0").split()[1:]
        run = [*words, "--listen", "tcp://127.0.0.1:0", "--service", "none"]
        self.process = subprocess.Popen(
            [*MM, "--json", "--data", str(self.folder), *run], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["http"]

    def command(self, command: str) -> list[str]:
        """Return a command of the page for this node; the shell has the token from the line that takes it."""
        told = command.replace("http://127.0.0.1:9111", self.url)
        return ["bash", "-c", f"{COMMANDS[1].replace('~/.mm', str(self.folder))}; exec {told} -sS"]

    def ask(self, command: str) -> dict[str, Any]:
        """Do a command of the page; return what it prints."""
        done = subprocess.run(self.command(command), capture_output=True, text=True, timeout=PATIENCE, check=True)
        return dict(json.loads(done.stdout))

    def listen(self, command: str) -> subprocess.Popen[str]:
        """Begin a command of the page that does not end."""
        return subprocess.Popen(self.command(command), stdout=subprocess.PIPE, text=True)

    def mm(self, *words: str) -> str:
        """Run a command on the folder."""
        return subprocess.run(
            [*MM, "--data", str(self.folder), *words], capture_output=True, text=True, timeout=PATIENCE, check=True
        ).stdout.strip()

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Door, Door]]:
    """Alice and bob."""
    alice, bob = Door("alice", tmp_path), Door("bob", tmp_path)
    alice.mm("add", bob.mm("id", "--ticket"), "--name", "bob", "--friend")
    bob.mm("add", alice.mm("id", "--ticket"), "--name", "alice", "--friend")
    yield alice, bob
    alice.end()
    bob.end()


def event(listening: subprocess.Popen[str]) -> dict[str, str]:
    """Return the next event."""
    assert listening.stdout is not None
    found: dict[str, str] = {}
    for line in listening.stdout:
        if line == "\n" and "event" in found:
            return found
        name, _, value = line.rstrip("\n").partition(": ")
        found[name] = value
    raise AssertionError("the connection ended")


def test_the_page_does_what_it_says(two: tuple[Door, Door]) -> None:
    alice, bob = two
    run, token, sending, asking, listening, handled, replying = COMMANDS
    assert (run, token[:6], JSON.partition(";")[0]) == ("mm run --http 9111", "TOKEN=", "application/json")
    said = alice.ask(sending)
    assert (said["state"], said["reason"]) == ("received", "it is on the disk there until somebody listens to it")
    reader = bob.listen(listening)
    assert event(reader)["event"] == "subscribed"
    message = event(reader)
    assert json.loads(message["data"])["payload"] == "hello"
    assert bob.ask(handled.replace("WfqVBa830c-a.1", message["id"])) == {"handled": 1}
    reader.kill()
    reader.communicate()
    answering = bob.listen(listening.replace("friends.chat", "friends.time&answers=1"))
    assert event(answering)["event"] == "subscribed"
    asked = alice.listen(asking)
    request = event(answering)
    assert json.loads(request["data"])["kind"] == "request"
    bob.ask(replying.replace("WfqVBa830c-a.2", request["id"]))
    assert json.loads(asked.communicate(timeout=PATIENCE)[0]) == {"payload": "noon"}
    answering.kill()
    answering.communicate()
