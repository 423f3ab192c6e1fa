"""With whom a carrier meets: a few of many, chosen so that all hear from all in few hops.

The ids of all carriers, ours among them, make a ring. The neighbours are those at distance 1, 2, 4, 8 ... behind us. As
everybody chooses so, what one has reaches n others in about log2(n) hops, and distance 1 alone holds the ring together.
All compute the same ring, so nothing has to be agreed on.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from typing import Final

from mmplatform.identity.keys import SignId

ERRORS: Final = 10  # in an hour make a carrier a bad one
PERIOD: Final = 3600.0  # seconds after which an error is forgotten
MOST_MARKED: Final = 1024  # carriers whose errors are counted


def chosen(own: SignId, carriers: Iterable[SignId], bad: Collection[SignId], limit: int) -> list[SignId]:
    """Return the neighbours of a carrier, the first wish first: the same ones for the same arguments.

    Args:
        own: whose neighbours these are.
        carriers: whom there is to choose from.
        bad: those of them that are chosen only when nobody else is left.
        limit: how many to choose; 0 chooses all.

    """
    others = sorted({*carriers} - {own})
    behind = sum(other < own for other in others)
    ring = others[behind:] + others[:behind]
    if not 0 < limit < len(ring):
        return ring
    found: list[SignId] = []
    good_left, bad_left = {*ring} - {*bad}, {*ring} & {*bad}
    for power in range(limit):
        wish = (pow(2, power, len(ring)) - 1) % len(ring)
        left = good_left or bad_left
        peer = next(other for other in ring[wish:] + ring[:wish] if other in left)
        left.remove(peer)
        found.append(peer)
    return found


class BadMarks:
    """Counts the errors of carriers. Those of 1,024 carriers are kept; who did nothing wrong for longest gives way."""

    def __init__(self) -> None:
        self._errors: OrderedDict[SignId, deque[float]] = OrderedDict()

    def note(self, peer: SignId, now: float) -> None:
        """Note that a carrier did not answer, or answered nonsense."""
        self._errors.setdefault(peer, deque(maxlen=ERRORS)).append(now)
        self._errors.move_to_end(peer)
        if len(self._errors) > MOST_MARKED:
            self._errors.popitem(last=False)

    def count(self, peer: SignId, now: float) -> int:
        """Return how many errors a carrier made in the past hour, up to the ten that make it a bad one."""
        return sum(now - PERIOD < when <= now for when in self._errors.get(peer, ()))

    def bad(self, now: float) -> set[SignId]:
        """Return the bad carriers, and forget those without an error in the past hour."""
        counts = {peer: self.count(peer, now) for peer in self._errors}
        for peer, count in counts.items():
            if not count:
                del self._errors[peer]
        return {peer for peer, count in counts.items() if count >= ERRORS}
