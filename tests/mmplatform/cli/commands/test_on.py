"""mm on answers requests only when it is told how, and tells everything of a message as JSON."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import FAILED, OK, USAGE
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]
Pair = tuple[Node, Node]


@pytest.fixture
def linked(pair: Pair) -> Pair:
    alice, bob = pair
    alice.serve("run", "--listen", *LOOPBACK)
    bob.serve("run", "--listen", *LOOPBACK)
    return pair


def listening(bob: Node, topic: str, *options: str) -> None:
    """Start mm on, and wait until it has printed something sent by bob itself."""
    bob.start("on", f"*.{topic}", *options)
    wait_until(lambda: bob.mm("send", bob.mm("id").stdout.decode().strip(), topic, "-j", "0").returncode == OK)
    wait_until(lambda: bob.out)


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        (("--reply", "yes, of course"), "yes, of course\n"),
        (("--exec", "tr a-z A-Z"), "HELLO\n"),
        (("--exec", "sh -c 'cat >/dev/null; echo $MM_TOPIC of $MM_NAME'"), "friends.ask of alice\n"),
    ],
)
def test_a_request_is_answered_as_it_says(linked: Pair, here: Here, options: tuple[str, ...], reply: str) -> None:
    alice, bob = linked
    listening(bob, "ask", *options)
    assert here("request", "bob", "ask", "hello", data=alice.folder)[:2] == (OK, reply)
    wait_until(lambda: "friends.ask alice hello\n" in bob.out)


def test_without_a_reply_nobody_listens_to_requests(linked: Pair, here: Here) -> None:
    alice, bob = linked
    listening(bob, "ask")
    code, _, err = here("request", "bob", "ask", "hello", "--timeout", "20", data=alice.folder)
    assert (code, "nobody at the peer listens to ask" in err) == (FAILED, True)
    assert "hello" not in bob.out


@pytest.mark.parametrize(
    ("command", "says"), [("false", "false ended with code 1"), ("/no/such/program", "/no/such/program: No such file")]
)
def test_whoever_asks_is_told_that_the_program_failed(linked: Pair, here: Here, command: str, says: str) -> None:
    alice, bob = linked
    listening(bob, "ask", "--exec", command)
    code, _, err = here("request", "bob", "ask", "hello", data=alice.folder)
    assert (code, says in err) == (FAILED, True)


def test_json_tells_all_that_is_known_of_a_message(linked: Pair, here: Here) -> None:
    alice, bob = linked
    listening(bob, "x", "--json", "--reply", "y")
    here("send", "bob", "x", "1", "--priority", "high", data=alice.folder)
    here("request", "bob", "x", "2", data=alice.folder)
    wait_until(lambda: bob.out.count('{"topic"') == 3)
    _, sent, asked = [json.loads(line) for line in bob.out.splitlines() if line.startswith('{"topic"')]
    assert (sent["kind"], sent["priority"], asked["kind"]) == ("durable", "high", "request")
    assert sent["id"].count(".") == 2
    assert "id" not in asked
    assert abs(asked["time"] - sent["time"]) < 60


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--reply", "x", "--exec", "y"), "two ways to reply"), (("--exec", " "), "no command")],
)
def test_wrong_ways_to_reply(here: Here, options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    code, _, err = here("on", "friends.x", *options)
    assert (code, says in err) == (USAGE, True)
