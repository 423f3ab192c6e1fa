"""What a run is held against: the ratios and limits that this platform has set itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import Summaries, of_platform
from benchmarks.table import aligned


@dataclass(frozen=True)
class Target:
    """``measured`` over ``limit``: met when it is at least (or, for ``at_most``, at most) the limit."""

    name: str
    limit: float
    at_most: bool = False

    def met(self, measured: float) -> bool:
        return measured <= self.limit if self.at_most else measured >= self.limit


RATIOS = {
    ("W1", "zmq-curve"): Target("W1 / zmq-curve", 1.0),
    ("W1", "nats-tls"): Target("W1 / nats-tls", 4.0),
    ("W2a", "zmq-curve"): Target("W2a / zmq-curve", 1.2, at_most=True),
    ("W2b", "zmq-curve"): Target("W2b / zmq-curve", 3.0),
    ("W3", "zmq-curve"): Target("W3 / zmq-curve", 0.9),
    ("W4", "zmq-curve"): Target("W4 / zmq-curve", 1.0, at_most=True),
    ("W5", "redis-fsync"): Target("W5 / redis-fsync", 4.0),
    ("R1", "nats-tls"): Target("R1 / nats-tls", 1.0),
    ("R2", "mm-direct"): Target("R2 / mm-direct", 3.0, at_most=True),
    ("R5", "jetstream-fsync"): Target("R5 / jetstream-fsync", 3.0),
}
PIPELINING = Target("a message's cost, 10,000 in flight / 1 in flight", 1.0, at_most=True)
LOCAL = {
    "import mmplatform": Target("import mmplatform, ms", 150.0, at_most=True),
    "idle node": Target("idle node, MB RSS", 45.0, at_most=True),
}


def measured(
    summaries: Summaries, collapse: float | None, local: Mapping[str, float]
) -> list[tuple[Target, float | None]]:
    """Every target with its figure of this run, None where one of its sides was not measured."""
    rows: list[tuple[Target, float | None]] = []
    for (workload, peer), target in RATIOS.items():
        peers = summaries.get(workload, {})
        own = of_platform(workload, peers)
        rows.append((target, peers[own].median / peers[peer].median if own and peer in peers else None))
    rows.append((PIPELINING, collapse))
    rows += [(target, local.get(name)) for name, target in LOCAL.items()]
    return rows


def render(rows: Sequence[tuple[Target, float | None]]) -> str:
    table: list[Sequence[str]] = [("target", "wanted", "measured", "")]
    for target, value in rows:
        wanted = f"{'<=' if target.at_most else '>='} {target.limit:g}"
        if value is None:
            table.append((target.name, wanted, "-", "not measured"))
        else:
            table.append((target.name, wanted, f"{value:.2f}", "met" if target.met(value) else "MISSED"))
    return aligned(table)
