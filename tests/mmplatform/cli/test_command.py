"""What every command has: settings, and an end in good order."""

import json
import pwd
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mmplatform.cli.command import OK, SECONDS, USAGE, Settings
from mmplatform.cli.main import mm, run
from tests.support.cli import INTERRUPTED, Node, end
from tests.support.command_tree import commands

Here = Callable[..., tuple[int, str, str]]


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MM_DATA", str(tmp_path / "env"))
    assert run(["id"]) == OK
    assert (tmp_path / "env" / "identity").exists()
    assert Settings().data == tmp_path / "env"


@pytest.mark.parametrize("folder", ["", "~nobody-of-that-name/mm"])
def test_a_folder_that_is_none_is_wrong_usage(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--data ""`` was the working directory."""
    assert run(["--data", folder, "id"]) == USAGE
    told = capsys.readouterr().err
    assert "name" in told
    assert told.startswith("mm: ")


def options() -> list[tuple[str, click.Option]]:
    return [(path, option) for path, one in commands(mm) for option in one.params if isinstance(option, click.Option)]


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "0", "-1", "1e9", "1e400", "soon"])
def test_what_is_no_number_of_seconds_is_wrong_usage(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``mm rmb call --timeout nan`` was told as a defect of this program, and ``inf`` ended in the event loop."""
    taking = [(path, option) for path, option in options() if option.type is SECONDS]
    assert len(taking) >= 8
    for path, option in taking:
        assert run([*path.split()[1:], option.opts[-1], seconds]) == USAGE
        assert f"{seconds!r} is no number of seconds" in capsys.readouterr().err


def test_no_option_takes_a_bare_float() -> None:
    """A number that may have a fraction is one of seconds, and has their bounds."""
    bare = [path for path, option in options() if isinstance(option.type, click.types.FloatParamType)]
    assert bare == []


@pytest.mark.parametrize("home", [None, ""])
def test_without_a_home_a_folder_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("MM_DATA", raising=False)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(pwd, "getpwuid", nowhere)
    assert run(["id"]) == USAGE
    assert "--data PATH, or MM_DATA" in capsys.readouterr().err
    assert run(["--data", str(tmp_path / "named"), "id"]) == OK


def test_a_folder_of_something_else_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "photo.jpg").touch()
    assert run(["--data", str(tmp_path), "id"]) == USAGE
    assert f"mm: {tmp_path} is no data folder" in capsys.readouterr().err


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
