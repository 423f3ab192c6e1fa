"""Which relay was given which request, as an error of a relay is not signed: only that relay can say that it failed.

Pure. Of too many, what was sent first is forgotten: nobody is told then, and the request ends by its time.
"""

from collections import OrderedDict
from typing import Final

MOST: Final = 65_536  # requests


class AskedRelays:
    """The relays that have, or had, each request that is outstanding, by its uid."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._relays: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._relays)

    def sent(self, uid: str, relay: str) -> None:
        """Take note that a request was sent to a relay."""
        relays = self._relays.get(uid, ())
        if relay not in relays:
            self._relays[uid] = (*relays, relay)
        if len(self._relays) > self._most:
            self._relays.popitem(last=False)

    def ended(self, uid: str) -> None:
        """Take note that the request was answered, or that nobody waits for an answer."""
        self._relays.pop(uid, None)

    def has(self, uid: str, relay: str) -> bool:
        """Whether that relay was given the request."""
        return relay in self._relays.get(uid, ())
