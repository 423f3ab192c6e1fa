"""mm run: which services run beside the node, and what it says of them."""

import json

import pytest

from mmplatform.cli.node.host import chosen, discovery
from tests.support.cli import Node
from tests.support.waiting import wait_until


def test_services_run_that_find_peers_and_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery() == []
    monkeypatch.setenv("MM_SERVICES", "mdns, other")
    assert discovery() == ["mdns", "other"]
    monkeypatch.delenv("MM_SERVICES")
    assert discovery() == ["kademlia", "mdns"]
    assert chosen(["none"]) == []


@pytest.mark.parametrize(("arguments", "expected"), [(("--service", "mdns"), ["mdns"]), ((), [])])
def test_it_says_what_runs(node: Node, arguments: tuple[str, ...], expected: list[str]) -> None:
    node.serve("run", "--json", "--listen", "tcp://127.0.0.1:0", *arguments)
    wait_until(lambda: node.lines)
    assert json.loads(node.out.splitlines()[0])["services"] == expected


def test_for_people(node: Node) -> None:
    node.serve("run", "--listen", "tcp://127.0.0.1:0", "--service", "mdns")
    wait_until(lambda: node.lines >= 3)
    assert "finds and is found by mdns\n" in node.out


def test_a_service_that_is_not_there(node: Node) -> None:
    done = node.mm("run", "--service", "nonsense")
    assert done.returncode == 1
    assert b"no service 'nonsense'" in done.stderr
