"""What a peer has to offer to be measured: serve in one process, connect from another, a broker if it needs one.

::

    runner ── broker     (optional)  Peer.broker() names the command
           ── receiver               Peer.serve(sink) -> info, every message to sink(payload), every request echoed
           ── sender                 Peer.connect(info) -> Client, which the driver puts to work
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import WARM_UP, Workload

Info = dict[str, str]
"""What the sender has to know about the receiver: a key, a ticket. Addresses follow from ``Job.port``."""

Report = Callable[..., None]

now = time.monotonic
"""CLOCK_MONOTONIC: comparable between the processes of one machine."""


@dataclass(frozen=True)
class Job:
    """One measurement: this workload, this often, on this port, with this folder for whatever has to be on disk."""

    workload: Workload
    count: int
    port: int
    folder: Path
    tls: Path


class Sink:
    """Counts what the receiver handles and reports twice: when the warm-up is in, and when everything is.

    Only the last payload is looked at, so that counting costs every peer the same few nanoseconds.
    """

    def __init__(self, job: Job, report: Report) -> None:
        self._size = job.workload.size
        self._total = WARM_UP + job.count
        self._seen = 0
        self._mark = WARM_UP
        self._report = report

    def __call__(self, payload: object) -> None:
        self._seen += 1
        if self._seen == self._mark:
            self._reached(payload)

    def _reached(self, payload: object) -> None:
        end = now()
        if not isinstance(payload, bytes) or len(payload) != self._size:
            raise ValueError(f"message {self._seen} is not the {self._size} bytes that were sent")
        event = "warm" if self._mark == WARM_UP else "result"
        self._mark = self._total
        self._report(event, end=end)


class Client(ABC):
    """One secure session from the sender to the receiver. A peer implements what its workloads call."""

    async def push(self, count: int, payload: bytes) -> None:
        """W1, W3: one way, as fast as the peer lets us; returns when everything is handed over."""
        raise NotImplementedError

    async def request(self, payload: bytes) -> bytes:
        """W2a, W4: one request, one reply."""
        raise NotImplementedError

    async def requests(self, count: int, payload: bytes, outstanding: int) -> None:
        """W2b: overridden where concurrent tasks are not the idiom of the peer."""
        await pipelined(lambda: self.request(payload), count, outstanding)

    async def deliver(self, payload: bytes) -> None:
        """W6: one durable message; returns when it is acknowledged by the receiver's handler."""
        raise NotImplementedError

    async def deliver_all(self, count: int, payload: bytes) -> None:
        """W5: durable messages the way the peer does them best; returns when all are acknowledged to the sender."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None: ...


class Peer(ABC):
    """One system under measurement; made anew in each of its processes."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def broker(self) -> list[str]:
        """The command line of the broker, listening on ``job.port``; empty without one."""
        return []

    @abstractmethod
    async def serve(self, sink: Sink) -> Info:
        """Start receiving and return; whatever must stay alive is kept on self."""

    @abstractmethod
    async def connect(self, info: Info) -> Client: ...


async def pipelined(operation: Callable[[], Awaitable[object]], count: int, depth: int) -> None:
    """Run ``operation`` ``count`` times with ``depth`` of them under way at any time."""
    tickets = iter(range(count))

    async def work() -> None:
        for _ in tickets:
            await operation()

    await asyncio.gather(*(work() for _ in range(min(depth, count))))
