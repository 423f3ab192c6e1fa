"""mm list, and mm send @family."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import FAILED, OK, USAGE
from mmplatform.cli.node import sending, sending_to_all
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process give up on an absent peer sooner."""
    monkeypatch.setattr(sending, "AWAY_AFTER", 0.2)
    monkeypatch.setattr(sending_to_all, "LINKED_WITHIN", 0.5)


@pytest.fixture
def keys(here: Here, tmp_path: Path) -> dict[str, str]:
    """The signIds of two friends."""
    found = {}
    for name in ("bob", "carol"):
        ticket = here("id", "--ticket", data=tmp_path / name)[1].strip()
        assert here("add", ticket, "--friend", "--name", name)[0] == OK
        found[name] = here("id", data=tmp_path / name)[1].strip()
    return found


def test_a_list_is_made_changed_shown_and_removed(here: Here, keys: dict[str, str]) -> None:
    assert "mm list make @NAME" in here("list")[2]
    assert here("list", "make", "@family", "bob")[:2] == (OK, "@family: bob\n")
    assert here("list", "extend", "@family", keys["carol"])[1] == "@family: bob, carol\n"
    assert here("list")[1] == "@family\tbob, carol\n"
    assert here("list", "shorten", "@family", "bob")[1] == "@family: carol\n"
    members = [{"signId": keys["carol"], "name": "carol"}]
    assert json.loads(here("list", "--json")[1]) == {"name": "@family", "members": members}
    assert json.loads(here("list", "make", "@band", "--json")[1]) == {"name": "@band", "members": []}
    assert here("list", "remove", "@family")[1] == "@family is no list any more\n"
    assert json.loads(here("list", "remove", "@band", "--json")[1]) == {"name": "@band", "removed": True}
    assert here("list")[1] == ""


def test_what_is_wrong_with_a_list_is_said(here: Here, keys: dict[str, str]) -> None:
    assert here("list", "make", "@band", "bob")[0] == OK
    for arguments, why in (
        (("list", "make", "@friends"), "it means something already (all your friends)"),
        (("list", "make", "family"), "begins with @, as '@family'"),
        (("list", "extend", "@family", "bob"), "not the name of a list here"),
        (("list", "shorten", "@band", "carol"), "mm: carol: not in @band"),
        (("list", "make", "@family", "dave"), "mm add TICKET --name NAME makes a peer known"),
        (("send", "@family", "chat", "hi"), "not the name of a list here"),
        (("send", "@devices", "chat", "hi"), "nobody is in '@devices'"),
        (("request", "@friends", "chat"), "a request has one answer"),
        (("send", "@friends", "chat", "--lines"), "one by one"),
    ):
        code, out, err = here(*arguments)
        assert (code, out, why in err) == (FAILED, "", True), err
    assert here("list", "extend", "@family")[0] == USAGE


def test_a_message_to_a_list_has_a_line_for_each(here: Here, keys: dict[str, str]) -> None:
    here("list", "make", "@family", "bob", "carol")
    code, out, err = here("send", "@family", "chat", "hello")
    assert code == OK
    assert [line.partition(" (")[0] for line in out.splitlines()] == [
        f"{name}: waiting; will be sent when {name} is reachable" for name in ("bob", "carol")
    ]
    assert "keep one running with mm run" in err
    assert here("send", "@family", "chat", "hello", "--no-wait")[1].startswith("bob: waiting (")
    told = [json.loads(line) for line in here("send", "@family", "chat", "hi", "--json", "--no-wait")[1].splitlines()]
    assert [(one["peer"], one["name"], one["state"]) for one in told] == [
        (keys["bob"], "bob", "waiting"),
        (keys["carol"], "carol", "waiting"),
    ]
    waiting = [json.loads(line) for line in here("outbox", "--json")[1].splitlines()]
    assert sorted(one["name"] for one in waiting) == ["bob"] * 3 + ["carol"] * 3
    assert {one["id"] for one in told} < {one["id"] for one in waiting}
    assert here("send", "@family", "chat", "hi", "--wait", "--timeout", "0.1")[0] == FAILED
    code, out, _ = here("send", "@family", "chat", "hi", "--realtime")
    assert (code, [line.partition(": ")[2][:8] for line in out.splitlines()]) == (FAILED, ["dropped:"] * 2)


def test_the_worst_end_decides(here: Here, pair: tuple[Node, Node], tmp_path: Path) -> None:
    alice, bob = pair
    on = bob.serve("on", "friends.chat", "--payload")
    alice.serve("run", "--listen", *LOOPBACK)
    data = alice.folder
    assert here("send", "@friends", "chat", "hello", data=data)[:2] == (OK, "bob: delivered\n")
    assert here("send", "@friends", "chat", "now", "--realtime", data=data)[:2] == (OK, "bob: sent\n")
    wait_until(lambda: bob.out == "hello\nnow\n")
    assert on.poll() is None
    here("add", here("id", data=tmp_path / "carol")[1].strip(), "--friend", "--name", "carol", data=data)
    code, out, _ = here("send", "@friends", "chat", "hi", "--expire-after", "0.2", "--wait", data=data)
    assert (code, out) == (FAILED, "bob: delivered\ncarol: expired: not confirmed in time\n")
