"""Notices that a process is cut off from the store while others are not, and gives its clients to them.

A process that does not hear from Redis cannot know whether Redis is down for all. So it says at ``/healthz`` that it
cannot serve, and asks at the public URL, as a client would: does anybody there serve, it is another process. Where
nothing is heard from that URL, it goes by what Redis said last, once, as clients may come to a process as lonely as
this one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from mm_relay.cluster.front import Front
from mm_relay.ports import Cluster

LOOK: Final = 0.5  # seconds between two looks
CUT_OFF: Final = 8  # looks in a row without an answer of Redis
ASK: Final = 11  # looks after which the public URL is asked: others with the same fate say so at /healthz by then
ASKED: Final = 4  # answers of the public URL that are remembered; two of them say that others serve
MINUTE: Final = 120  # looks between two lines about it
SPREAD: Final = 3.0  # seconds over which clients are given away
TROUBLE: Final = "cut off from the store"


class Isolation:
    """What this process knows of itself. Pure."""

    def __init__(self) -> None:
        self._silent = 0
        self._others = False
        self._fronts: deque[Front] = deque(maxlen=ASKED)
        self._trusted_memory = False

    @property
    def cut_off(self) -> bool:
        """Whether the store has not answered for a while."""
        return self._silent >= CUT_OFF

    @property
    def asks(self) -> bool:
        """Whether it is time to ask at the public URL."""
        return self._silent >= ASK

    def looked(self, answered: bool, others: bool) -> None:
        """Take note of a look: whether Redis has answered, and whether other processes were there when it last did."""
        self._silent = 0 if answered else self._silent + 1
        if answered:
            self._others, self._trusted_memory = others, False
        if not self.cut_off:
            self._fronts.clear()

    def asked(self, front: Front) -> None:
        """Take note of what the public URL answered."""
        self._fronts.append(front)

    @property
    def others_serve(self) -> bool:
        """Whether clients find another process that serves them."""
        return self.cut_off and self._fronts.count(Front.SERVES) >= 2

    @property
    def knows(self) -> bool:
        """Whether the public URL was asked often enough."""
        return len(self._fronts) == ASKED

    def trusts_memory(self) -> bool:
        """Return True once an outage, when nobody answers at the public URL and others were there before."""
        if self._trusted_memory or not self._others or self._fronts.count(Front.SILENT) < ASKED:
            return False
        self._trusted_memory = True
        return True


class IsolationWatch:
    """Looks twice a second. ``trouble`` is what ``/healthz`` should say, or ""; ``refusal`` why nobody may come."""

    def __init__(
        self,
        cluster: Cluster,
        ask: Callable[[], Awaitable[Front]],
        give_away: Callable[[float, Callable[[], bool]], Awaitable[int]],
        note: Callable[[str], None],
    ) -> None:
        """Watch.

        Args:
            cluster: says whether the store answers.
            ask: asks at the public URL.
            give_away: sends all clients away, spread over so many seconds, as long as the function it is given returns
                True; returns how many it sent.
            note: tells the operator.

        """
        self._cluster, self._ask, self._give_away, self._note = cluster, ask, give_away, note
        self._isolation = Isolation()
        self._was_cut_off = self._told_alone = False
        self._looks = 0  # since the operator was told that it is cut off
        self._giving: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        return TROUBLE if self._isolation.cut_off else ""

    @property
    def refusal(self) -> str:
        return TROUBLE if self._isolation.others_serve else ""

    async def watch(self) -> None:
        """Look for ever."""
        try:
            while True:
                await asyncio.sleep(LOOK)
                await self.look()
        finally:
            if self._giving is not None:
                self._giving.cancel()

    async def look(self) -> None:
        """Look once, and give clients away when others serve."""
        state = self._isolation
        state.looked(self._cluster.answered(), self._cluster.others)
        self._tell()
        if not state.asks:
            return
        state.asked(await self._ask())
        if state.others_serve or state.trusts_memory():
            if self._giving is None or self._giving.done():
                self._giving = asyncio.create_task(self._give(), name="mm relay gives away")
        elif state.knows and not self._told_alone:
            self._told_alone = True
            self._note("no other process of this relay serves, as far as this one sees; its clients stay")

    async def _give(self) -> None:
        given = await self._give_away(SPREAD, lambda: self._isolation.cut_off)
        if given:
            self._note(f"{given} clients were given to other processes of this relay, as this one is cut off")

    def _tell(self) -> None:
        """Say when it begins, once a minute, and when it is over."""
        cut_off = self._isolation.cut_off
        self._looks += 1
        if cut_off == self._was_cut_off and not (cut_off and self._looks >= MINUTE):
            return
        self._was_cut_off, self._looks = cut_off, 0
        if cut_off:
            self._note(f"{TROUBLE} and from the other processes of this relay: see Redis and the way to it")
        else:
            self._told_alone = False
            self._note("the store and the other processes of this relay are there again")
