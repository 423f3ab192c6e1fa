"""Who may give us bundles, and whom we give ours; of whom and for whom they may be: the rules, applied.

The first rule that a peer belongs to decides. What it may do in a minute is counted for each peer by itself, so one
that does too much takes nothing from others. Those of a crowd for whom there is no room share one count.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Final, NamedTuple

from mm_services.messenger.protocol.rules import DEFAULT, EVERYONE, Rule, Rules
from mmplatform.identity.keys import SignId
from mmplatform.token_bucket import TokenBucket

MINUTE: Final = 60.0
MOST_COUNTED: Final = 1024  # peers of one rule that have a count of their own
LOOK_EVERY: Final = 1.0  # seconds at least between two looks for counts that nobody needs

_ONE: Final = 0.999  # after the pause that was named it is one, but for rounding

Belongs = Callable[[SignId, str], bool]


class Permission(NamedTuple):
    """Whether something may be done: when neither ``denied`` nor to be tried again after a ``pause`` of seconds."""

    denied: bool = False
    pause: float = 0.0

    @property
    def allowed(self) -> bool:
        """Whether it may be done now."""
        return self == ALLOWED


ALLOWED: Final = Permission()
DENIED: Final = Permission(denied=True)


class RateAcl:
    """One list of rules.

    Args:
        rules: the entries, in order.
        belongs: whether a peer belongs to a principal, which is not "everyone".

    """

    def __init__(self, rules: Sequence[Rule], belongs: Belongs) -> None:
        self._entries = [(rule, _PeerRates(rule.rate) if rule.rate else None) for rule in rules]
        self._belongs = belongs

    def check(self, peer: SignId, now: float, cost: int = 1) -> Permission:
        """Return whether a peer may, and count it if so.

        Args:
            peer: who would do it.
            now: seconds; a clock that is put back has all begin anew.
            cost: how often it would do so at once, which it waits for afterwards; 0 only asks.

        """
        for rule, rates in self._entries:
            if self._one_of(peer, rule.who) and not self._one_of(peer, rule.not_who):
                if rates is not None:
                    return rates.spend(peer, cost, now)
                return ALLOWED if rule.rate is None else DENIED
        return DENIED

    def _one_of(self, peer: SignId, principals: Collection[str]) -> bool:
        return any(principal == EVERYONE or self._belongs(peer, principal) for principal in principals)


class Rights:
    """All rules of a carrier. To ourselves everything is allowed.

    Args:
        own: our signId.
        belongs: whether a peer belongs to a principal: "friends", "self", a list as "@family", a name, a signId.
        rules: the lists; those that are left out are the default ones.

    """

    def __init__(self, own: SignId, belongs: Belongs, rules: Rules = DEFAULT) -> None:
        self._own = own
        self._acls = {name: RateAcl(entries, belongs) for name, entries in {**DEFAULT, **rules}.items()}

    def incoming(self, peer: SignId, now: float, cost: int = 1) -> Permission:
        """Return whether ``peer`` may give us so many bundles, or read ours."""
        return self._check("in", peer, now, cost)

    def outgoing(self, peer: SignId, now: float, cost: int = 1) -> Permission:
        """Return whether we give ``peer`` so many bundles."""
        return self._check("out", peer, now, cost)

    def sender(self, peer: SignId, now: float, cost: int = 1) -> Permission:
        """Return whether we take a bundle that ``peer`` wrote."""
        return self._check("sender", peer, now, cost)

    def recipients(self, peers: Collection[SignId], now: float, cost: int = 1) -> Permission:
        """Return whether we carry a bundle for these: when we do for one of them, for whom it counts. One for everybody
        is for us, too."""
        found = DENIED
        for peer in peers:
            one = self._check("recipient", peer, now, cost)
            if one.allowed:
                return one
            found = min(found, one)  # what is denied comes last
        return found if peers else ALLOWED

    def _check(self, name: str, peer: SignId, now: float, cost: int) -> Permission:
        return ALLOWED if peer == self._own else self._acls[name].check(peer, now, cost)


class _PeerRates:
    """What each peer may do, so many times a minute; as many at once after a quiet minute."""

    def __init__(self, a_minute: float) -> None:
        self._rate, self._burst = a_minute / MINUTE, max(MINUTE, MINUTE / a_minute)  # one at once, at least
        self._buckets: dict[SignId, TokenBucket] = {}
        self._others: TokenBucket | None = None
        self._seen = self._looked = -inf

    def spend(self, peer: SignId, cost: int, now: float) -> Permission:
        if now < self._seen:
            self._buckets, self._others, self._looked = {}, None, -inf
        self._seen = now
        bucket = self._buckets.get(peer) or self._begin(peer, now)
        level = bucket.level(now)
        if level < _ONE:
            return Permission(pause=(1 - level) / self._rate)
        bucket.spend(cost, now)
        return ALLOWED

    def _begin(self, peer: SignId, now: float) -> TokenBucket:
        """Return a count for a peer that has none: its own, or that of all for whom there is no room."""
        if len(self._buckets) >= MOST_COUNTED and now - self._looked >= LOOK_EVERY:
            self._looked = now
            full = TokenBucket(self._rate, now, self._burst).level(now)
            self._buckets = {one: bucket for one, bucket in self._buckets.items() if bucket.level(now) < full}
        if len(self._buckets) < MOST_COUNTED:
            return self._buckets.setdefault(peer, TokenBucket(self._rate, now, self._burst))
        if self._others is None:
            self._others = TokenBucket(self._rate, now, self._burst)
        return self._others
