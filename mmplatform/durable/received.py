"""Follows the messages that their recipient keeps for a handler to come, until a receipt tells their end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final
from weakref import ReferenceType

from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import Ack, End
from mmplatform.durable.fates import Fates
from mmplatform.durable.received_ids import Place, ReceivedIds
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.message import DELIVERED, EXPIRED, Delivery, Outcome, make_id
from mmplatform.storage.contract import Storage

LOOK_EVERY: Final = 3600.0  # seconds between two looks for messages whose recipient is silent for too long


class Received:
    """The messages that peers have on their disks, and whose end is not known.

    Args:
        storage: keeps their ids.
        unsynced: writes them.
        fates: remembers those that end in another way than delivered.
        ended: counts the ends, by state.
        deliveries: gives the Deliveries of a stream of this run that somebody holds, by number.
        acknowledge: settles messages that are sent and whose acknowledgement is yet to come.
        unread: says whether a message of these numbers is in the outbox, and only on disk.
        now: the clock, in Unix seconds.

    """

    def __init__(
        self,
        storage: Storage,
        unsynced: UnsyncedRows,
        fates: Fates,
        ended: Counter[str],
        deliveries: Callable[[str, int, int], Mapping[int, ReferenceType[Delivery]]],
        acknowledge: Callable[[str, Ack], None],
        unread: Callable[[str, int, int, int], bool],
        now: Callable[[], float],
    ) -> None:
        self.ids = ReceivedIds(storage, unsynced)
        self._fates, self._ended, self._deliveries, self._now = fates, ended, deliveries, now
        self._acknowledge, self._unread = acknowledge, unread
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Load what earlier runs left, and end what its recipients never spoke of again. Raises StorageError."""
        await self.ids.restore()
        self._end_overdue()

    def close(self) -> None:
        """Look for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def note(self, peer: str, settled: Settled) -> set[int]:
        """Note which messages ``peer`` keeps; return their numbers."""
        place = (peer, settled.lane, settled.epoch)
        numbers: set[int] = set()
        for low, high, until in settled.kept:
            for early in self.ids.add(place, low, high, until):
                asyncio.get_running_loop().call_soon(self.end, *place, *early)
            numbers.update(range(low, high + 1))
        for delivery in self._held(place, numbers):
            delivery.keep()
        return numbers

    def end(self, peer: str, lane: int, epoch: int, low: int, high: int, outcome: Outcome) -> None:
        """Take from a receipt of ``peer`` how messages ended that it had kept; unknown ones are ignored."""
        place: Place = (peer, lane, epoch)
        ended = self.ids.end(place, low, high)
        if sum(last - first + 1 for first, last in ended) <= high - low:
            self._end_unacknowledged(place, low, high, outcome)
        for numbers in [range(first, last + 1) for first, last in ended]:
            self._ended[outcome.state] += len(numbers)
            for seq in numbers if outcome is not DELIVERED else ():  # of which no fate is kept
                self._fates.note(make_id(peer, lane, epoch, seq), outcome)
            for delivery in self._held(place, numbers):
                delivery.settle(outcome)

    def _held(self, place: Place, numbers: Collection[int]) -> list[Delivery]:
        """Return the Deliveries of messages of this run that somebody holds."""
        held = self._deliveries(*place)
        found = [held[seq]() for seq in numbers if seq in held] if held else []
        return [delivery for delivery in found if delivery is not None]

    def _end_unacknowledged(self, place: Place, low: int, high: int, outcome: Outcome) -> None:
        """End messages whose acknowledgement is yet to come: an acknowledgement has room for a few ranges only."""
        peer, lane, epoch = place
        told = (low, high, End[outcome.state.upper()], outcome.reason)
        self._acknowledge(peer, Ack(lane, epoch, 0, [(low, high)], [told], []))
        if self._unread(peer, lane, low, high):
            self.ids.told_early(place, low, high, outcome)

    def _end_overdue(self) -> None:
        for place, low, high in self.ids.overdue(int(self._now() * 1000)):
            self.end(*place, low, high, EXPIRED)
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._end_overdue)
