"""mm demo: the whole of it, and what it would say of a fault."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mmplatform
from mmplatform.cli.command import FAILED, OK
from mmplatform.cli.commands import demo
from mmplatform.cli.commands.demo import DemoResult, _cut_torn, _Demo, _records, _text
from tests.support.cli import INTERRUPTED, MM
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder of its own, with a short name."""
    tmp_path_factory.getbasetemp()  # made with the first use: here it would be gone with that folder
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.mark.slow
def test_it_ends_as_it_should(temporary: Path) -> None:
    done = subprocess.run(
        (*MM, "demo"), capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"}
    )
    assert done.returncode == OK, done.stdout + done.stderr
    total = len(_text(None).split(b"\n")) - 1
    assert done.stdout.splitlines()[-1] == (f"sent {total}, delivered {total}, lost 0, duplicated 0, out of order 0")
    assert "killed with SIGKILL" in done.stdout
    assert "is aborted" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_its_nodes_find_each_other_or_it_says_why_not(
    monkeypatch: pytest.MonkeyPatch, here: Here, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x\n" * 100)
    _, out, _ = here("demo", "--input", str(source))
    assert "found him by mdns" in out or "by tickets: mdns finds nobody here" in out
    with monkeypatch.context() as absent:
        absent.setattr(demo, "_services", list)
        code, out, _ = here("demo", "--input", str(source))
    assert code == OK
    assert "by tickets: no service that finds neighbours is installed" in out
    monkeypatch.setattr(demo, "DISCOVERY", 0.0)
    code, out, _ = here("demo", "--input", str(source))
    assert code == OK
    assert "by tickets: mdns found nobody within 0 s" in out


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"one line without an end", b"\n\r\n\xff\xfe\n" * 40])
def test_any_file_in_json(here: Here, tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    code, out, _ = here("demo", "--json", "--input", str(source))
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == OK
    assert lines[-1]["ok"]
    assert {"crash", "restart", "cut"} <= {line.get("event") for line in lines}


def test_an_empty_file(here: Here, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    code, _, err = here("demo", "--input", str(tmp_path / "empty"))
    assert code == FAILED
    assert "nothing to send" in err


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_nothing_behind(temporary: Path, times: int) -> None:
    process = subprocess.Popen((*MM, "demo"), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"alice" in process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    if times == 2:
        for child in children:
            os.kill(int(child), signal.SIGSTOP)  # they are waited for when the second one comes
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        if times == 2:
            wait_until(lambda: not _pending(process.pid, signal.SIGINT))
    assert process.wait(30) == INTERRUPTED
    process.stdout.close()
    wait_until(lambda: not any(_runs(child) for child in children))
    assert list(temporary.iterdir()) == []


def _pending(process: int, number: int) -> bool:
    """Whether a signal was sent to a process, which has not taken it yet."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    return any(int(line.split()[1], 16) >> (number - 1) & 1 for line in lines if line.startswith("ShdPnd"))


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def record(number: int, line: bytes) -> bytes:
    return number.to_bytes(8) + len(line).to_bytes(4) + line


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([(0, b"a\n"), (1, b"b\n"), (2, b"c\n")], (3, 3, 0, 0, 0, True)),
        ([(0, b"a\n"), (2, b"c\n")], (3, 2, 1, 0, 0, False)),
        ([(0, b"a\n"), (0, b"a\n"), (1, b"b\n"), (2, b"c\n")], (3, 3, 0, 1, 0, False)),
        ([(1, b"b\n"), (0, b"a\n"), (2, b"c\n")], (3, 3, 0, 0, 1, False)),
        ([(0, b"a\n"), (1, b"x\n"), (2, b"c\n")], (3, 3, 0, 0, 0, False)),
        ([], (3, 0, 3, 0, 0, False)),
    ],
)
async def test_faults_are_counted(tmp_path: Path, received: list[tuple[int, bytes]], expected: tuple[Any, ...]) -> None:
    (tmp_path / "received").write_bytes(b"".join(record(*one) for one in received))
    found = _Demo(False, tmp_path, b"a\nb\nc\n", None)._verdict()
    assert found == DemoResult(*expected)
    assert found.good is expected[-1]


def test_a_torn_record_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "received"
    whole = record(0, b"a\n") + record(1, b"")
    for torn in (b"", b"\0\0", record(2, b"torn")[:-1]):
        path.write_bytes(whole + torn)
        assert list(_records(_cut_torn(path))) == [(0, b"a\n"), (1, b"")]
        assert path.read_bytes() == whole
    assert _cut_torn(tmp_path / "missing") == b""


def test_the_source_is_sent_where_there_is_no_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "mmplatform").mkdir(parents=True)
    (tmp_path / "site" / "mmplatform" / "__init__.py").write_text("code\n")
    monkeypatch.setattr(mmplatform, "__file__", str(tmp_path / "site" / "mmplatform" / "__init__.py"))
    assert _text(None) == b"code\n"


def test_a_node_that_does_not_start_is_named(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_listen", lambda: ["nonsense:1"])
    code, _, err = here("demo")
    assert code == FAILED
    assert "did not start" in err
    assert "nonsense" in err


def test_it_gives_up_in_time(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 0.0)
    code, out, _ = here("demo")
    assert code == FAILED
    assert "it took too long" in out


@pytest.mark.slow
def test_live_progress_on_a_terminal(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "is_steered", lambda descriptor: True)
    (tmp_path / "source").write_bytes(b"x\n" * 400)
    code, out, _ = here("demo", "--input", str(tmp_path / "source"))
    assert code == OK
    assert "\r  400 of 400 delivered" in out
