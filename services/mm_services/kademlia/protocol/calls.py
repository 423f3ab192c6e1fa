"""Keeps queries that wait for an answer: sends them again in time, matches answers by address and a random number.

directory.rst, "Exchanges". Pure: datagrams leave through ``send``, time comes in, :meth:`Calls.deadline` says when to
come back. The last byte of the number counts the attempts, so a late answer still gives a true round trip.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.rtt import RoundTrips
from mm_services.kademlia.protocol.wire import TX, Answer, Query

ATTEMPTS: Final = 3
MAX_CALLS: Final = 4096

Send = Callable[[bytes, Address], None]


class OpenCall:
    """One query. Calls ``late()`` for every unanswered datagram, then ``answered(answer)`` or ``failed()`` once."""

    __slots__ = (
        "address",
        "answered",
        "attempts",
        "deadline",
        "failed",
        "late",
        "most",
        "pack",
        "query",
        "sent",
        "wait",
    )

    def __init__(
        self,
        address: Address,
        query: Query,
        pack: Callable[[Query], bytes],
        answered: Callable[[Answer], None],
        failed: Callable[[], None],
        late: Callable[[], None] | None,
        most: int,
    ) -> None:
        self.address, self.query, self.pack = address, query, pack
        self.answered, self.failed, self.late = answered, failed, late
        self.attempts, self.most = 0, most
        self.sent: list[float] = []
        self.wait = self.deadline = 0.0


class Calls:
    """All open queries of a node."""

    def __init__(self, send: Send, random: Callable[[int], bytes]) -> None:
        self.round_trips = RoundTrips()
        self._send, self._random = send, random
        self._open: dict[bytes, OpenCall] = {}  # by the number without its last byte
        self._timers: list[tuple[float, int, OpenCall]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._open)

    def start(
        self,
        address: Address,
        query: Query,
        pack: Callable[[Query], bytes],
        now: float,
        answered: Callable[[Answer], None],
        failed: Callable[[], None],
        late: Callable[[], None] | None = None,
        attempts: int = ATTEMPTS,
    ) -> OpenCall | None:
        """Send a query; ``now`` in Unix seconds. Returns None when too many are open."""
        if len(self._open) >= MAX_CALLS:
            return None
        call = OpenCall(address, query, pack, answered, failed, late, attempts)
        call.query.tx = self._random(TX - 1) + b"\0"
        call.wait = self.round_trips.timeout(address)
        self._open[call.query.tx[:-1]] = call
        self._transmit(call, now)
        return call

    def cancel(self, call: OpenCall) -> None:
        """Forget a call; none of its functions is called any more."""
        self._open.pop(call.query.tx[:-1], None)
        call.deadline = 0.0

    def receive(self, answer: Answer, address: Address, now: float) -> OpenCall | None:
        """End and return the call that ``answer`` is for, or None when nobody asked ``address``."""
        call = self._open.get(answer.tx[:-1])
        attempt = answer.tx[-1]
        if call is None or call.address != address or attempt >= len(call.sent):
            return None
        self.cancel(call)
        self.round_trips.sample(address, max(0.0, now - call.sent[attempt]))
        return call

    def due(self, now: float) -> None:
        """Send queries again, or give them up, that have waited long enough."""
        while self._timers and self._timers[0][0] <= now:
            deadline, _, call = heappop(self._timers)
            if call.deadline != deadline:
                continue  # cancelled or answered
            if call.attempts < call.most:
                self._transmit(call, now)
                if call.late is not None:
                    call.late()
            else:
                self.cancel(call)
                call.failed()

    def deadline(self) -> float | None:
        """Return when to call :meth:`due`, in Unix seconds; None when no query is open."""
        while self._timers and self._timers[0][2].deadline != self._timers[0][0]:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _transmit(self, call: OpenCall, now: float) -> None:
        call.query.tx = call.query.tx[:-1] + bytes([call.attempts])
        call.sent.append(now)
        call.deadline = now + call.wait * (1.5**call.attempts)
        call.attempts += 1
        heappush(self._timers, (call.deadline, next(self._order), call))
        self._send(call.pack(call.query), call.address)
