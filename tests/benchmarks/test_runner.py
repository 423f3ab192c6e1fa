import dataclasses
from pathlib import Path

import pytest

from benchmarks.registry import PEERS, Entry
from benchmarks.runner import Runner, Settings, plan
from benchmarks.workloads import WORKLOADS, workload

NAIVE = PEERS["naive"]


def test_rounds_take_the_peers_in_turn_and_begin_with_another_each_time() -> None:
    entries = [Entry(name, "x:X", {"W1": 1}) for name in "abc"] + [Entry("d", "x:X", {"W5": 1})]
    steps = [(number, task.name, entry.name) for number, task, entry in plan(entries, ["W1", "W5"], 2)]
    assert steps == [
        (0, "W1", "a"), (0, "W1", "b"), (0, "W1", "c"), (0, "W5", "d"),
        (1, "W1", "b"), (1, "W1", "c"), (1, "W1", "a"), (1, "W5", "d"),
    ]  # fmt: skip


def test_a_workload_that_no_chosen_peer_does_is_no_step() -> None:
    assert plan([Entry("a", "x:X", {"W1": 1})], ["W5"], 3) == []


@pytest.mark.parametrize("name", ["W1", "W2a", "W2b", "W3", "W4"])
async def test_the_naive_peer_is_measured_from_end_to_end(name: str, settings: Settings) -> None:
    row = await Runner(settings).run((0, workload(name), NAIVE))
    assert row is not None
    assert row.error == ""
    assert row.value > 0
    assert row.seconds > 0
    assert set(row.cpu) == set(row.rss) == {"sender", "receiver"}
    assert all(megabytes > 1 for megabytes in row.rss.values())
    assert (row.p99 is not None) == (name in ("W2a", "W4"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entry", "name"),
    [
        pytest.param(
            entry,
            name,
            id=f"{entry.name}-{name}",
            marks=pytest.mark.skipif(bool(entry.missing), reason=entry.missing or "installed"),
        )
        for entry in PEERS.values()
        for name in entry.counts
        if entry.name not in ("mm", "naive")
    ],
)
async def test_every_other_peer_that_is_installed(entry: Entry, name: str, settings: Settings) -> None:
    tls = pytest.importorskip("benchmarks.tls", exc_type=ImportError)
    tls.create(settings.state / "tls")
    row = await Runner(settings).run((0, workload(name), entry))
    assert row is not None
    assert row.error == ""
    assert row.value > 0
    assert ("broker" in row.rss) == bool(entry.program)


async def test_nothing_is_left_on_disk_but_logs(settings: Settings) -> None:
    await Runner(settings).run((0, WORKLOADS["W2a"], NAIVE))
    assert sorted(path.name for path in settings.state.iterdir()) == [
        "naive-W2a-receiver.log",
        "naive-W2a-sender.log",
    ]


async def test_a_peer_that_fails_is_named_with_its_last_words_and_given_up(settings: Settings) -> None:
    runner = Runner(settings)
    unable = dataclasses.replace(NAIVE, counts={"W5": 1000})
    first, second, third = [await runner.run((number, WORKLOADS["W5"], unable)) for number in range(3)]
    for row in (first, second):
        assert row is not None
        assert row.error.startswith("naive sender: ended before ready: NotImplementedError")
        assert str(settings.state) in row.error
    assert third is None


async def test_a_peer_that_is_silent_is_a_time_out(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "state", share=0.001, timeout=0.001)
    row = await Runner(settings).run((0, WORKLOADS["W1"], NAIVE))
    assert row is not None
    assert row.error in [f"naive {end}: no ready within 0 s" for end in ("receiver", "sender")]
