"""Peers at other processes of this relay: looked up once, remembered until told otherwise.

What is said to a peer while it is looked up waits in the queues of an empty seat, and goes on from there in order.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_relay.ports import Fleet
from mm_relay.routing.flows import Pair, Seat, Void
from mm_relay.routing.forwarding import Passing
from mm_transports.relay.protocol.items import RELAY, Carried, Item
from mmplatform.errors import MMError

REMEMBERED: Final = 65_536
SOUGHT: Final = 16_384  # at a time


class Process:
    """Another process of the fleet as a session."""

    key = b""
    role = RELAY
    full = False

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.address = name
        self._fleet = fleet

    def tell(self, item: Item) -> None:
        if isinstance(item, Carried):
            self._fleet.send(self.address, item)

    def end(self, reason: str, retry: float = 0.0) -> None:
        """It is not ours to end."""


class Finder:
    """``absent(pair, reason)`` is called with what waited for a peer that is nowhere."""

    def __init__(self, fleet: Fleet, passing: Passing, absent: Callable[[Pair, str], None]) -> None:
        self._fleet, self._passing, self._absent = fleet, passing, absent
        self._processes: dict[str, Seat] = {}
        self._places: dict[bytes, str] = {}
        self._sought: dict[bytes, Seat] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def process(self, name: str) -> Seat:
        """The seat of a process of the fleet."""
        seat = self._processes.get(name)
        if seat is None:
            seat = self._processes[name] = Seat(Process(self._fleet, name), name)
        return seat

    def place(self, key: bytes) -> str:
        """The process where a peer was last known to be, or ""."""
        return self._places.get(key, "")

    def seat(self, key: bytes) -> Seat | None:
        """Where what is said to a peer goes: the process where it is, or the seat it is looked up from; None when too
        many are looked up already."""
        name = self._places.get(key)
        if name is not None:
            return self.process(name)
        seat = self._sought.get(key)
        if seat is None and len(self._sought) < SOUGHT:
            seat = self._sought[key] = Seat(Void(), "sought")
            task = asyncio.get_running_loop().create_task(self._seek(key, seat), name="mm relay locate")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return seat

    def found(self, key: bytes, name: str) -> None:
        """A peer is at another process now."""
        self._places.pop(key, None)
        if len(self._places) >= REMEMBERED:
            del self._places[next(iter(self._places))]
        self._places[key] = name
        self._go_on(key, self.process(name))

    def here(self, key: bytes, seat: Seat) -> None:
        """A peer has signed in at this process."""
        self._places.pop(key, None)
        self._go_on(key, seat)

    def lost(self, key: bytes, name: str = "") -> None:
        """A peer is no longer at a process; or it may be elsewhere, without a name."""
        if self._places.get(key, "") == name or not name:
            self._places.pop(key, None)

    async def _seek(self, key: bytes, seat: Seat) -> None:
        reason = "absent"
        try:
            name = await self._fleet.locate(key)
        except (MMError, OSError):
            name, reason = "", "unreachable"
        if self._sought.get(key) is not seat:
            return  # it has come, or was heard of, meanwhile
        if name:
            self.found(key, name)
            return
        del self._sought[key]
        for pair in list(seat.incoming.values()):
            self._absent(pair, reason)

    def _go_on(self, key: bytes, outlet: Seat) -> None:
        seat = self._sought.pop(key, None)
        if seat is not None:
            for pair in list(seat.incoming.values()):
                if outlet.is_peer and pair.payer.void:
                    self._passing.forget(pair)  # signing in makes the relay say all of that itself
                else:
                    self._passing.reroute(pair, outlet)
