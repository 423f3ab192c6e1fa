"""Relays of a data folder: what is given, remembered and forgotten; and commands over a real relay."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmplatform.cli.remembered import ALL, LISTEN, PROXY, STUN, TURN, addresses, choice, one, remember, servers
from mmplatform.errors import LocalError, StorageError
from tests.support.cli import Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


def test_what_is_given_counts_then_the_environment_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert addresses(tmp_path) == []
    remember(tmp_path, ["relay+ws://a/k", "relay+ws://b/k"])
    assert addresses(tmp_path) == ["relay+ws://a/k", "relay+ws://b/k"]
    assert addresses(tmp_path, ["relay+ws://c/k", "relay+ws://c/k"]) == ["relay+ws://c/k"]
    assert addresses(tmp_path, ["none"]) == []
    monkeypatch.setenv("MM_RELAYS", "relay+ws://d/k, relay+ws://e/k")
    assert addresses(tmp_path) == ["relay+ws://d/k", "relay+ws://e/k"]
    assert addresses(tmp_path, ["relay+ws://c/k"]) == ["relay+ws://c/k"]
    for nothing in ("", "none"):
        monkeypatch.setenv("MM_RELAYS", nothing)
        assert addresses(tmp_path) == []
    monkeypatch.delenv("MM_RELAYS")
    remember(tmp_path, [])
    remember(tmp_path, [])
    assert addresses(tmp_path) == []


def test_none_is_worth_remembering_where_there_is_a_default(tmp_path: Path) -> None:
    assert choice(tmp_path, (), LISTEN) is None
    remember(tmp_path, [], LISTEN)
    assert choice(tmp_path, (), LISTEN) == []
    assert choice(tmp_path, ["default"], LISTEN) is None
    remember(tmp_path, None, LISTEN)
    assert choice(tmp_path, (), LISTEN) is None
    assert [kind.file for kind in ALL if (tmp_path / kind.file).exists()] == []


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / "relays").mkdir()
    with pytest.raises(StorageError, match="mm run --relay"):
        addresses(tmp_path)
    with pytest.raises(StorageError, match="not remembered"):
        remember(tmp_path, ["relay+ws://a/k"])


def test_servers_are_remembered_as_relays_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(tmp_path, ["stun:a"], STUN)
    remember(tmp_path, ["turn:a,user,pass,word", "turn:b"], TURN)
    assert (tmp_path / "turn").stat().st_mode & 0o777 == 0o600
    assert addresses(tmp_path) == []
    found = servers(addresses(tmp_path, (), STUN), addresses(tmp_path, (), TURN))
    assert found == (["stun:a"], [("turn:a", "user", "pass,word"), ("turn:b", "", "")])
    monkeypatch.setenv("MM_STUN", "stun:b, stuns:c:5349")
    monkeypatch.setenv("MM_TURN", "turn:c,user,password turns:d?transport=tcp")
    assert addresses(tmp_path, (), STUN) == ["stun:b", "stuns:c:5349"]
    assert addresses(tmp_path, (), TURN) == ["turn:c,user,password", "turns:d?transport=tcp"]
    for stun, turn in (["turn:a"], []), ([], ["stun:a"]), (["example.org"], []), ([], ["turn:"]):
        with pytest.raises(LocalError, match="is not"):
            servers(stun, turn)


def test_an_address_that_is_none_is_not_remembered(here: Here) -> None:
    code, _, err = here("run", "--relay", "relay+ws://no-key")
    assert code == 1
    assert "relay+ws://no-key" in err
    code, out, err = here("id", "--json")
    assert (code, json.loads(out)["relays"]) == (0, {})


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[str]:
    made = Node(tmp_path / "relay")
    made.start("relay", "--listen", "127.0.0.1:0", "--json")
    wait_until(lambda: made.lines)
    yield json.loads(made.out.splitlines()[0])["address"]
    made.stop()


@pytest.mark.slow
def test_two_nodes_that_listen_nowhere(relay: str, tmp_path: Path) -> None:
    alice, bob = Node(tmp_path / "alice"), Node(tmp_path / "bob")
    bob.serve("run", "--listen", "none", "--relay", relay, "--json")
    wait_until(lambda: bob.lines)
    ready = json.loads(bob.out.splitlines()[0])
    assert ready["relays"] == ready["listening"] == [relay]
    assert json.loads(bob.mm("id", "--json").stdout)["relays"] == {relay: ""}
    told = bob.mm("id")
    assert f"{relay}: up" in told.stderr.decode()
    assert told.stdout.decode().strip() == ready["signId"]
    assert f"{relay}: up" in bob.mm("peers").stderr.decode()
    ticket = bob.mm("id", "--ticket").stdout.decode().strip()
    alice.mm("add", ticket, "--friend", "--name", "bob")
    bob.start("on", "public.chat", "--payload")
    wait_until(lambda: b'"delivered"' in alice.mm("send", "bob", "chat", "hello", "--json").stdout)  # as a guest
    wait_until(lambda: "hello" in bob.out)
    bob.stop()
    assert json.loads(bob.mm("id", "--json").stdout)["relays"] == {relay: "no node runs on this folder"}  # remembered
    bob.serve("run", "--listen", "tcp://127.0.0.1:0", "--relay", "none")
    assert json.loads(bob.mm("id", "--json").stdout)["relays"] == {}
    bob.stop()
    assert json.loads(bob.mm("id", "--json").stdout)["relays"] == {}
    alice.stop()


def test_for_people(relay: str, tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    node.start("on", "public.chat", "--relay", relay)
    wait_until(lambda: node.holder())
    assert f"{relay}: up" in node.mm("id").stderr.decode()
    second = node.start("on", "public.other", "--relay", "none")
    wait_until(lambda: "with relays of its own" in node.err)
    node.stop()
    assert second.returncode is not None
    node.serve("run", "--listen", "none")
    wait_until(lambda: node.lines >= 3)
    assert f"listens on nothing\nis reached through {relay}\n" in node.out
    node.stop()


def test_the_last_word_about_a_proxy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(choice(tmp_path, (), PROXY)) is None
    remember(tmp_path, choice(tmp_path, ["none"], PROXY), PROXY)
    assert one(choice(tmp_path, (), PROXY)) == ""
    remember(tmp_path, choice(tmp_path, ["http://a:1", "http://u:p@b:2"], PROXY), PROXY)
    assert one(choice(tmp_path, (), PROXY)) == "http://u:p@b:2"
    assert (tmp_path / "proxy").stat().st_mode & 0o077 == 0, "there is a password in it"
    monkeypatch.setenv("MM_PROXY", "socks5://c")
    assert one(choice(tmp_path, (), PROXY)) == "socks5://c"
    assert one(choice(tmp_path, ["default"], PROXY)) is None
