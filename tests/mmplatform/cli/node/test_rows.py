"""A stopped node is looked at without a network: no port is opened, and nobody is dialled."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from mmplatform.cli.command import OK
from tests.support.cli import Node

Here = Callable[..., tuple[int, str, str]]

WATCHED = """
import socket, sys

def watch(event, arguments):
    if event in ("socket.bind", "socket.connect", "socket.sendto") and arguments[0].family != socket.AF_UNIX:
        print("NETWORK", event, arguments, file=sys.stderr)

sys.addaudithook(watch)
from mmplatform.cli import mm
sys.exit(mm())
"""


def watched(node: Node, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that says on stderr what it does with a network."""
    command = [sys.executable, "-c", WATCHED, "--data", str(node.folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    "command",
    ["id", "id --ticket", "id --json", "peers", "peers --asking", "outbox", "outbox cancel --all", "inbox", "status"],
)
def test_no_port_and_no_dial(pair: tuple[Node, Node], command: str) -> None:
    alice, _ = pair
    done = watched(alice, *command.split())
    assert (done.returncode, "NETWORK" in done.stderr) == (OK, False)


def test_the_watch_sees_a_port(node: Node) -> None:
    assert "NETWORK socket.bind" in watched(node, "doctor", "--listen", "tcp://127.0.0.1:0").stderr


def test_what_a_stopped_node_says_of_itself(pair: tuple[Node, Node], here: Here) -> None:
    alice, _ = pair
    told = json.loads(here("id", "--json", data=alice.folder)[1])
    assert (told["pid"], told["uptime"], told["listening"]) == (None, None, [])
    assert told["ticket"].startswith("mm1")
    assert here("id", "--ticket", data=alice.folder)[1].startswith("mm1")
    peer = json.loads(here("peers", "--json", data=alice.folder)[1])
    assert (peer["name"], peer["scope"], peer["connected"]) == ("bob", "friends", False)


def test_the_first_ticket_says_where_the_node_will_listen(node: Node) -> None:
    assert json.loads(node.mm("id", "--json").stdout)["ticket"] == "", "and no port was opened for it"
    assert node.mm("id", "--ticket").stdout.startswith(b"mm1")
    assert json.loads(node.mm("id", "--json").stdout)["ticket"].startswith("mm1")


def test_a_message_is_taken_back(pair: tuple[Node, Node], here: Here) -> None:
    alice, _ = pair
    here("send", "bob", "chat", "hello", "--no-wait", data=alice.folder)
    waiting = json.loads(here("outbox", "--json", data=alice.folder)[1])
    assert waiting["why"] == "no node runs on this folder; mm run sends it"
    assert here("outbox", "cancel", waiting["id"], data=alice.folder)[0] == OK
    assert here("outbox", "--json", data=alice.folder)[1] == ""
    assert here("delivery", waiting["id"], data=alice.folder)[1] == "cancelled: cancelled by the sender\n"
