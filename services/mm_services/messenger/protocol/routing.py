"""To which carriers a bundle goes that meet us, and in which order.

==========  ==========================================================================================================
policy      what is handed to a carrier that lacks it
==========  ==========================================================================================================
epidemic    everything: the surest and quickest, and the most transmissions
spray       half of the copies that we have left, and the last one to the recipient only: binary spray and wait
            (Spyropoulos, Psounis and Raghavendra 2005). Few transmissions; for carriers that get around
prophet     what is for somebody whom that one is likelier to meet than we are (RFC 6693, GRTR). For movement that
            repeats itself
==========  ==========================================================================================================

With each of them a recipient gets its bundles first, and what is for everybody goes to all. Handing a bundle on never
means to have it no more: a carrier that lies about whom it meets, or drops what it took, costs a transmission.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from mm_services.messenger.protocol.packets import MAX_COPIES
from mm_services.messenger.protocol.predictability import Likelihood, Predictability, check
from mmplatform.identity.keys import SignId

COPIES: Final = 8
MOST_TOLD: Final = 32  # carriers whose tables are remembered


class Routed(NamedTuple):
    """A bundle of which is decided where it goes: whom it is for (nobody stands for everybody), the microseconds of
    its header, and how many copies of it we may hand on, where that is counted."""

    id: bytes
    recipients: Collection[SignId]
    created: int
    copies: int = 0


class RoutingPolicy(ABC):
    """Decides whom a bundle goes to. Called for each meeting: :meth:`met`, then :meth:`told`, then :meth:`chosen`."""

    copies = 0  # of a new bundle of ours

    def hands(self, bundle: Routed, peer: SignId, now: float) -> int | None:
        """Return whether a bundle goes to ``peer``, who lacks it: with how many copies, which are ours no more once it
        has taken the bundle. None when it does not go there; 0 where copies are not counted, and to a recipient."""
        if not bundle.recipients or peer in bundle.recipients:
            return 0
        return self._carried(bundle, peer, now)

    def chosen(self, bundles: Iterable[Routed], peer: SignId, now: float) -> list[tuple[Routed, int]]:
        """Return which of the bundles that ``peer`` lacks go there, each with its copies: what is for that one first,
        then the oldest first."""
        found = [(bundle, copies) for bundle in bundles if (copies := self.hands(bundle, peer, now)) is not None]
        return sorted(found, key=lambda each: (peer not in each[0].recipients, each[0].created, each[0].id))

    def met(self, peer: SignId, now: float) -> None:  # noqa: B027  # most learn nothing by it
        """Note that we meet ``peer``; again and again while we do."""

    def told(self, peer: SignId, table: Mapping[SignId, float], now: float) -> None:
        """Note how likely ``peer`` says that it meets whom. Raises ProtocolError ("bad-table")."""
        check(table)

    def table(self, now: float) -> dict[SignId, float]:
        """Return what is told to those that we meet: how likely we meet whom."""
        return {}

    def state(self) -> list[list[Any]]:
        """Return what is to be saved, as plain values."""
        return []

    @abstractmethod
    def _carried(self, bundle: Routed, peer: SignId, now: float) -> int | None:
        """As :meth:`hands`, for a bundle that is for others."""


class Epidemic(RoutingPolicy):
    """Hands everything to everybody."""

    def _carried(self, bundle: Routed, peer: SignId, now: float) -> int:
        return 0


class SprayAndWait(RoutingPolicy):
    """Hands on half of the copies that are left.

    Args:
        copies: of each new bundle of ours; about so many carriers get it.

    """

    def __init__(self, copies: int = COPIES) -> None:
        self.copies = copies

    def _carried(self, bundle: Routed, peer: SignId, now: float) -> int | None:
        return min(bundle.copies, MAX_COPIES) // 2 or None


class Prophet(RoutingPolicy):
    """Hands a bundle to who is likelier to meet a recipient.

    Args:
        own: our signId.
        saved: what :meth:`state` returned.

    """

    def __init__(self, own: SignId, saved: Iterable[object] = ()) -> None:
        self._ours = Predictability(own, saved)
        self._theirs: OrderedDict[SignId, dict[SignId, Likelihood]] = OrderedDict()

    def met(self, peer: SignId, now: float) -> None:
        self._ours.meet(peer, now)

    def told(self, peer: SignId, table: Mapping[SignId, float], now: float) -> None:
        self._ours.hear(peer, table, now)
        self._theirs[peer] = {other: Likelihood(value, now) for other, value in table.items()}
        self._theirs.move_to_end(peer)
        if len(self._theirs) > MOST_TOLD:
            self._theirs.popitem(last=False)

    def table(self, now: float) -> dict[SignId, float]:
        return self._ours.table(now)

    def state(self) -> list[list[Any]]:
        return self._ours.state()

    def _carried(self, bundle: Routed, peer: SignId, now: float) -> int | None:
        theirs = self._theirs.get(peer, {})
        likelier = (theirs[one].aged(now) > self._ours.of(one, now) for one in bundle.recipients if one in theirs)
        return 0 if any(likelier) else None


def policy(name: str, own: SignId, saved: Iterable[object] = (), copies: int = COPIES) -> RoutingPolicy:
    """Return the policy of a name: "epidemic", "spray" or "prophet". Raises ValueError."""
    match name:
        case "epidemic":
            return Epidemic()
        case "spray":
            return SprayAndWait(copies)
        case "prophet":
            return Prophet(own, saved)
    raise ValueError(f"there is no policy {name!r}; there are epidemic, spray, prophet")
