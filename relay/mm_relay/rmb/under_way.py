"""The mail that a session was sent and has not taken: by a pong behind it, or by its place on the connection. Pure.

Genuine clients answer pings of WebSocket, which says that their stack has read all that came before; pages in browsers
do, too. Our own clients say by themselves which envelopes they have dealt with, in their pings (docs/protocol/rmb.rst).
"""

import re
from typing import Final

from mmplatform.errors import ProtocolError

MAX_PLACES: Final = 1024  # bytes of the places in one ping
UNANSWERED: Final = 20.0  # seconds in which a ping has to be answered when more is to be sent
_RANGES: Final = re.compile(rb"\d{1,15}(-\d{1,15})?( \d{1,15}(-\d{1,15})?)*")


class Ponged:
    """The mail of a client whose pongs take it. One ping is under way at a time."""

    __slots__ = ("_asked", "_numbers", "_since", "_taken", "_told")

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._told = self._taken = 0  # envelopes, since the connection began
        self._asked = 0  # those that the ping under way is behind; 0 for none
        self._since = 0.0

    def tell(self, number: int) -> None:
        """Take note that the mail with this number is written next."""
        self._told += 1
        self._numbers.append(number)

    def ping(self, now: float) -> bytes:
        """Return the data of a ping that is to be written now, b"" for none."""
        if self._asked or self._told == self._taken:
            return b""
        self._asked, self._since = self._told, now
        return self._asked.to_bytes(8)

    def late(self, now: float) -> bool:
        """Whether the client does not answer pings."""
        return self._asked > 0 and now - self._since > UNANSWERED

    def take(self, data: bytes) -> list[int]:
        """Return the numbers of the mail that a pong takes."""
        if not self._asked or data != self._asked.to_bytes(8):
            return []
        count, self._taken, self._asked = self._asked - self._taken, self._asked, 0
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        return taken


class Acknowledged:
    """The mail of a client that names places."""

    __slots__ = ("_numbers", "_told")

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}  # by place
        self._told = 0

    def tell(self, number: int) -> None:
        """Take note that the mail with this number is written next."""
        self._told += 1
        self._numbers[self._told] = number

    def ping(self, now: float) -> bytes:
        """Return b"": the client says by itself what it has taken."""
        return b""

    def late(self, now: float) -> bool:
        """Return False: the client may take its time."""
        return False

    def take(self, places: bytes) -> list[int]:
        """Return the numbers of the mail at these places, as in ``1-57 59``. Raises ProtocolError."""
        if not places:
            return []
        if len(places) > MAX_PLACES or not _RANGES.fullmatch(places):
            raise ProtocolError("bad-places", "an acknowledgement is places like 1-57 59")
        found: list[int] = []
        for part in places.split(b" "):
            first, _, last = part.partition(b"-")
            found += self._range(int(first), int(last or first))
        return found

    def _range(self, first: int, last: int) -> list[int]:
        if last > self._told:
            raise ProtocolError("bad-places", "no envelope was sent at this place yet")
        if last - first < len(self._numbers):
            places = [place for place in range(first, last + 1) if place in self._numbers]
        else:
            places = [place for place in self._numbers if first <= place <= last]
        return [self._numbers.pop(place) for place in places]
