"""mm run: which services run beside the node, and what it says of them."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from mmplatform.cli.command import OK
from mmplatform.cli.node.host import discovery, signals, transports
from mmplatform.cli.remembered import SERVICES, remember
from tests.support.cli import Node, end
from tests.support.waiting import wait_until


def test_services_run_that_find_peers_and_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert discovery(tmp_path) == []
    monkeypatch.setenv("MM_SERVICES", "mdns, other")
    assert discovery(tmp_path) == ["mdns", "other"]
    monkeypatch.delenv("MM_SERVICES")
    assert discovery(tmp_path) == discovery(tmp_path, ["default"]) == ["kademlia", "mdns"]
    assert discovery(tmp_path, ["none"]) == []
    remember(tmp_path, [], SERVICES)
    assert discovery(tmp_path) == []
    assert discovery(tmp_path, ["default"]) == ["kademlia", "mdns"]


def test_transports_for_everyday_use_but_some() -> None:
    assert transports([]) is None
    assert transports(["webrtc", "of-another-day"]) == ["relay", "tcp"]
    assert signals(["webrtc", "of-another-day"])
    assert not signals(["relay", "tcp"])


def said_since(node: Node, before: int) -> str:
    """The first line behind those ``before``, "" while there is none."""
    return node.out.splitlines()[before] if node.lines > before else ""


def test_what_is_said_is_remembered_until_something_else_is(node: Node) -> None:
    node.serve("run", "--listen", "tcp://127.0.0.1:0", "--no-webrtc", "--stun", "stun:127.0.0.1:9", "--json")
    ready = json.loads(wait_until(lambda: said_since(node, 0)))
    assert (ready["stun"], len(ready["listening"])) == ([], 1)
    assert ready["listening"][0].startswith("tcp://127.0.0.1:")
    node.stop()
    assert (node.folder / "listen").read_text() == "tcp://127.0.0.1:0\n"
    assert (node.folder / "without").read_text() == "webrtc\n"
    assert (node.folder / "stun").read_text() == "stun:127.0.0.1:9\n", "for when it can be used"
    before = node.lines
    node.serve("run", "--json")
    again = json.loads(wait_until(lambda: said_since(node, before)))
    assert again["listening"] == ready["listening"]
    node.stop()
    before = node.lines
    node.serve("run", "--listen", "none", "--without", "none", "--json")
    nowhere = json.loads(wait_until(lambda: said_since(node, before)))
    assert nowhere["listening"] == ["webrtc:"], "as it has a STUN server again"
    assert (node.folder / "listen").read_text() == "none\n"
    assert not (node.folder / "without").exists()


def test_a_port_of_the_router_is_one_service_more(node: Node) -> None:
    node.serve("run", "--listen", "tcp://127.0.0.1:0", "--service", "none", "--map-port", "--json")
    assert json.loads(wait_until(lambda: said_since(node, 0)))["services"] == ["port_map"]
    node.stop()
    assert (node.folder / "services").read_text() == "port_map\n"


def test_a_proxy_is_remembered_and_its_password_for_our_eyes_only(node: Node) -> None:
    node.serve("run", "--listen", "none", "--proxy", "http://alice:s3cret@127.0.0.1:9", "--json")
    wait_until(lambda: said_since(node, 0))
    node.stop()
    assert (node.folder / "proxy").read_text() == "http://alice:s3cret@127.0.0.1:9\n"
    assert (node.folder / "proxy").stat().st_mode & 0o077 == 0
    assert "s3cret" not in node.out


def test_doctor_tries_and_remembers_nothing(node: Node) -> None:
    node.mm("doctor", "--listen", "tcp://127.0.0.1:0")
    assert not (node.folder / "listen").exists()


def test_a_transport_that_is_not_there(node: Node) -> None:
    done = node.mm("run", "--without", "pigeons")
    assert done.returncode == 2
    assert b"no transport 'pigeons' (none, memory, relay, tcp, webrtc)" in done.stderr
    assert b"No such option" in node.mm("run", "--no-pigeons").stderr


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


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("where", ["a reader that has gone", "/dev/full"])
def test_it_goes_on_when_its_lines_cannot_be_written(node: Node, form: list[str], where: str) -> None:
    """Whoever reads the log may be restarted, and the disk of the log may be full: that is no reason to be away."""
    if where == "/dev/full":
        with Path(where).open("wb") as full:
            process = node.start(*form, "run", "--listen", "tcp://127.0.0.1:0", stdout=full)
    else:
        process = node.start(*form, "run", "--listen", "tcp://127.0.0.1:0", stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.close()
    wait_until(lambda: node.holder() == process.pid and "stdout cannot be written" in node.err)
    assert node.mm("status").returncode == OK
    assert end(process, signal.SIGTERM) == OK
    assert "Traceback" not in node.err
