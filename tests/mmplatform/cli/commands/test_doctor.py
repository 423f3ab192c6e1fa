"""mm doctor: on a node that runs, on one that is started for it, and on a folder where none can."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mmplatform import diagnosis
from mmplatform.cli.command import FAILED, OK, USAGE
from mmplatform.errors import NotRunning
from mmplatform.storage.folder import DataFolder
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]
LISTEN = ("--listen", *LOOPBACK)


def checks(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def faults(out: str) -> set[str]:
    return {check["word"] for check in checks(out) if check["state"] == "fault"}


def warnings(out: str) -> set[str]:
    return {check["word"] for check in checks(out) if check["state"] == "warning"}


def test_a_node_of_its_own(here: Here) -> None:
    code, out, err = here("doctor", "--json", *LISTEN)
    assert (code, err) == (OK, "")
    assert faults(out) == set()
    assert warnings(out) == {"no-relay"}
    assert set(checks(out)[0]) == {"subject", "state", "word", "text", "remedy"}


def test_for_people(here: Here) -> None:
    code, out, _ = here("doctor", *LISTEN)
    assert code == OK
    lines = out.splitlines()
    assert [line.startswith("ok          data folder: ") for line in lines].count(True) == 1
    number = next(n for n, line in enumerate(lines) if line.startswith("warning"))
    assert lines[number].endswith("[no-relay]")
    assert lines[number + 1].startswith("            -> name a relay")
    assert lines[-1].startswith("0 faults, 1 warning; ")


def test_the_node_that_runs(node: Node) -> None:
    node.serve("run", *LISTEN)
    asked = node.mm("doctor", "--json")
    assert asked.returncode == OK
    assert warnings(asked.stdout.decode()) == {"no-relay"}


def test_a_peer(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    bob.serve("run", *LISTEN)
    alice.serve("run", *LISTEN)
    asked = alice.mm("doctor", "bob", "--json")
    found = {check["subject"]: check for check in checks(asked.stdout.decode())}
    assert found["record of bob"]["state"] == "ok"
    assert found["links to bob"]["state"] == "ok"
    assert found["clock"]["state"] == "ok"
    assert asked.returncode == OK


def test_a_peer_that_is_gone(pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    asked = alice.mm("doctor", "bob", "--json", *LISTEN)
    assert asked.returncode == FAILED
    assert faults(asked.stdout.decode()) == {"peer-unreachable"}


def test_a_peer_that_nobody_knows(here: Here) -> None:
    code, _, err = here("doctor", "nobody", *LISTEN)
    assert code == FAILED
    assert "neither a signId nor the name of a peer" in err


def test_port_in_use(here: Here) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, out, _ = here("doctor", "--json", "--listen", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert code == FAILED
    assert faults(out) == {"port-in-use"}
    assert checks(out)[-1]["state"] == "not checked"


def test_stun_server_that_is_gone(here: Here) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    code, out, _ = here("doctor", "--json", *LISTEN, "--stun", f"stun:127.0.0.1:{port}")
    assert code == FAILED
    assert faults(out) == {"stun-unreachable"}
    assert here("doctor", "--stun", "http://x")[0] == USAGE


def test_database_that_is_damaged(here: Here, tmp_path: Path) -> None:
    here("id")
    (tmp_path / "here" / "data.db").write_bytes(b"not a database" * 1000)
    code, out, _ = here("doctor", "--json", *LISTEN)
    assert code == FAILED
    assert faults(out) == {"database-damaged"}


def test_folder_that_something_else_holds(here: Here, tmp_path: Path) -> None:
    with DataFolder(tmp_path / "here"):
        code, out, _ = here("doctor", "--json", *LISTEN)
    assert code == FAILED
    assert faults(out) == {"folder-in-use"}


def test_a_plugin_that_is_not_there(here: Here) -> None:
    code, out, _ = here("doctor", "--json", *LISTEN, "--service", "no-such-thing")
    assert code == FAILED
    assert faults(out) == {"plugin-missing"}


def test_a_node_that_stops_while_it_is_examined(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped(*_: Any) -> Any:
        raise NotRunning("the platform stopped")

    monkeypatch.setattr(diagnosis, "examine", stopped)
    code, _, err = here("doctor", *LISTEN)
    assert code == FAILED
    assert "stopped" in err


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a disk needs root")
@pytest.mark.parametrize("running", [False, True])
def test_disk_full(tmp_path: Path, running: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    node = Node(tmp_path / "disk" / "node")
    try:
        node._stdout, node._stderr = tmp_path / "out", tmp_path / "err"
        if running:
            node.serve("run", *LISTEN)
        else:
            assert node.mm("id").returncode == OK
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        asked = node.mm("doctor", "--json", *LISTEN)
        assert faults(asked.stdout.decode()) == {"disk-full"}
        assert asked.returncode == FAILED
        (disk / "filler").unlink(missing_ok=True)
        assert "disk-full" not in node.mm("doctor", "--json", *LISTEN).stdout.decode()
    finally:
        node.stop()
        wait_until(lambda: subprocess.run(["umount", disk], capture_output=True).returncode == 0)


def test_metrics_of_a_running_node(node: Node) -> None:
    import urllib.request

    process = node.serve("run", "--json", *LISTEN, "--metrics", "0")
    wait_until(lambda: node.lines)
    url = json.loads(node.out.splitlines()[0])["metrics"]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=10) as page:
        assert b"mm_node_ready 1.0" in page.read()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == OK


def test_metrics_somewhere_impossible(here: Here) -> None:
    assert here("run", "--metrics", "nowhere")[0] == USAGE
