import json
from pathlib import Path

import pytest

from benchmarks.results import Measurement, failures, full, latest, summarise, write

ROWS = [
    Measurement("zmq-curve", "W1", 0, 10, value=300.0, cpu={"sender": 1.0}, rss={"sender": 30.0}),
    *(
        Measurement("mm", "W1", number, 10, value=value, p99=value * 2, cpu={"sender": value}, rss={"sender": 40.0})
        for number, value in enumerate([700.0, 100.0, 600.12345])
    ),
    Measurement("naive", "W1", 0, 10, error="it broke"),
    Measurement("zmq-curve", "W1", 1, 10, error="once"),
    Measurement("mm", "W6", 0, 10, value=3.0),
]


def test_medians_in_the_order_of_the_table() -> None:
    summaries = summarise(ROWS)
    assert list(summaries) == ["W1"]
    assert list(summaries["W1"]) == ["mm", "zmq-curve"]
    row = summaries["W1"]["mm"]
    assert (row.median, row.low, row.high) == (600.12345, 100.0, 700.0)
    assert row.p99 == pytest.approx(1200.2469)
    assert row.cpu == {"sender": 600.12345}
    assert summaries["W1"]["zmq-curve"].p99 is None


def test_only_those_that_never_succeeded_have_failed() -> None:
    assert failures(ROWS) == {"W1": {"naive": "it broke"}}


def test_latest_is_workloads_of_peers_of_numbers() -> None:
    assert latest(summarise(ROWS)) == {"W1": {"mm": 600.123, "zmq-curve": 300.0}}


def test_full_has_every_round_and_what_it_ran_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "full.json"
    write(path, full(ROWS, summarise(ROWS), missing={"nats-tls": "why"}))
    content = json.loads(path.read_text())
    assert len(content["rounds"]) == len(ROWS)
    assert content["medians"]["W1"]["mm"]["median"] == 600.12345
    assert content["missing"] == {"nats-tls": "why"}
    assert content["machine"]["cores"] >= 1
    assert "msgspec" in content["versions"]
    assert content["workloads"]["W3"]["size"] == 65536
