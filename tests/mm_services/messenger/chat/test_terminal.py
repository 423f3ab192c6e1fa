"""mm chat in a real terminal of 80 by 24, on real nodes: two people, crashes, a large file, many lines, and keys."""

import json
import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_services.messenger.chat.lines import ChatLine, line_record
from mmplatform.identity.keys import SignId
from tests.support.cli import Node
from tests.support.cli_fixtures import apart, pair
from tests.support.terminals import Tmux, needs_tmux
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_tmux, pytest.mark.timeout(300)]

COLUMNS, ROWS = 80, 24
LARGE = 50 * 1000 * 1000  # bytes
RATE = 500  # lines a second
MANY = 2500  # lines
HISTORY = 100_000  # lines
MOST_MEMORY = 120 * 1024  # KiB
__all__ = ["apart", "pair"]
READY = "a message, or /help"


class ChatScreen:
    """A terminal in which somebody chats."""

    def __init__(self, node: Node, to: str, folder: Path) -> None:
        folder.mkdir()
        self.node, self.to = node, to
        self.tmux = Tmux(folder, COLUMNS, ROWS, MM_DATA=str(node.folder))

    def begin(self, *options: str) -> None:
        self.tmux.start(" ".join(("mm chat", self.to, *options)))
        self.tmux.shown(READY)
        wait_until(lambda: self.node.holder() and self.tmux.screen().startswith(f" {self.to}: "))

    def type(self, text: str) -> None:
        self.tmux.keys("-l", text)
        self.tmux.keys("Enter")

    def shows(self, text: str) -> str:
        return self.tmux.shown(text)

    def kill(self) -> None:
        os.kill(self.node.holder(), signal.SIGKILL)
        assert self.tmux.ended().endswith("exit code 137")
        self.tmux.run("reset")

    def history(self) -> list[str]:
        """What was said to this one, from the file."""
        records = map(json.loads, (self.node.folder / "chat.jsonl").read_bytes().splitlines())
        return [record["text"] for record in records if record.get("by")]


@pytest.fixture
def screens(pair: tuple[Node, Node], tmp_path: Path) -> Iterator[tuple[ChatScreen, ChatScreen]]:
    alice, bob = pair
    made = ChatScreen(alice, "bob", tmp_path / "a"), ChatScreen(bob, "alice", tmp_path / "b")
    yield made
    for one in made:
        one.tmux.close()


def test_two_people_crashes_and_a_large_file_and_nothing_is_lost(
    screens: tuple[ChatScreen, ChatScreen], tmp_path: Path
) -> None:
    alice, bob = screens
    large = tmp_path / "large.bin"
    large.write_bytes(random.Random(1).randbytes(LARGE))
    alice.begin()
    bob.begin()
    alice.type("hello bob")
    bob.shows(": hello bob")
    alice.shows("✓✓ hello bob")
    bob.type("hello alice")
    alice.shows(": hello alice")
    alice.type(f"/share {large}")
    alice.type("look at this")
    alice.shows("[file] large.bin, 47.7 MiB")
    bob.shows(": look at this")
    bob.kill()
    alice.type("while you are away")
    alice.shows("while you are away")
    bob.begin()
    bob.shows(": while you are away")
    saved = bob.node.folder / "incoming" / "large.bin"
    wait_until(saved.exists, 120)
    alice.shows("✓ [file] large.bin")
    alice.type("last words")
    alice.shows("me")
    wait_until(lambda: "last words" in (alice.node.folder / "chat.jsonl").read_text())
    alice.kill()
    alice.begin()
    for line in ("✓✓ hello bob", ": hello alice", "look at this", "while you are away", "last words"):
        alice.shows(line)
    alice.type("and that was all")
    bob.shows(": and that was all")
    wait_until(lambda: "and that was all" in bob.history())
    said = bob.history()
    assert sorted(set(said) - {"last words"}) == sorted(
        ["hello bob", "look at this", "while you are away", "and that was all", "large.bin, 47.7 MiB"]
    )
    assert len(said) == len(set(said)), "nothing is there twice"
    assert saved.read_bytes() == large.read_bytes()
    assert [path.name for path in saved.parent.iterdir()] == ["large.bin"]


