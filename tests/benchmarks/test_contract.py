import asyncio
from pathlib import Path

import pytest

from benchmarks.contract import Job, Sink, pipelined
from benchmarks.workloads import WARM_UP, WORKLOADS


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def sink(reports: list[str]) -> Sink:
    job = Job(WORKLOADS["W1"], 3, 0, Path(), Path())
    return Sink(job, lambda event, **values: reports.append(event))


def test_a_sink_reports_the_warm_up_and_the_last_message(sink: Sink, reports: list[str]) -> None:
    for _ in range(WARM_UP - 1):
        sink(bytes(100))
    assert reports == []
    sink(bytes(100))
    assert reports == ["warm"]
    sink(bytes(100))
    sink(bytes(100))
    assert reports == ["warm"]
    sink(bytes(100))
    assert reports == ["warm", "result"]


@pytest.mark.parametrize("payload", [b"short", None, "x" * 100])
def test_a_sink_refuses_what_was_not_sent(sink: Sink, payload: object) -> None:
    for _ in range(WARM_UP - 1):
        sink(payload)
    with pytest.raises(ValueError, match="not the 100 bytes"):
        sink(payload)


@pytest.mark.parametrize(("count", "depth", "most"), [(10, 4, 4), (3, 64, 3), (5, 1, 1)])
async def test_pipelined_keeps_so_many_under_way(count: int, depth: int, most: int) -> None:
    under_way, seen = 0, []

    async def operation() -> None:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await pipelined(operation, count, depth)
    assert len(seen) == count
    assert max(seen) == most
