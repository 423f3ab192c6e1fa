"""What was sent over one connection to a relay and is not known to be safe there; what came and is dealt with. Pure.

One ping is under way at a time. Its pong covers all that was sent before it; it also carries the places of envelopes
that this side has dealt with (docs/protocol/rmb.rst, "Acknowledgements").
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.envelope import RmbEnvelope

MAX_PLACES: Final = 1024  # bytes of the places in one ping
MOST_UNTOLD: Final = 65_536  # places that wait for a ping; relays of ours hand over 256 at a time


class Sent(NamedTuple):
    """An envelope that is under way.

    ``end``: until when it is good, in Unix seconds. ``done`` is called once: with None when it is safe, else with why
    it is not. ``wanted`` says whether anybody waits for that still.
    """

    envelope: RmbEnvelope
    end: int
    done: Callable[[Exception | None], None]
    wanted: Callable[[], bool]


class Unconfirmed:
    """The envelopes of one connection, in the order in which they were sent."""

    def __init__(self) -> None:
        self._sent: deque[Sent] = deque()
        self._uids: dict[str, Sent] = {}
        self._covered = 0  # envelopes that the ping under way covers
        self._since = 0.0
        self._pinged = False
        self._dealt: set[int] = set()  # places to be told

    def __len__(self) -> int:
        return len(self._sent)

    def add(self, sent: Sent) -> None:
        self._sent.append(sent)
        self._uids[sent.envelope.uid] = sent

    def find(self, uid: str) -> Sent | None:
        """Return the envelope with this uid that was sent last."""
        return self._uids.get(uid)

    def dealt_with(self, place: int) -> bool:
        """Take note that the envelope that came at ``place`` need not come again.

        Return False when too many wait to be told: the relay hands over, and answers no pings.
        """
        self._dealt.add(place)
        return len(self._dealt) <= MOST_UNTOLD

    def ping(self, now: float, *, wanted: bool = False) -> bytes | None:
        """Return the places for a ping that is to be sent now, None when there is none to send.

        ``wanted``: also when it covers nothing.
        """
        if self._pinged or not (self._sent or self._dealt or wanted):
            return None
        self._pinged, self._covered, self._since = True, len(self._sent), now
        places, told = ranges(self._dealt)
        self._dealt.difference_update(told)
        return places

    def waited(self, now: float) -> float:
        """Return for how long the ping under way has had no answer; 0 without one."""
        return now - self._since if self._pinged else 0.0

    def pong(self) -> list[Sent]:
        """Return what is safe now."""
        if not self._pinged:
            return []
        count, self._covered, self._pinged = self._covered, 0, False
        safe = [self._sent.popleft() for _ in range(count)]
        for sent in safe:
            if self._uids.get(sent.envelope.uid) is sent:
                del self._uids[sent.envelope.uid]
        return safe

    def lost(self) -> list[Sent]:
        """Return what has to be sent again, over another connection; the places of this one mean nothing there."""
        again = list(self._sent)
        self._sent.clear()
        self._uids.clear()
        self._dealt.clear()
        self._covered, self._pinged = 0, False
        return again


def ranges(places: set[int]) -> tuple[bytes, list[int]]:
    """Return as many places as a ping has room for, as in ``1-57 59``, and which they are."""
    parts: list[bytes] = []
    found: list[int] = []
    room = MAX_PLACES + 1
    for first, last in _runs(sorted(places)):
        part = b"%d" % first if first == last else b"%d-%d" % (first, last)
        room -= len(part) + 1
        if room < 0:
            break
        parts.append(part)
        found.extend(range(first, last + 1))
    return b" ".join(parts), found


def _runs(places: list[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each row of neighbours."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1] = runs[-1][0], place
        else:
            runs.append((place, place))
    return runs