def test_it_leaves_the_terminal_as_it_was(screens: tuple[ChatScreen, ChatScreen]) -> None:
    alice, _ = screens
    for keys, code in (("C-c", 130), ("C-q", 0)):
        alice.begin("--no-history")
        alice.tmux.keys(keys)
        assert alice.tmux.ended().endswith(f"exit code {code}")
    alice.begin()
    os.kill(alice.node.holder(), signal.SIGTERM)
    assert alice.tmux.ended().endswith("exit code 0")
    assert alice.tmux.run("echo it is sane").endswith("it is sane\nexit code 0")


def test_a_folder_in_use_says_what_to_do(screens: tuple[ChatScreen, ChatScreen]) -> None:
    alice, _ = screens
    alice.node.serve("run")
    screen = alice.tmux.run("mm chat")
    assert "is in use by process" in screen.replace("\n", "")
    assert "stop mm run first" in screen.replace("\n", " ").replace("  ", " ")
    assert screen.endswith("exit code 1")


class Speaker:
    """Says lines at a rate, through ``mm chat --plain``."""

    def __init__(self, node: Node, to: str) -> None:
        self._process = node.start("chat", to, "--plain", stdin=subprocess.PIPE)
        self._stop, self.said = threading.Event(), 0
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        assert self._process.stdin is not None
        begin = time.monotonic()
        while not self._stop.wait(0.02) and self.said < MANY:
            due = min(int((time.monotonic() - begin) * RATE), MANY)
            lines = [b"line %d of the many that come\n" % number for number in range(self.said, due)]
            self._process.stdin.write(b"".join(lines))
            self._process.stdin.flush()
            self.said = due

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(60) == 0


def test_keys_are_echoed_at_once_while_many_lines_come(screens: tuple[ChatScreen, ChatScreen]) -> None:
    """Each look at the screen is a process of tmux, and this machine may be busy: the bound is a wide one."""
    alice, bob = screens
    alice.begin("--no-history")
    speaker = Speaker(bob.node, "alice")
    alice.shows("of the many that come")
    took = []
    for key in "abcdefghijklmnopqrstuvwxyz" * 2:
        begin, typed = time.monotonic(), len(took) + 1
        alice.tmux.keys(key)
        wait_until(lambda: len(alice.tmux.screen().splitlines()[-1].strip()) == typed)  # noqa: B023
        took.append(time.monotonic() - begin)
    assert statistics.median(took) < 1.0
    wait_until(lambda: f"line {MANY - 1} of the many that come" in alice.tmux.screen(), 120)
    speaker.end()


def test_a_long_history_is_painted_soon_and_takes_little_memory(screens: tuple[ChatScreen, ChatScreen]) -> None:
    alice, bob = screens
    key = SignId(bob.node.mm("id").stdout.decode().strip())
    path = alice.node.folder / "chat.jsonl"
    with path.open("wb") as file:
        for number in range(HISTORY):
            text = f"line {number}, as long as those that people write to each other"
            file.write(line_record(key, ChatLine(1.7e9 + number, key, text, f"{number:032x}", 2, 1.5)))
    path.chmod(0o600)
    begin = time.monotonic()
    alice.tmux.start("mm chat bob")
    alice.shows(READY)
    painted = time.monotonic() - begin
    alice.shows(f"line {HISTORY - 1},")
    assert painted < 10.0
    assert memory(alice.node.holder()) < MOST_MEMORY
    alice.tmux.keys("C-Home")
    alice.shows("line 0,")
    alice.type("/history line 5000,")
    alice.shows("line 5000,")
    assert memory(alice.node.holder()) < MOST_MEMORY


def memory(process: int) -> int:
    """The most memory that it had at once, in KiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
