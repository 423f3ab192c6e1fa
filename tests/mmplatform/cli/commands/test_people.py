"""mm rename, move, remove, block and unblock."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import FAILED, OK, USAGE
from tests.support.cli import LOOPBACK, Node
from tests.support.documents import ROOT, blocks
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bob(here: Here, tmp_path: Path) -> str:
    """The signId of a friend."""
    assert here("add", here("id", "--ticket", data=tmp_path / "bob")[1].strip(), "--friend", "--name", "bob")[0] == OK
    return here("id", data=tmp_path / "bob")[1].strip()


def test_a_peer_is_renamed(here: Here, bob: str) -> None:
    assert here("rename", "bob", "robert")[1] == f"{bob} is called robert\n"
    assert json.loads(here("peers", "--json")[1])["name"] == "robert"
    assert json.loads(here("rename", "--json", "robert", "")[1]) == {"signId": bob, "name": ""}
    code, _, err = here("rename", bob, "friends")
    assert (code, "means something already" in err) == (USAGE, True)


def test_a_name_is_not_taken_from_another_peer(here: Here, bob: str, tmp_path: Path) -> None:
    carol = here("id", data=tmp_path / "carol")[1].strip()
    code, _, err = here("add", carol, "--name", "bob")
    assert code == FAILED
    assert f"the name of {bob}; rename that peer first" in err


@pytest.mark.parametrize(("circle", "scope"), [("devices", "self"), ("public", "public"), ("friends", "friends")])
def test_a_peer_is_moved(here: Here, bob: str, circle: str, scope: str) -> None:
    assert here("move", "bob", circle)[1] == f"bob: its messages arrive as {scope}.TOPIC\n"
    assert json.loads(here("peers", "--json")[1])["scope"] == scope


def test_what_waits_for_who_is_removed_is_shown_and_dropped_on_request(here: Here, bob: str) -> None:
    assert here("send", "bob", "chat", "hello", "--no-wait")[0] == OK
    code, out, err = here("remove", "bob")
    assert (code, out) == (OK, "bob is a stranger now\n")
    assert f"still wait here: 1; mm outbox --peer {bob}" in err
    assert here("remove", "bob")[0] == FAILED
    assert json.loads(here("--json", "remove", bob, "--drop")[1]) == {"signId": bob, "waiting": 0, "kept": 0}
    assert "nothing waits" in here("outbox")[2]


def test_who_is_blocked_is_listed_so_until_it_is_unblocked(here: Here, bob: str) -> None:
    assert here("block", "bob")[1] == "bob is blocked\n"
    assert "\tblocked\n" in here("peers")[1]
    assert "is blocked" in here("send", "bob", "chat", "hello")[2]
    assert here("unblock", "bob")[0] == OK
    code, _, err = here("unblock", "bob")
    assert (code, "bob is not blocked" in err) == (FAILED, True)
    assert not json.loads(here("peers", "--json")[1])["blocked"]


def test_the_open_link_of_a_stolen_device_is_closed_at_once(pair: tuple[Node, Node], here: Here) -> None:
    alice, bob = pair
    alice.serve("run", "--listen", *LOOPBACK)
    bob.serve("run", "--listen", *LOOPBACK)
    assert here("ping", "bob", data=alice.folder)[0] == OK
    assert here("remove", "bob", data=alice.folder)[0] == OK

    def is_gone() -> bool:
        found = [json.loads(line) for line in here("peers", "--json", data=alice.folder)[1].splitlines()]
        return all(peer["scope"] == "public" for peer in found)

    wait_until(is_gone)


def test_all_that_waits_is_taken_back(here: Here, bob: str) -> None:
    for topic in ("chat", "other"):
        here("send", "bob", topic, "hello", "--no-wait")
    assert here("outbox", "cancel", "--peer", "bob")[1] == "cancelled 2 messages\n"
    here("send", "bob", "chat", "hello", "--no-wait")
    assert json.loads(here("outbox", "cancel", "--all", "--json")[1]) == {"cancelled": 1, "left": 0}
    assert here("outbox", "cancel", "--all", "--peer", "bob")[0] == USAGE
    assert here("outbox", "cancel")[0] == USAGE


def test_the_page_of_a_stolen_laptop_says_what_mm_does(here: Here, bob: str) -> None:
    [block] = blocks(ROOT / "docs" / "my-laptop-was-stolen.rst")
    assert here("rename", "bob", "stolen-laptop")[0] == here("move", "stolen-laptop", "devices")[0] == OK
    assert here("send", "stolen-laptop", "chat", "hello", "--no-wait")[0] == OK
    mm, *words = block.code.split()
    assert mm == "mm"
    assert here(*words)[:2] == (OK, "stolen-laptop is a stranger now\n")
    assert here("peers")[1] == ""
    assert "nothing waits" in here("outbox")[2]
