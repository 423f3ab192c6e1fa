import pytest

from benchmarks.results import Measurement, summarise
from benchmarks.table import aligned, number, render

SUMMARIES = summarise(
    [
        Measurement("mm", "W1", 0, 1, value=600_000.0, cpu={"sender": 0.1, "receiver": 0.2}, rss={"sender": 40.0}),
        Measurement("naive", "W1", 0, 1, value=60_000.0, cpu={"sender": 1.0}, rss={"sender": 30.0}),
        Measurement("nats-tls", "W2a", 0, 1, value=300.0, p99=500.0, cpu={"broker": 1.0}, rss={"sender": 30.0}),
    ]
)


def test_a_block_a_workload_with_the_ratio_of_each_peer() -> None:
    lines = render(SUMMARIES, {}, {}).splitlines()
    assert "W1  one way, 100 B, messages/s" in lines
    platform, naive = (next(line.split() for line in lines if f"  {name} " in line) for name in ("mm", "naive"))
    assert platform == ["mm", "600,000", "600,000", "600,000", "0.10", "+", "0.20", "40.0"]
    assert naive == ["naive", "60,000", "60,000", "60,000", "10.00", "1.00", "30.0"]


def test_less_is_better_is_said_and_without_the_platform_there_is_no_ratio() -> None:
    lines = render(SUMMARIES, {}, {}).splitlines()
    assert "W2a  round trip p50, 1 outstanding, us (less is better)" in lines
    assert next(line.split() for line in lines if "nats" in line) == ["nats-tls", *["300"] * 3, "500", "1.00", "30.0"]


def test_failed_and_missing_peers_are_named_with_the_reason() -> None:
    text = render(SUMMARIES, {"W1": {"zmq-curve": "it broke"}, "W5": {"mm": "no disk"}}, {"zenoh-tls": "no module"})
    assert "  zmq-curve  failed: it broke" in text
    assert "W5  durable, fsynced, acknowledged, messages/s\n  mm  failed: no disk" in text
    assert "Missing peers\n  zenoh-tls  not measured: no module" in text


def test_aligned() -> None:
    assert aligned([("", "a"), ("heading",), ("row", "1.00"), ("  note",)]) == (
        "        a\n\nheading\nrow  1.00\n  note"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.8, "1,234,568"), (99.94, "99.9"), (100.0, "100"), (1.234, "1.23"), (0.0, "0.00")]
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text
