"""Remembers what came from whom, so that it counts once: a relay may hand over again what nobody said was dealt with.

Pure. An envelope that comes again while the first is being dealt with is acknowledged together with it. What is
remembered is bounded, and who sends much has its own forgotten first.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

MOST: Final = 65_536  # envelopes
SHARE: Final = 8192  # those of one twin
COPIES: Final = 16  # of an envelope that is being dealt with; of more, the first are acknowledged when they come again

Name = tuple[int, str, str]  # twin, uid, kind


class Repeats:
    """The envelopes that came lately. ``acknowledge`` of each is called when it is dealt with."""

    def __init__(self, most: int = MOST, share: int = SHARE) -> None:
        self._most, self._share = most, share
        self._open: dict[Name, deque[Callable[[], None]]] = {}
        self._done: OrderedDict[int, dict[Name, int]] = OrderedDict()  # of each twin: when they end, in order
        self._size = 0
        self.count = 0
        """How many came again."""

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name: Name) -> bool:
        return name in self._open or name in self._done.get(name[0], ())

    def first(self, name: Name, now: int, acknowledge: Callable[[], None]) -> bool:
        """Whether an envelope is to be dealt with; one that came before is not, and is acknowledged."""
        if (waiting := self._open.get(name)) is not None:
            self.count += 1
            waiting.append(acknowledge)
            return False
        if self._done.get(name[0], {}).get(name, now) > now:
            self.count += 1
            acknowledge()
            return False
        self._open[name] = deque((acknowledge,), COPIES)
        return True

    def done(self, name: Name, end: int, now: int) -> None:
        """Take note that an envelope, good until ``end``, is dealt with; acknowledge it as often as it came."""
        waiting = self._open.pop(name, None)
        if waiting is None:
            return
        ends = self._done.setdefault(name[0], {})
        self._done.move_to_end(name[0])
        self._size += name not in ends
        ends[name] = end
        self._forget(name[0], now)
        for acknowledge in waiting:
            acknowledge()

    def again(self, name: Name) -> None:
        """Forget an envelope that was not dealt with: it may come again."""
        self._open.pop(name, None)

    def _forget(self, twin: int, now: int) -> None:
        """Forget two that have ended, of the twin and of the one that was silent for longest, and what is too much."""
        for ends in (self._done[twin], next(iter(self._done.values()))):
            for name in [name for name in _oldest(ends, 2) if ends[name] <= now]:
                self._drop(name)
        if twin in self._done and len(self._done[twin]) > self._share:
            self._drop(next(iter(self._done[twin])))
        if self._size > self._most:
            fair = twin not in self._done or len(self._done[twin]) * len(self._done) <= self._size
            self._drop(next(iter(next(iter(self._done.values())) if fair else self._done[twin])))

    def _drop(self, name: Name) -> None:
        ends = self._done[name[0]]
        del ends[name]
        self._size -= 1
        if not ends:
            del self._done[name[0]]


def _oldest(ends: dict[Name, int], count: int) -> list[Name]:
    return [name for name, _ in zip(ends, range(count), strict=False)]
