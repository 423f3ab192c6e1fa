"""What every command has: settings, and an end in good order."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import OK, Settings
from mmplatform.cli.main import run
from tests.support.cli import INTERRUPTED, Node, end

Here = Callable[..., tuple[int, str, str]]


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MM_DATA", str(tmp_path / "env"))
    assert run(["id"]) == OK
    assert (tmp_path / "env" / "identity").exists()
    assert Settings().data == tmp_path / "env"


def test_json_before_and_behind_the_command(here: Here) -> None:
    before, behind = here("--json", "id"), here("id", "--json")
    assert json.loads(before[1])["signId"] == json.loads(behind[1])["signId"]


def test_it_runs_without_uvloop(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert here("id")[0] == OK


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, OK)])
def test_run_stops_in_good_order(node: Node, number: int, code: int) -> None:
    process = node.serve("run", "--listen", "tcp://127.0.0.1:0")
    assert node.mm("id").returncode == OK
    assert end(process, number) == code
    assert not node.control.exists()
    assert node.out.endswith("stopped\n")
    assert "tcp://127.0.0.1:" in node.out
    assert node.err == ""
