"""What one message costs with 1, 100 and 10,000 of them in flight: more in flight must never make a message dearer."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.results import Measurement
from benchmarks.table import aligned, number
from benchmarks.workloads import DEPTHS, PIPELINING

Costs = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By kind (request, durable), by depth: the medians of per_message, p50 and p99, all in microseconds."""

COLUMNS = ("per_message", "p50", "p99")
TITLES = {"request": "request and reply", "durable": "durable send until acknowledged"}


def costs(measurements: Iterable[Measurement]) -> Costs:
    rounds = [row.depths for row in measurements if row.workload == PIPELINING.name and not row.error]
    if not rounds:
        return {}
    return {
        kind: {
            depth: {column: statistics.median(row[kind][depth][column] for row in rounds) for column in COLUMNS}
            for depth in depths
        }
        for kind, depths in rounds[0].items()
    }


def collapse(measured: Costs) -> float:
    """The worst ratio of a message's cost at the greatest depth to its cost alone; up to 1.0 nothing collapses."""
    deepest = str(DEPTHS[-1])
    return max(kind[deepest]["per_message"] / kind["1"]["per_message"] for kind in measured.values())


def render(measured: Costs) -> str:
    rows: list[Sequence[str]] = [("microseconds", "in flight", "per message", "latency p50", "latency p99")]
    for kind, depths in measured.items():
        for depth, cost in depths.items():
            title = TITLES[kind] if depth == "1" else ""
            rows.append((title, f"{int(depth):,}", *(number(cost[column]) for column in COLUMNS)))
    return aligned(rows)
