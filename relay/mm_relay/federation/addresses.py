"""Where one other relay is reached, by who says so; its key decides in the end, and a false address costs an attempt.

What the relay itself has proven comes first, then what it signed in with here, then what the operator lists, then what
peers claim: of each of them one address, the latest, and who changed it last comes last. So whoever names false
addresses delays nobody else's, however many it names.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Final

PLACES: Final = 8  # network addresses whose peers' claims are kept; one whose claims were tried in vain gives way
KEYS: Final = 4  # peers at one of them; likewise


class Addresses:
    """The addresses of one relay. ``proven``: where it was reached last; ``listed``: by the operator."""

    def __init__(self, proven: str = "", listed: Iterable[str] = ()) -> None:
        self.proven = proven
        self._own = ""  # what it signed in with
        self._listed = tuple(listed)
        self._claims: dict[bytes, dict[bytes, str]] = {}  # place -> key -> address; the latest come last
        self._failures: Counter[str] = Counter()  # since each was reached

    def claim(self, address: str, place: bytes = b"", key: bytes = b"") -> bool:
        """Remember that the peer ``key`` at ``place`` names ``address``; return whether that is news."""
        news = address not in self.in_turn()
        claims = self._claims[place] = self._claims.pop(place, {})
        if claims.get(key) != address:
            claims.pop(key, None)
            claims[key] = address
        if len(claims) > KEYS:
            del claims[max(list(claims)[:-1], key=lambda each: self._failures[claims[each]])]
        if len(self._claims) > PLACES:
            del self._claims[max(list(self._claims)[:-1], key=self._failed_at)]
        return news

    def signed_in(self, address: str) -> bool:
        """Remember what the relay itself says when it signs in here; return whether that is news."""
        news = address not in (self._own, self.proven)
        self._own = address
        return news

    def reached(self, address: str) -> None:
        """Take note that the relay proved its key at ``address``."""
        self.proven = address
        self._failures.pop(address, None)

    def failed(self, address: str) -> None:
        """Take note that an attempt at ``address`` was in vain: of what is claimed, it comes later the next time."""
        self._failures[address] += 1
        known = set(self.in_turn())
        self._failures = Counter({each: count for each, count in self._failures.items() if each in known})

    def in_turn(self) -> list[str]:
        """Return all, likeliest first; the claims of each place take turns."""
        places = [list(claims.values()) for claims in self._claims.values()]
        claimed = [each for each in chain.from_iterable(zip_longest(*places)) if each]
        claimed.sort(key=lambda address: self._failures[address])
        known = dict.fromkeys((self.proven, self._own, *self._listed, *claimed))
        return [address for address in known if address]

    def _failed_at(self, place: bytes) -> int:
        """How often everything that is claimed at ``place`` was tried in vain."""
        return min(self._failures[address] for address in self._claims[place].values())
