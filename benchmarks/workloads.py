"""What is measured: the size, the unit and the clock of every workload."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """``to_receiver``: the clock stops when the receiver has handled the last message, not when the sender is done."""

    name: str
    title: str
    unit: str
    size: int = 100
    lower_is_better: bool = False
    to_receiver: bool = False


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("W1", "one way, 100 B", "messages/s", to_receiver=True),
        Workload("W2a", "round trip p50, 1 outstanding", "us", lower_is_better=True),
        Workload("W2b", "requests, 64 outstanding", "requests/s"),
        Workload("W3", "one way, 64 KiB", "MB/s", size=65536, to_receiver=True),
        Workload("W4", "fresh secure session p50", "ms", lower_is_better=True),
        Workload("W5", "durable, fsynced, acknowledged", "messages/s", to_receiver=True),
        Workload("R1", "one way through a relay or broker, 100 B", "messages/s", to_receiver=True),
        Workload("R2", "round trip p50 through a relay or broker", "us", lower_is_better=True),
        Workload("R5", "stored at the relay or broker, fsynced, recipient absent", "messages/s"),
    )
}
"""The workloads of ``latest.json``, in the order of the table."""

PIPELINING = Workload("W6", "a message with 1 / 100 / 10,000 in flight", "us", lower_is_better=True)
"""Measured on this platform alone and shown in a table of its own (:mod:`benchmarks.pipelining`)."""

DEPTHS = (1, 100, 10_000)

OUTSTANDING = 64
WARM_UP = 50
"""Messages or requests before the clock starts, so that nobody is charged for its first connection."""


def workload(name: str) -> Workload:
    return PIPELINING if name == PIPELINING.name else WORKLOADS[name]
