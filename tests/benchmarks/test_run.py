import json
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.registry import PEERS, Entry


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "QUICK_SHARE", 0.001)


def run_quick(tmp_path: Path, *arguments: str) -> int:
    output = tmp_path / "results" / "latest.json"
    return run.main(["--quick", "--output", str(output), "--state", str(tmp_path / "state"), *arguments])


def test_a_run_prints_one_table_and_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_quick(tmp_path, "--peers", "naive", "--only", "W1,W2a", "--rounds", "2") == 0
    out, err = capsys.readouterr()
    assert "W1  one way, 100 B, messages/s\n  naive " in out
    assert "target" in out
    assert [line.split()[0] for line in err.splitlines()] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    latest = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert set(latest) == {"W1", "W2a"}
    assert set(latest["W1"]) == {"naive"}
    assert latest["W1"]["naive"] > 0
    full = json.loads((tmp_path / "results" / "full.json").read_text())
    assert [row["round"] for row in full["rounds"]] == [0, 0, 1, 1]
    assert full["settings"]["rounds"] == 2


def test_a_missing_peer_is_named_never_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "zmq-curve", Entry("zmq-curve", "x:X", {"W1": 1}, ("no_such_module",)))
    assert run_quick(tmp_path, "--peers", "zmq-curve", "--only", "W1") == 0
    reason = "no Python module no_such_module (make bench installs it, with the extra [bench])"
    assert f"  zmq-curve  not measured: {reason}" in capsys.readouterr().out
    full = json.loads((tmp_path / "results" / "full.json").read_text())
    assert full["missing"] == {"zmq-curve": reason}


def test_a_missing_peer_fails_a_run_that_has_to_be_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "zmq-curve", Entry("zmq-curve", "x:X", {"W1": 1}, ("no_such_module",)))
    assert run_quick(tmp_path, "--peers", "zmq-curve", "--only", "W1", "--complete") == 1


def test_no_round_begins_that_would_end_too_late(tmp_path: Path) -> None:
    assert run_quick(tmp_path, "--peers", "naive", "--only", "W1", "--rounds", "1000", "--seconds", "1") == 0
    full = json.loads((tmp_path / "results" / "full.json").read_text())
    assert 1 <= full["settings"]["rounds"] < 1000


@pytest.mark.parametrize(("own", "workload"), [("mm", "W1"), ("mm-relay", "R1")])
def test_without_the_platform_itself_a_run_fails(
    own: str, workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, own, Entry(own, "x:X", {workload: 1}, ("no_such_module",)))
    assert run_quick(tmp_path, "--peers", own, "--only", workload) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "W9"], "W9 is not of W1, W2a"),
        (["--peers", "mm,grpc"], "grpc is not of mm, mm-relay"),
        (["--peers", ","], "nothing is not of"),
        (["--rounds", "0"], "at least 1"),
        (["--loop", "trio"], "invalid choice"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run.main(arguments)
    assert reason in capsys.readouterr().err


def test_by_default_everything_is_measured() -> None:
    options = run._parser().parse_args([])
    assert options.only == ["W1", "W2a", "W2b", "W3", "W4", "W5", "R1", "R2", "R5", "W6", "local"]
    assert options.peers == list(PEERS)
    assert options.output == run.HERE / "results" / "latest.json"
