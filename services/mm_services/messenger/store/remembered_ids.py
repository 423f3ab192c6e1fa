"""Ids that are remembered until their time is over, and no longer: what was here does not come again."""

import heapq
from collections.abc import Iterator
from typing import Final

SLOT: Final = 64  # seconds: times are kept to the next multiple of them, so that an id costs little


class RememberedIds:
    """At most ``most`` ids. Of too many, those go first whose time is over first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: dict[bytes, int] = {}
        self._ids: dict[int, list[bytes]] = {}  # by slot; with some that are in another one by now, or in none
        self._heap: list[int] = []  # of slots

    def __contains__(self, bundle: bytes) -> bool:
        return bundle in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._slots)

    def until(self, bundle: bytes) -> float:
        """Return until when an id is remembered."""
        return float(self._slots[bundle] * SLOT)

    def add(self, bundle: bytes, expires: float) -> list[bytes]:
        """Remember an id; return those that are forgotten for it."""
        slot = -int(-expires // SLOT)
        if self._slots.get(bundle) != slot:
            self._slots[bundle] = slot
            if slot not in self._ids:
                self._ids[slot] = []
                heapq.heappush(self._heap, slot)
            self._ids[slot].append(bundle)
        return [self._first() for _ in range(len(self._slots) - self._most)]

    def discard(self, bundle: bytes) -> None:
        """Forget an id."""
        self._slots.pop(bundle, None)

    def expire(self, now: float) -> list[bytes]:
        """Forget, and return, the ids whose time is over."""
        over: list[bytes] = []
        while self._heap and self._heap[0] * SLOT <= now:
            slot = heapq.heappop(self._heap)
            for bundle in self._ids.pop(slot):
                if self._slots.get(bundle) == slot:
                    del self._slots[bundle]
                    over.append(bundle)
        return over

    def _first(self) -> bytes:
        """Forget, and return, an id whose time is over first."""
        while True:
            slot = self._heap[0]
            ids = self._ids[slot]
            while ids:
                bundle = ids.pop()
                if self._slots.get(bundle) == slot:
                    del self._slots[bundle]
                    return bundle
            del self._ids[slot]
            heapq.heappop(self._heap)
