"""mm dht."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import FAILED, OK, USAGE
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


def test_without_a_dht_it_says_how_to_get_one(here: Here) -> None:
    for arguments in (("dht",), ("dht", "get", "status"), ("dht", "put", "status", "x"), ("dht", "bootstrap", "kad:x")):
        code, _, err = here(*arguments)
        assert code == FAILED
        assert "this node runs no DHT; start it with: mm run --service kademlia" in err, arguments


def test_put_wants_a_value_or_delete(here: Here) -> None:
    assert here("dht", "put", "status")[0] == USAGE
    assert here("dht", "put", "status", "busy", "--delete")[0] == USAGE


@pytest.mark.slow
def test_two_nodes(node: Node, tmp_path: Path) -> None:
    alice, bob = node, Node(tmp_path / "bob")
    for one in (alice, bob):
        one.serve("run", "--listen", *LOOPBACK, "--service", "kademlia")
    try:
        _use(alice, bob)
    finally:
        bob.stop()


def _use(alice: Node, bob: Node) -> None:
    assert b"nobody is known" in bob.mm("dht").stderr
    address = json.loads(alice.mm("dht", "--json").stdout)["addresses"][0]
    assert bob.mm("dht", "bootstrap", address).stdout == b"1 contact known\n"
    wait_until(lambda: json.loads(alice.mm("dht", "--json").stdout)["contacts"])
    assert bob.mm("dht", "put", "status", "busy").stdout == b"on 2 nodes\n"
    assert bob.mm("dht", "get", "status").stdout == b"busy\n"
    sign_id = bob.mm("id").stdout.decode().strip()
    assert alice.mm("dht", "get", f"{sign_id}/status").stdout == b"busy\n"
    assert json.loads(alice.mm("dht", "get", sign_id, "--json").stdout)["value"] == sign_id
    assert alice.mm("dht", "get", sign_id).stdout.decode().startswith(f"{sign_id}\n  ")
    assert b"stored" in bob.mm("dht", "put", "status", "away", "--json").stdout
    assert bob.mm("dht", "put", "status", "--delete").returncode == OK
    missing = alice.mm("dht", "get", f"{sign_id}/nothing")
    assert missing.returncode == FAILED
    assert b"nobody in the DHT has" in missing.stderr
    assert "contacts\t1" in bob.mm("dht").stdout.decode()
    assert alice.mm("dht", "bootstrap", "http://127.0.0.1").returncode == FAILED
