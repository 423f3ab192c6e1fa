"""Knows who is on this network: announced instances, whether they still answer, when to ask them again. No I/O.

mDNS keeps what a crashed peer said for up to 75 minutes, and anybody may say goodbye in another's name. So no packet
alone proves that a peer is here, or gone: peers without a link to us that something here wants are asked every few
seconds. A peer that does not answer is reported as gone and asked less and less often, until its announcement ends or
it answers again. Whoever nobody here wants is never asked, as asking opens a connection to where a stranger says; its
goodbye is believed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mm_services.mdns.announcement import Announcement
from mmplatform.identity.keys import SignId
from mmplatform.token_bucket import TokenBucket

MAX_NEIGHBOURS: Final = 256
PER_PEER: Final = 4  # instances that announce the same key: anybody can announce that of another
PER_SECOND: Final = 20  # questions; with more than a hundred neighbours each is asked less often
AT_ONCE: Final = 32  # questions
LATER: Final = 1.0  # seconds until those are asked for whom no question was left


@dataclass(frozen=True, slots=True)
class AskingTiming:
    """When neighbours are asked whether they are here.

    Args:
        period: Seconds between two questions.
        second_try: Seconds after a question that was not answered at all.
        farewell: Seconds after a goodbye: who stops in order says it first.
        rarest: Seconds between two questions to somebody who is gone.

    """

    period: float = 5.0
    second_try: float = 2.0
    farewell: float = 1.0
    rarest: float = 80.0


TIMING: Final = AskingTiming()


@dataclass(slots=True, eq=False)
class Neighbour:
    """One announced instance."""

    name: str
    said: Announcement
    due: float  # when to ask whether the neighbour is there
    announced: bool = True
    here: bool = True
    misses: int = 0


class Neighbours:
    """All neighbours. Times are those of the event loop, in seconds.

    ``found`` is called for an announcement that is new or changed, ``gone`` for a peer that has no instance here any
    more. ``keep`` tells which peers to remember when there are too many, ``wanted`` which to ask at all.
    """

    def __init__(
        self,
        found: Callable[[Announcement], None],
        gone: Callable[[SignId], None],
        keep: Callable[[SignId], bool],
        wanted: Callable[[SignId], bool],
        timing: AskingTiming = TIMING,
    ) -> None:
        self._found, self._gone, self._keep, self._wanted, self._timing = found, gone, keep, wanted, timing
        self._questions = TokenBucket(PER_SECOND, 0.0, AT_ONCE / PER_SECOND)
        self._all: dict[str, Neighbour] = {}
        self._linked: set[SignId] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Announcement]:
        """Iterate over the announcements of the neighbours that are here."""
        return iter([neighbour.said for neighbour in self._all.values() if neighbour.here])

    def heard(self, name: str, said: Announcement, now: float) -> None:
        """Take the announcement of an instance, for the first time or anew."""
        known = self._all.get(name)
        if known is not None and known.said == said:
            known.announced = True
            if not known.here:
                known.due = now
            return
        if known is None and not (self._has_room_for(said) and self._make_room(said)):
            return
        self._all[name] = Neighbour(name, said, now + self._timing.period)
        for other in self._of(said.sign_id):
            if _seq(other.said) < _seq(said):
                del self._all[other.name]  # an earlier run of the peer that ended without goodbye
        if known is not None and known.said.sign_id != said.sign_id:
            self._tell_gone(known)
        self._found(said)

    def goodbye(self, name: str, now: float) -> None:
        """Ask soon after an instance that is withdrawn, or of which somebody says so."""
        neighbour = self._all.get(name)
        if neighbour is None:
            return
        neighbour.announced = False
        peer = neighbour.said.sign_id
        if neighbour.here and (peer in self._linked or self._wanted(peer)):
            neighbour.due = min(neighbour.due, now + self._timing.farewell)
            return
        del self._all[name]
        if neighbour.here:
            self._tell_gone(neighbour)

    def linked(self, peer: SignId) -> None:
        """Ask ``peer`` no more: a link is up, and its keep-alive asks better."""
        self._linked.add(peer)

    def unlinked(self, peer: SignId, now: float) -> None:
        """Ask ``peer`` at once: the link is gone, and perhaps the peer."""
        self._linked.discard(peer)
        self.hurry(peer, now)

    def hurry(self, peer: SignId, until: float) -> None:
        """Ask ``peer`` no later than at ``until``: something here wants it."""
        for neighbour in self._of(peer):
            neighbour.due = min(neighbour.due, until)

    def next_due(self) -> float | None:
        """Return when to call :meth:`ask`, or None."""
        return min((n.due for n in self._all.values() if self._to_be_asked(n)), default=None)

    def ask(self, now: float) -> list[Neighbour]:
        """Return whom to ask now; report each answer by :meth:`answered` or :meth:`silent`."""
        everybody = [neighbour for neighbour in self._all.values() if self._to_be_asked(neighbour)]
        due = sorted((neighbour for neighbour in everybody if neighbour.due <= now), key=lambda n: n.due)
        left = int(self._questions.level(now))
        asked, others = due[:left], due[left:]
        self._questions.spend(len(asked), now)
        period = max(self._timing.period, len(everybody) / PER_SECOND)
        for neighbour in asked:
            neighbour.due = now + period
        for neighbour in others:
            neighbour.due = now + LATER
        return asked

    def answered(self, neighbour: Neighbour) -> None:
        """Take note that ``neighbour`` is there."""
        neighbour.misses = 0
        if not neighbour.here and self._all.get(neighbour.name) is neighbour:
            neighbour.here = True
            self._found(neighbour.said)

    def silent(self, neighbour: Neighbour, sure: bool, now: float) -> None:
        """Take note that ``neighbour`` did not answer; ``sure`` when its host says that nobody listens there."""
        neighbour.misses += 1
        if not neighbour.here:
            neighbour.due = now + min(self._timing.period * 2**neighbour.misses, self._timing.rarest)
        elif sure or neighbour.misses > 1:
            neighbour.here = False
            self._tell_gone(neighbour)
        else:
            neighbour.due = now + self._timing.second_try
        if not (neighbour.here or neighbour.announced):
            self._all.pop(neighbour.name, None)

    def _tell_gone(self, neighbour: Neighbour) -> None:
        peer = neighbour.said.sign_id
        if peer not in self._linked and not any(other.here for other in self._of(peer)):
            self._gone(peer)

    def _to_be_asked(self, neighbour: Neighbour) -> bool:
        return neighbour.said.sign_id not in self._linked and self._wanted(neighbour.said.sign_id)

    def _has_room_for(self, said: Announcement) -> bool:
        """Whether one more instance may speak for the key of ``said``: a newer record drives out another."""
        others = self._of(said.sign_id)
        if len(others) < PER_PEER:
            return True
        least = min(others, key=lambda other: (_seq(other.said), other.here))
        if _seq(least.said) >= _seq(said):
            return False
        del self._all[least.name]
        return True

    def _of(self, peer: SignId) -> list[Neighbour]:
        return [neighbour for neighbour in self._all.values() if neighbour.said.sign_id == peer]

    def _make_room(self, said: Announcement) -> bool:
        """Drop a stranger when too many are remembered: one that is not here first. Return whether there is room."""
        if len(self._all) < MAX_NEIGHBOURS:
            return True
        strangers = [n for n in self._all.values() if not self._keep(n.said.sign_id)]
        oldest = min(strangers, key=lambda neighbour: neighbour.here, default=None)
        if oldest is None:
            return self._keep(said.sign_id)
        del self._all[oldest.name]
        if oldest.here:
            self._tell_gone(oldest)
        return True


def _seq(said: Announcement) -> int:
    return said.info.seq if said.info is not None else 0
