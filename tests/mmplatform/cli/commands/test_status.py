"""mm status: of a node that runs, and of one that does not."""

import json
from collections.abc import Callable

from mmplatform.cli.command import FAILED, OK
from mmplatform.cli.commands import status
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


def test_a_stopped_node(pair: tuple[Node, Node], here: Here) -> None:
    alice, _ = pair
    here("send", "bob", "chat", "hello", "--no-wait", data=alice.folder)
    told = json.loads(here("status", "--json", data=alice.folder)[1])
    assert told["signId"] == here("id", data=alice.folder)[1].strip()
    assert (told["running"], told["pid"], told["since"], told["listening"]) == (False, None, None, [])
    assert (told["known"], told["connected"], told["outbox"], told["inbox"], told["failed"]) == (1, [], 1, 0, 0)
    assert told["used"] > 1000
    assert told["free"] > 1000
    code, out, err = here("status", data=alice.folder)
    assert (code, err) == (OK, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert shown["runs"] == "no; mm run starts it"
    assert shown["outbox"] == "1 message not ended"
    assert shown["peers"] == "1 known"


def test_a_running_node(pair: tuple[Node, Node], here: Here) -> None:
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    process = alice.serve("run", "--listen", *LOOPBACK)
    assert here("ping", "bob", data=alice.folder)[0] == OK
    told = json.loads(here("status", "--json", data=alice.folder)[1])
    assert (told["running"], told["purpose"], told["pid"]) == (True, "run", process.pid)
    assert [peer["name"] for peer in told["connected"]] == ["bob"]
    assert told["listening"][0].startswith("tcp://127.0.0.1:")
    out = here("status", data=alice.folder)[1]
    assert f"as mm run, process {process.pid}, for " in out
    assert "1 known, 1 connected: bob" in out
    here("send", "alice", "chat", "hello", data=bob.folder)
    wait_until(lambda: "1 message kept until something listens" in here("status", data=alice.folder)[1])


def test_everything_that_can_be_wrong() -> None:
    found = {
        "signId": "K", "folder": "/f", "version": "1", "known": 2, "connected": [], "asking": 1, "outbox": 0,
        "inbox": 0, "failed": 2, "used": 1, "free": 2, "running": False, "purpose": "", "pid": None, "since": None,
        "listening": [], "relays": {"relay+wss://r": "no answer"}, "services": {"mdns": ""},
    }  # fmt: skip
    shown = list(status._lines(found))
    assert ("relay", "relay+wss://r: no answer") in shown
    assert ("service", "mdns: up") in shown
    assert ("peers", "2 known; 1 asking to be friends (mm peers --asking)") in shown
    assert ("inbox", "empty, 2 messages failed (mm inbox --failed)") in shown


def test_no_node_yet(node: Node, here: Here) -> None:
    code, _, err = here("status", data=node.folder)
    assert (code, "mm id makes one" in err) == (FAILED, True)
    assert not node.folder.exists()


def test_a_folder_that_was_moved_while_its_node_runs_is_named(pair: tuple[Node, Node], here: Here) -> None:
    """It ended as a defect of mm does: FileNotFoundError."""
    alice, _ = pair
    alice.serve("run", "--listen", *LOOPBACK)
    moved = alice.folder.rename(alice.folder.with_name("moved"))
    code, out, err = here("status", data=moved)
    assert (code, out) == (FAILED, "")
    assert err.startswith(f"mm: {alice.folder} was removed or replaced")
