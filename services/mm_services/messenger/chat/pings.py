"""Who is there: questions of ours that are open, and how many of others are answered. Pure."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from mmplatform.token_bucket import TokenBucket

MAX_OPEN: Final = 16  # questions of ours, the latest
MAX_ANSWERS: Final = 1000  # that are taken to one of them
RATE: Final = 1.0  # questions a second that one peer is answered
PEERS: Final = 256  # whose rates are remembered

C = TypeVar("C")


class _Asked(Generic[C]):
    __slots__ = ("answered", "at", "where")

    def __init__(self, where: C, at: float) -> None:
        self.where, self.at = where, at
        self.answered: set[str] = set()


class Pings(Generic[C]):
    """``now`` is of a clock that does not go back, in seconds."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, _Asked[C]] = OrderedDict()
        self._rates: OrderedDict[str, TokenBucket] = OrderedDict()

    def ask(self, token: str, where: C, now: float) -> None:
        """Note that we ask ``where``; ``token`` is in the question and in the answers."""
        self._asked[token] = _Asked(where, now)
        if len(self._asked) > MAX_OPEN:
            self._asked.popitem(last=False)

    def answered(self, token: str, peer: str, now: float) -> tuple[C, float] | None:
        """Return where was asked what ``peer`` answers, and how many seconds ago; None for what was not asked, and for
        the second answer of a peer."""
        asked = self._asked.get(token)
        if asked is None or peer in asked.answered or len(asked.answered) >= MAX_ANSWERS:
            return None
        asked.answered.add(peer)
        return asked.where, now - asked.at

    def may_answer(self, peer: str, now: float) -> bool:
        """Whether a question of ``peer`` is to be answered: not when it asks all the time."""
        rate = self._rates.setdefault(peer, TokenBucket(RATE, now))
        self._rates.move_to_end(peer)
        if len(self._rates) > PEERS:
            self._rates.popitem(last=False)
        if rate.level(now) < 1:
            return False
        rate.spend(1, now)
        return True
