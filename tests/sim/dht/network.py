"""The virtual network: datagrams take half a round trip, or are lost; time jumps to whatever comes next."""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Protocol

from mm_services.kademlia.protocol.address import Address, scope_of

START: Final = 1_800_000_000.0


class Endpoint(Protocol):
    """Somebody with an address."""

    def receive(self, datagram: bytes, came_from: Address, now: float) -> None: ...


class Network:
    """``rtt`` in seconds, each way varies by ``jitter`` (a share of it); ``loss`` is the share of datagrams lost."""

    def __init__(self, seed: int, rtt: float = 0.04, loss: float = 0.0, jitter: float = 0.2) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.rtt, self.loss, self.jitter = rtt, loss, jitter
        self.endpoints: dict[Address, Endpoint] = {}
        self.sent = 0
        self.watch: Callable[[bytes, Address, Address], None] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def draw(self, size: int) -> bytes:
        """Randomness for machines."""
        return self.random.randbytes(size)

    def address(self) -> Address:
        """A fresh public address."""
        while True:
            address = Address(self.random.randbytes(4), self.random.randrange(1024, 65536))
            if scope_of(address.host) == 2 and address not in self.endpoints:
                return address

    def at(self, when: float, action: Callable[[], None]) -> None:
        heappush(self._events, (max(when, self.now), next(self._order), action))

    def send(self, data: bytes, to: Address, came_from: Address) -> None:
        self.sent += 1
        if self.watch is not None:
            self.watch(data, to, came_from)
        if self.random.random() < self.loss:
            return
        delay = self.rtt / 2 * (1 + self.jitter * (self.random.random() - 0.5) * 2)

        def arrive() -> None:
            endpoint = self.endpoints.get(to)
            if endpoint is not None:
                endpoint.receive(data, came_from, self.now)

        self.at(self.now + delay, arrive)

    def run(self, until: Callable[[], bool] | float) -> None:
        """Until a time, or until something is so."""
        end = until if isinstance(until, float) else None
        while self._events:
            if end is not None and self._events[0][0] > end:
                break
            if callable(until) and until():
                return
            self.now, _, action = heappop(self._events)
            action()
        if end is not None:
            self.now = end
