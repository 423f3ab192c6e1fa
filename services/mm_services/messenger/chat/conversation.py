"""One conversation: with a person, with several, or with everybody. Where its lines are, and how far each is. Pure."""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection

from mm_services.messenger.chat.lines import LineState
from mm_services.messenger.chat.talk import EVERYBODY
from mmplatform.identity.keys import SignId

MAX_LINES = 1_000_000  # that are remembered of one conversation; nine bytes each


def key_of(members: Collection[SignId]) -> str:
    """Return the name of the conversation with ``members``, us left out: the same at each start, and in any order."""
    if len(members) <= 1:
        return next(iter(members), EVERYBODY)
    return "#" + hashlib.blake2b("\n".join(sorted(members)).encode(), digest_size=16).hexdigest()


class Conversation:
    """The lines of one conversation, by number: 0 is the first there ever was, of those that are not forgotten.

    Args:
        key: see :func:`key_of`.
        members: who is in it beside us; nobody where it is with everybody.

    """

    __slots__ = ("_places", "_states", "cleared", "first", "heard_at", "key", "members", "unread")

    def __init__(self, key: str, members: tuple[SignId, ...]) -> None:
        self.key, self.members = key, members
        self.first = 0  # the number of the oldest line that is remembered
        self.cleared = 0  # lines before this number are not on the screen
        self.unread = 0
        self.heard_at = 0.0  # when the latest line of others came, in Unix seconds; 0 for not since the start
        self._places = array("q")
        self._states = bytearray()

    @property
    def end(self) -> int:
        """The number of the line that comes next."""
        return self.first + len(self._places)

    @property
    def begin(self) -> int:
        """The number of the first line on the screen, if that is tall enough."""
        return max(self.first, self.cleared)

    def add(self, place: int, state: LineState) -> int:
        """Have a line at the end; return its number.

        Args:
            place: where its record is.
            state: how far it is.

        """
        if len(self._places) >= MAX_LINES:
            self.forget(self.first + MAX_LINES // 10)
        self._places.append(place)
        self._states.append(state)
        return self.end - 1

    def place(self, number: int) -> int:
        """Return where the record of a line is."""
        return self._places[number - self.first]

    def state(self, number: int) -> LineState:
        """Return how far a line is."""
        return LineState(self._states[number - self.first])

    def further(self, number: int, state: LineState) -> bool:
        """Let a line be as far as ``state``; return whether it was not yet."""
        at = number - self.first
        if not 0 <= at < len(self._states) or self._states[at] >= state:
            return False
        self._states[at] = state
        return True

    def at(self, place: int) -> int | None:
        """Return the number of the line whose record is at ``place``: only while all places rise."""
        found = bisect_left(self._places, place)
        return self.first + found if found < len(self._places) and self._places[found] == place else None

    def forget(self, number: int) -> None:
        """Forget the lines before ``number``."""
        gone = min(max(number - self.first, 0), len(self._places))
        del self._places[:gone], self._states[:gone]
        self.first += gone

    def trim(self, there: Callable[[int], bool]) -> None:
        """Forget lines at the beginning whose records are not there any more; ``there`` says so of a place."""
        gone = next((at for at, place in enumerate(self._places) if there(place)), len(self._places))
        self.forget(self.first + gone)
