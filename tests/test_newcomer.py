"""The three programs that a newcomer would write, as real processes over real TCP and a real relay."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import MM, Node
from tests.support.programs import ROOT, Program
from tests.support.waiting import wait_until

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an example, or with "-m" a module."""
    started: list[Program] = []

    def make(name: str, *arguments: str | Path) -> Program:
        command = (name, *arguments) if name == "-m" else (EXAMPLES / f"{name}.py", *arguments)
        started.append(Program(*command, cwd=tmp_path))
        return started[-1]

    yield make
    for program in started:
        program.kill()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """Somebody with a shell."""
    monkeypatch.setenv("MM_SERVICES", "none")
    made = Node(tmp_path / "user")
    yield made
    made.stop()


def test_a_hub_that_is_killed_counts_every_reading_once(start: Start) -> None:
    keys = [start("sensor_hub", "key", sensor).line() for sensor in ("attic", "cellar")]
    hub = start("sensor_hub", "hub", "hub", *keys)
    ticket = hub.line()
    attic, cellar = (start("sensor_hub", "sensor", sensor, ticket) for sensor in ("attic", "cellar"))
    for sensor, value in ((attic, "20"), (attic, "22"), (cellar, "8")):
        sensor.write(value)
        assert sensor.line() == f"kept {float(value)}"
    hub.kill()
    attic.write("41")
    assert attic.line() == "kept 41.0"
    again = start("sensor_hub", "hub", "hub", *keys)
    assert again.line().startswith("mm1")
    assert again.line() == f"alarm: 41.0 degrees at {keys[0][:8]}"
    assert attic.end(None) == (0, f"{{'count': 3, 'average': {(20 + 22 + 41) / 3}}}\n")
    assert cellar.end(None) == (0, "{'count': 1, 'average': 8.0}\n")
    assert again.end() == (0, "")


def test_a_sensor_that_the_hub_was_not_told_of_is_no_friend(start: Start) -> None:
    hub = start("sensor_hub", "hub", "hub")
    sensor = start("sensor_hub", "sensor", "attic", hub.line())
    sensor.write("99")
    assert sensor.line() == "kept 99.0"
    assert hub.end() == (0, "")  # no alarm
    sensor.kill()


def test_a_bot_behind_a_relay_takes_notes_and_reminds_who_was_away(start: Start, user: Node, tmp_path: Path) -> None:
    relay = start("-m", *MM[2:], "relay", "--data", tmp_path / "relay", "--listen", "127.0.0.1:0")
    address = relay.line()
    bot = start("bot_behind_relay", "bot", address)
    ticket = bot.line()
    node = user.serve("run", "--relay", address, "--listen", "none")
    assert user.mm("add", ticket, "--friend", "--name", "bot").returncode == 0
    assert user.mm("send", "bot", "note", "buy milk").stdout.startswith(b"delivered")
    assert user.mm("request", "bot", "notes").stdout == b'["buy milk"]\n'
    assert user.mm("on", "friends.chat", "--count", "1", "--payload").stdout.startswith(b"hello!")
    reminder = '{"text": "the milk!", "seconds": 1}'
    assert user.mm("send", "bot", "remind", "-j", reminder, "--no-wait").returncode == 0
    wait_until(lambda: not user.mm("outbox").stdout)
    node.send_signal(signal.SIGTERM)
    assert node.wait(30) == 0
    said = user.mm("on", "friends.chat", "--count", "1", "--payload")  # it was away, and has it all the same
    assert said.stdout == b"the milk!\n"
    assert bot.end() == (0, "")


def test_a_group_of_four_shares_a_file_also_with_one_that_was_away(start: Start, tmp_path: Path) -> None:
    names = ("alice", "bob", "carol", "dave")
    members = {name: start("group_of_four", name) for name in names}
    tickets = {name: member.line() for name, member in members.items()}
    for name, member in members.items():
        for other in names:
            if other != name:
                member.write(f"add {other} {tickets[other]}")
    members["bob"].write("hello, all three")
    assert all(members[name].line() == "bob: hello, all three" for name in names if name != "bob")
    assert members["bob"].line() == "all have it"

    members["dave"].kill()
    content = os.urandom(3_000_000)
    (tmp_path / "photo.jpg").write_bytes(content)
    members["alice"].write("file photo.jpg")
    assert all(members[name].line() == f"{name}/files/alice-photo.jpg has come" for name in ("bob", "carol"))
    members["dave"] = start("group_of_four", "dave")
    assert "dave/files/alice-photo.jpg has come" in (members["dave"].line(), members["dave"].line())
    assert members["alice"].line() == "all have it"
    received = [(tmp_path / name / "files" / "alice-photo.jpg").read_bytes() for name in ("bob", "carol", "dave")]
    assert received == [content] * 3
    for member in members.values():
        member.write("")
        assert member.end(None) == (0, "")
