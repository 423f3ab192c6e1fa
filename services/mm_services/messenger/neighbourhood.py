"""Whom a carrier talks to: of all that are met, the neighbours by the ring, those who chose us, and recipients.

Met is who has a link to us, whoever found it, and who is found on the same network. As long as these are too few,
friends are looked for, too. The neighbours are chosen anew when somebody comes or goes; who stays is not disturbed.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from mm_services.messenger.carrier import Carrier
from mm_services.messenger.exchange import CarrierNeighbour, PeerLine
from mm_services.messenger.protocol.meeting import Meeting
from mm_services.messenger.protocol.ring import BadMarks, chosen
from mmplatform.errors import MMError, NoResponders, RequestFailed
from mmplatform.identity.keys import SignId
from mmplatform.messaging.upstream import Upstream

LINKED: Final = "linked"
NEARBY: Final = "nearby"

SOON: Final = 0.05  # seconds from a change to the choice: who comes seldom comes alone
EVERY: Final = 60.0  # seconds between two choices when nothing changes
NO_CARRIER: Final = 600.0  # seconds in which who does not carry is not asked again
REFUSED: Final = 5.0  # seconds in which who refuses us is not asked again: rights are changed while people talk
FORGOTTEN: Final = 900.0  # seconds after which who chose us, and was not heard since, is no neighbour any more
LOOKED_FOR: Final = 16  # friends who are not met that are looked for at a time, when all neighbours are chosen
MOST_MET: Final = 4096  # carriers that are met at a time; of more, nobody is chosen
MOST_CHOSEN_US: Final = 64  # carriers that chose us and whom we did not choose


class Neighbourhood:
    """The meetings of a carrier.

    Args:
        carrier: whose they are.
        upstream: asks peers.
        limit: how many neighbours are chosen; 0 chooses all.
        friends: gives those who are looked for when too few are met.
        random: gives a number from 0 to below 1.
        failed: is told of what should not happen.

    """

    def __init__(
        self,
        carrier: Carrier,
        upstream: Upstream,
        limit: int,
        friends: Callable[[], Iterable[SignId]],
        random: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self._carrier, self._upstream, self._limit = carrier, upstream, limit
        self._friends, self._random, self._failed = friends, random, failed
        self._met: dict[SignId, set[str]] = {}
        self._chose_us: dict[SignId, float] = {}  # when they were heard last
        self._wanted: set[SignId] = set()  # recipients of what is here, among those met
        self._no_carriers: dict[SignId, float] = {}  # until when they are not asked
        self._bad = BadMarks()
        self._tasks: dict[SignId, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._open, self._looking = True, False
        self.neighbours: dict[SignId, CarrierNeighbour] = {}

    @property
    def met(self) -> list[SignId]:
        """All carriers, and others, that are met now."""
        return list(self._met)

    def open(self) -> None:
        """Begin to choose."""
        self._look_soon()

    async def close(self) -> None:
        """End all meetings."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(self._end(peer) for peer in list(self._tasks)))

    # Who comes and goes.

    def came(self, peer: SignId, how: str) -> None:
        """Note that a peer is met; ``how`` is LINKED or NEARBY."""
        if peer not in self._met and len(self._met) >= MOST_MET:
            return
        self._met.setdefault(peer, set()).add(how)
        if how == LINKED:
            self._carrier.policy.met(peer, self._carrier.now())
            meeting = self._carrier.meetings.get(peer)
            if meeting is not None:
                meeting.back()
        self._look_soon()

    def went(self, peer: SignId, how: str) -> None:
        """Note that a peer is met no more in this way."""
        ways = self._met.get(peer, set())
        ways.discard(how)
        if how == LINKED:
            self._chose_us.pop(peer, None)
            self._no_carriers.pop(peer, None)
        if not ways:
            self._met.pop(peer, None)
            self._wanted.discard(peer)
            self._look_soon()

    def chose_us(self, peer: SignId) -> None:
        """Note that a carrier has begun a meeting with us: it is pushed what comes."""
        if peer not in self._chose_us and len(self._chose_us) >= MOST_CHOSEN_US:
            oldest = min(self._chose_us, key=lambda each: self._chose_us[each])
            del self._chose_us[oldest]
        self._chose_us[peer] = self._carrier.now()
        self._no_carriers.pop(peer, None)
        if peer not in self._tasks:
            self._look_soon()

    def wanted(self, recipients: Iterable[SignId]) -> None:
        """Meet those of ``recipients`` who are met anyhow, as something for them is here; without neighbours look for
        some."""
        new = {peer for peer in recipients if peer in self._met and peer not in self._wanted} - {self._carrier.own}
        self._wanted |= new
        if new or (not self._tasks and not self._looking):
            self._look_soon()

    # Inside.

    def _look_soon(self) -> None:
        if self._open and not self._looking:
            if self._timer is not None:
                self._timer.cancel()
            self._looking = True
            self._timer = asyncio.get_running_loop().call_later(SOON, self._look)

    def _look(self) -> None:
        """Choose the neighbours; begin and end meetings."""
        carrier, now = self._carrier, self._carrier.now()
        self._looking = False
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._look)
        self._no_carriers = {peer: until for peer, until in self._no_carriers.items() if until > now}
        self._chose_us = {peer: heard for peer, heard in self._chose_us.items() if heard > now - FORGOTTEN}
        bad = self._bad.bad(now)
        able = [peer for peer in self._met if self._is_able(peer)]
        begun = {*chosen(carrier.own, able, bad, self._limit), *(self._wanted & {*able})}
        if len(begun) < (self._limit or LOOKED_FOR):
            others = [peer for peer in self._friends() if peer not in begun and self._is_able(peer)]
            begun.update(chosen(carrier.own, others, bad, (self._limit or LOOKED_FOR) - len(begun)))
        passive = {peer for peer in self._chose_us if self._may_have(peer)} - begun
        for peer in [*self._tasks]:
            meeting = carrier.meetings[peer]
            if not (peer in begun if meeting.begins else peer in passive):
                self._cancel(peer)
        for peer in begun | passive:
            if peer not in self._tasks:
                self._begin(peer, peer in begun)

    def _is_able(self, peer: SignId) -> bool:
        """Whether ``peer`` may carry for us, as far as is known."""
        return peer not in self._no_carriers and self._may_have(peer)

    def _may_have(self, peer: SignId) -> bool:
        """Whether we give ``peer`` anything."""
        return not self._carrier.rights.outgoing(peer, self._carrier.now(), cost=0).denied

    def _begin(self, peer: SignId, begins: bool) -> None:
        carrier = self._carrier
        neighbour = self.neighbours.get(peer) or CarrierNeighbour(peer, carrier, self._troubled)
        line = PeerLine(self._upstream, peer, carrier.now, self._random)
        meeting = carrier.meetings[peer] = Meeting(line, neighbour, begins)
        self.neighbours[peer] = neighbour
        task = self._tasks[peer] = asyncio.get_running_loop().create_task(meeting.run(), name=f"mm meet {peer}")
        task.add_done_callback(lambda task: self._ended(peer, task))

    def _cancel(self, peer: SignId) -> None:
        self._tasks.pop(peer).cancel()
        self._carrier.left(peer)
        self.neighbours.pop(peer, None)

    async def _end(self, peer: SignId) -> None:
        task = self._tasks[peer]
        self._cancel(peer)
        await asyncio.gather(task, return_exceptions=True)

    def _ended(self, peer: SignId, task: "asyncio.Task[None]") -> None:
        """Report a defect: a meeting ends only when it is cancelled."""
        if not task.cancelled() and (error := task.exception()) is not None:
            if self._tasks.get(peer) is task:
                self._cancel(peer)
                self._no_carriers[peer] = self._carrier.now() + NO_CARRIER
            if isinstance(error, Exception):
                self._failed(error)

    def _troubled(self, peer: SignId, error: MMError) -> None:
        now = self._carrier.now()
        if isinstance(error, NoResponders | RequestFailed):
            self._no_carriers[peer] = now + (NO_CARRIER if isinstance(error, NoResponders) else REFUSED)
            self._look_soon()
            if isinstance(error, RequestFailed):
                asyncio.get_running_loop().call_later(REFUSED, self._look_soon)
        else:
            self._bad.note(peer, now)
            if self._bad.count(peer, now) >= 3:
                self._look_soon()
