"""Clocks of relays that differ are allowed for, named once, and stand in the metrics."""

from mm_relay.federation.clocks import Clocks
from mm_relay.metrics import Metrics, families
from tests.sim.relay_mail.office import key


def test_a_clock_that_differs_is_allowed_for_and_named_once() -> None:
    metrics, notes = Metrics(), list[str]()
    clocks = Clocks(metrics, notes.append)
    assert clocks.heard(key("x"), "relay+wss://x/K", 5.0) == 0
    assert notes == []
    assert clocks.heard(key("x"), "relay+wss://x/K", 10 * 86_400.0) == 10 * 86_400_000
    assert clocks.heard(key("x"), "relay+wss://x/K", 10 * 86_400.0 + 3) == 10 * 86_400_000 + 3000
    assert clocks.heard(key("y"), "relay+wss://y/K", -7200.0) == -7_200_000
    assert [note.partition(":")[0] for note in notes] == ["the clock of the relay relay+wss"] * 2
    assert "is 10.0 days ahead of ours" in notes[0]
    assert "is 7200 s behind ours" in notes[1]
    (family,) = [each for each in families(metrics) if each.name == "mm_relay_clock_skew_seconds"]
    assert sorted(family.values.values()) == [-7200.0, 10 * 86_400.0 + 3]  # type: ignore[union-attr]


def test_a_clock_that_is_right_again_is_said() -> None:
    metrics, notes = Metrics(), list[str]()
    clocks = Clocks(metrics, notes.append)
    clocks.heard(key("x"), "relay+wss://x/K", 7200.0)
    assert clocks.heard(key("x"), "relay+wss://x/K", 0.2) == 0
    assert notes[1].endswith("is no longer different from ours")
    assert metrics.clock_skews == {}
