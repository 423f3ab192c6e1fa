"""Dials peers until a link to each is up, and keeps little of each meanwhile: there may be very many.

A peer that is not being dialled right now is at rest: one small object, and a place among those whose pause ends. There
is no task for it, no timer, and no :class:`Peer`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import Final, Protocol

from mmplatform.directory.directory import Directory
from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links.backoff import delay_after
from mmplatform.links.dialer import Dialer
from mmplatform.links.link import Link
from mmplatform.peers.turns import Turns

SOON: Final = 0.02  # seconds until a peer that has just become reachable is dialled again
SLOW: Final = 2.0  # seconds of an attempt to reach a peer after which mail no longer waits for the end of the attempt
LOOK_UPS: Final = 128  # attempts that wait for an answer to where a peer is; others ask, and go on when it comes


class DialledPeers(Protocol):
    """The peers of a node, as far as they are asked and told by who dials them."""

    def link(self, peer: SignId) -> Link | None:
        """The link to ``peer`` that is in use."""

    def wanted(self, peer: SignId) -> bool:
        """Whether somebody here waits for ``peer``."""
        ...

    def hurried(self, peer: SignId) -> bool:
        """Whether somebody waits for a link to ``peer``, or for an answer, right now."""
        ...

    def address_failed(self, peer: SignId, address: str, reason: str) -> None:
        """Note that ``address`` of ``peer`` was dialled in vain."""

    def unreachable(self, peer: SignId, reason: str) -> None:
        """An attempt to reach ``peer`` failed, and there is no link."""

    def slow(self, peer: SignId) -> None:
        """An attempt to reach ``peer`` takes long, and there is no link."""

    def dialled(self, peer: SignId, up: bool) -> None:
        """The attempts to reach ``peer`` have ended; ``up``: with a link."""


class Away:
    """A peer that is dialled until a link is up: ``attempt`` is under way, or the next one is ``due``."""

    __slots__ = ("attempt", "due", "failures", "introducing", "present")

    def __init__(self) -> None:
        self.attempt: asyncio.Task[None] | None = None
        self.due = 0.0  # time of the loop
        self.failures = 0  # attempts in vain, since there was news of the peer
        self.introducing = False  # until it was reached once, whether something waits for it or not
        self.present = False  # it has just become reachable


class Dialling:
    """Dials the peers of a node; ``random()`` is 0 to 1.

    ``troubles`` says, of each peer that is dialled, which addresses failed in the last attempt, and why.
    """

    def __init__(self, peers: DialledPeers, directory: Directory, dialer: Dialer, random: Callable[[], float]) -> None:
        self.troubles: dict[SignId, dict[str, str]] = {}
        self._peers, self._directory, self._dialer, self._random = peers, directory, dialer, random
        self._away: dict[SignId, Away] = {}
        self._resting: list[tuple[float, SignId]] = []  # heap of times and peers; may name those that rest no more
        self._turns = Turns(self._begin)
        self._looking_up = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = inf
        self._closed = False

    def __contains__(self, peer: SignId) -> bool:
        """Whether ``peer`` is being dialled, or soon will be again."""
        return peer in self._away

    def peers(self) -> list[SignId]:
        """All who are being dialled, or soon will be again."""
        return list(self._away)

    def dial(self, peer: SignId, pause: float = 0.0) -> None:
        """Try to reach ``peer``, after ``pause`` seconds, and go on while something waits for it."""
        if peer not in self._away and not self._closed and self._peers.link(peer) is None:
            away = self._away[peer] = Away()
            self._begin_in(peer, away, pause)

    def introduce(self, peer: SignId) -> None:
        """Try to reach ``peer`` until it was reached once: it cannot know where we are now."""
        self.dial(peer)
        if peer in self._away:
            self._away[peer].introducing = True

    def renew(self, peer: SignId) -> bool:
        """Dial ``peer``, to whom a link is up, for a fresh one; False when it is being dialled already."""
        if peer in self._away or self._closed:
            return False
        self._away[peer] = Away()
        return self._begin(peer)

    def nudge(self, peer: SignId) -> None:
        """Begin the next attempt at once: there is news of ``peer``, or somebody waits for it."""
        away = self._away.get(peer)
        if away is not None:
            away.failures = 0
            if away.attempt is None:
                self._begin_in(peer, away, 0.0)

    def present(self, peer: SignId) -> None:
        """Begin the next attempt at once, also when one is just failing: ``peer`` can be reached now."""
        if peer in self._away:
            self._away[peer].present = True
            self.nudge(peer)

    def reached(self, peer: SignId) -> None:
        """Dial no more: a link is up."""
        self.troubles.pop(peer, None)
        away = self._away.get(peer)
        if away is not None:
            away.introducing, away.failures = False, 0
            if away.attempt is None:
                del self._away[peer]

    async def close(self) -> None:
        """End everything."""
        self._closed = True
        self._turns.close()
        if self._timer is not None:
            self._timer.cancel()
        attempts = [away.attempt for away in self._away.values() if away.attempt is not None]
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        self._away.clear()

    # At rest.

    def _begin_in(self, peer: SignId, away: Away, pause: float) -> None:
        loop = asyncio.get_running_loop()
        away.due = loop.time() + pause
        if pause:
            heappush(self._resting, (away.due, peer))
            if away.due < self._timer_due:
                self._set_timer(loop)
        elif away.present or self._peers.hurried(peer):
            self._begin(peer)
        else:
            self._turns.take(peer)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._resting[0][0] if self._resting else inf
        self._timer = loop.call_at(self._timer_due, self._rested) if self._resting else None

    def _rested(self) -> None:
        loop = asyncio.get_running_loop()
        while self._resting and self._resting[0][0] <= loop.time():
            due, peer = heappop(self._resting)
            away = self._away.get(peer)
            if away is None or away.attempt is not None or away.due != due:
                continue  # it does not rest any more
            if away.introducing or self._peers.wanted(peer):
                self._begin_in(peer, away, 0.0)
            else:
                self._end(peer)
                self._peers.dialled(peer, False)
        self._set_timer(loop)

    # An attempt.

    def _begin(self, peer: SignId) -> bool:
        away = self._away.get(peer)
        loop = asyncio.get_running_loop()
        if self._closed or away is None or away.attempt is not None or away.due > loop.time():
            return False  # a turn that it does not need any more
        away.attempt = loop.create_task(self._attempt(peer, away), name=f"mm dial {peer}")
        self._turns.begun()
        return True

    async def _attempt(self, peer: SignId, away: Away) -> None:
        try:
            up = await self._dial_once(peer, away)
        except BaseException:
            self._end(peer)
            raise
        finally:
            away.attempt = None
            self._turns.ended()
        if up or self._peers.link(peer) is not None or not (away.introducing or self._peers.wanted(peer)):
            self._end(peer)
            self._peers.dialled(peer, up)
        else:
            pause = delay_after(away.failures, self._random())
            away.failures += 1
            self._begin_in(peer, away, min(pause, SOON) if away.present else pause)

    def _end(self, peer: SignId) -> None:
        self._away.pop(peer, None)
        self.troubles.pop(peer, None)

    async def _dial_once(self, peer: SignId, away: Away) -> bool:
        """Dial once; whether a link came up, or was made anew."""
        away.present = False
        self.troubles.pop(peer, None)
        slow = asyncio.get_running_loop().call_later(SLOW, self._still_dialling, peer)
        try:
            await self._dialer.dial(peer, await self._locate(peer), partial(self._failed, peer))
        except MMError as error:
            self._directory.refresh(peer)
            if self._peers.link(peer) is None:
                self._peers.unreachable(peer, str(error))
            return False
        finally:
            slow.cancel()
        return True

    async def _locate(self, peer: SignId) -> tuple[str, ...]:
        """Return where to dial ``peer``; when very many look-ups are under way, only what is known without one."""
        if self._looking_up < LOOK_UPS or self._peers.hurried(peer):
            self._looking_up += 1
            try:
                addresses = await self._directory.locate(peer)
            finally:
                self._looking_up -= 1
        else:
            addresses = self._directory.addresses(peer)
        if not addresses:
            raise Unreachable("no address of it is known; add its ticket, or run a service that finds it")
        link = self._peers.link(peer)
        return (link.dialled_at,) if link is not None and link.dialled_at in addresses else addresses

    def _failed(self, peer: SignId, address: str, reason: str) -> None:
        self.troubles.setdefault(peer, {})[address] = reason
        self._peers.address_failed(peer, address, reason)

    def _still_dialling(self, peer: SignId) -> None:
        if self._peers.link(peer) is None:
            self._peers.slow(peer)
