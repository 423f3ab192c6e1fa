"""How likely a carrier is to meet another one, of itself or by way of those it meets: delivery predictability.

As RFC 6693 (PRoPHET), sections 2.1.2 and 3.3, has it, and with its constants. Each meeting makes another one likelier
(the sooner it follows the one before, the less), time makes it less likely, and whoever often meets somebody who often
meets a third one is likely to reach that one, too.

Others say how likely they meet whom, and may lie. So the table is bounded: of those that we have met we are told
nothing, and of the rest all who told us something keep equal shares.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from math import inf
from typing import Any, Final, NamedTuple

from mm_services.messenger.protocol.packets import MAX_TABLE
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import SignId

FIRST: Final = 0.5  # P_encounter_first
MOST: Final = 0.7  # P_encounter_max
THRESHOLD: Final = 0.1  # P_first_threshold
BETA: Final = 0.9  # of what others tell
GAMMA: Final = 0.999  # a unit of time
DELTA: Final = 0.01  # nobody is met for certain
TYPICAL: Final = 1800.0  # seconds from one meeting to the next, I_typ
UNIT: Final = 30.0  # seconds; half is left after six hours
LEAST: Final = 0.01  # what is less likely is forgotten


class Likelihood(NamedTuple):
    """How likely one was to be met ``at`` a time, in Unix seconds; when it was last ``met``, 0 for never; who ``told``
    of it last, empty when nobody did."""

    value: float
    at: float
    met: float = 0.0
    told: str = ""

    def aged(self, now: float) -> float:
        """Return how likely it is now. A clock that was put back ages nothing."""
        return float(self.value * GAMMA ** (max(0.0, now - self.at) / UNIT))


class Predictability:
    """What one carrier knows of how likely it meets whom; at most 1,024 are remembered.

    Args:
        own: our signId.
        saved: what :meth:`state` returned, as it was read; what is no such value is left out.

    """

    def __init__(self, own: SignId, saved: Iterable[object] = ()) -> None:
        self._own = own
        self._known: dict[SignId, Likelihood] = dict(filter(None, map(_restored, islice(saved, MAX_TABLE))))

    def of(self, peer: SignId, now: float) -> float:
        """Return how likely we meet ``peer``, from 0 to 1."""
        known = self._known.get(peer)
        return known.aged(now) if known is not None else 0.0

    def meet(self, peer: SignId, now: float) -> None:
        """Note that we meet ``peer``."""
        old, known = self.of(peer, now), self._known.get(peer)
        if old < THRESHOLD:
            value = FIRST
        else:
            often = FIRST if not known or not known.met else MOST * min(1.0, max(0.0, now - known.met) / TYPICAL)
            value = old + (1 - DELTA - old) * often
        self._known[peer] = Likelihood(min(max(value, old), 1 - DELTA), now, now, "")
        self._trim(now)

    def hear(self, peer: SignId, table: Mapping[SignId, float], now: float) -> None:
        """Note how likely ``peer``, whom we meet, says that it meets others.

        Raises ProtocolError ("bad-table") for more than 1,024 of them, or for what is no likelihood; nothing is noted.
        """
        check(table)
        reach = self.of(peer, now) * BETA
        for other, value in table.items():
            known = self._known.get(other)
            if other not in (self._own, peer) and reach * value > max(LEAST, known.aged(now) if known else 0.0):
                self._known[other] = Likelihood(reach * value, now, known.met if known else 0.0, peer)
        self._trim(now)

    def table(self, now: float) -> dict[SignId, float]:
        """Return how likely we meet whom, the likeliest first: what is told at a meeting."""
        found = {peer: known.aged(now) for peer, known in self._known.items()}
        return {
            peer: found[peer] for peer in sorted(found, key=found.__getitem__, reverse=True) if found[peer] >= LEAST
        }

    def state(self) -> list[list[Any]]:
        """Return all that is known, as plain values to be saved."""
        return [[peer, *known] for peer, known in self._known.items()]

    def _trim(self, now: float) -> None:
        """Forget those beyond 1,024: of those that others told us of before those that we have met."""
        if len(self._known) <= MAX_TABLE:
            return
        found = sorted(self._known.items(), key=lambda each: each[1].aged(now), reverse=True)
        shares: Counter[str] = Counter()
        ranked = []
        for peer, known in found:
            shares[known.told] += not known.met
            ranked.append((0 if known.met else shares[known.told], peer, known))
        ranked.sort(key=lambda each: each[0])
        self._known = {peer: known for _, peer, known in ranked[:MAX_TABLE] if known.aged(now) >= LEAST}


def check(table: Mapping[SignId, float]) -> None:
    """Raise ProtocolError unless a table that a peer tells is one."""
    if len(table) > MAX_TABLE or not all(0.0 <= value <= 1.0 for value in table.values()):
        raise ProtocolError("bad-table", f"it has more than {MAX_TABLE} peers, or a likelihood that is not 0 to 1")


def _restored(row: object) -> tuple[SignId, Likelihood] | None:
    match row:
        case [str(peer), int() | float() as value, int() | float() as at, int() | float() as met, str(told)]:
            if 0 <= value <= 1 and 0 <= at < inf and 0 <= met < inf:
                return SignId(peer), Likelihood(value, at, met, told)
    return None
