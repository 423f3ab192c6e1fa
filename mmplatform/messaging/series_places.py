"""Places for series: how many a peer, a network and all strangers have open, and who gives way."""

from collections import Counter
from typing import Final, Generic, Protocol, TypeVar

from mmplatform.message import Scope

OF_PEER: Final = 256  # series that are open for one friend or device
OF_STRANGER: Final = 8  # the same for one stranger
OF_NETWORK: Final = 64  # for all strangers of a network, or of a relay
OF_STRANGERS: Final = 512  # for all of them together


class PlacedSeries(Protocol):
    """A series that has a place until its end is told and its generator closed."""

    sender: str
    scope: Scope
    party: object  # the same for all strangers of its network
    pulled: float  # when it was last asked for a batch

    @property
    def open(self) -> bool:
        """Whether it can give way; else it is about to."""
        ...


T = TypeVar("T")
G = TypeVar("G", bound=PlacedSeries)


class SeriesPlaces(Generic[G]):
    """Who has a place. Where there is none, one of who has most gives way, of the same network if that is full."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()  # by sender
        self._parties: Counter[object] = Counter()
        self._strangers: dict[G, None] = {}

    def full(self, sender: str, scope: Scope) -> bool:
        """Whether ``sender`` has as many as it may."""
        return self._of[sender] >= (OF_STRANGER if scope == "public" else OF_PEER)

    def take(self, guest: G) -> None:
        """Give a series a place."""
        self._of[guest.sender] += 1
        if guest.scope == "public":
            self._parties[guest.party] += 1
            self._strangers[guest] = None

    def leave(self, guest: G) -> None:
        """Take the place of a series that is over."""
        _count_down(self._of, guest.sender)
        if guest.scope == "public":
            _count_down(self._parties, guest.party)
            del self._strangers[guest]

    def needs_room(self, scope: Scope, party: object) -> bool:
        """Whether another one has to give way before a series of ``scope`` and ``party`` may begin."""
        if scope != "public":
            return False
        return self._parties[party] >= OF_NETWORK or len(self._strangers) >= OF_STRANGERS

    def loser(self, sender: str, party: object) -> G | None:
        """Return who gives way to one of ``sender``: of the sender with most, what was not pulled for longest; None if
        nobody has more than ``sender`` has."""
        crowded = self._parties[party] >= OF_NETWORK
        guests = [one for one in self._strangers if one.open and (not crowded or one.party == party)]
        most = max((self._of[one.sender] for one in guests), default=0)
        if most <= self._of[sender]:
            return None
        return min((one for one in guests if self._of[one.sender] == most), key=lambda one: one.pulled)


def _count_down(counts: Counter[T], key: T) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
