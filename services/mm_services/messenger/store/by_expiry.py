"""Entries in the order in which they are over."""

import heapq
from collections.abc import Callable, Iterable

from mm_services.messenger.store.entry import BundleEntry


class ByExpiry:
    """A heap of entries. Those that ``lives`` says nothing of any more are skipped, and swept out when there are many.

    Args:
        lives: says whether an entry still counts.

    """

    __slots__ = ("_heap", "_lives")

    def __init__(self, lives: Callable[[BundleEntry], bool], entries: Iterable[BundleEntry] = ()) -> None:
        self._lives, self._heap = lives, list(entries)
        heapq.heapify(self._heap)

    def add(self, entry: BundleEntry, living: int) -> None:
        """Add an entry; ``living`` is how many count, with it."""
        if len(self._heap) > living + living // 4 + 64:
            self._heap = [each for each in self._heap if self._lives(each)]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, entry)

    def first(self) -> BundleEntry | None:
        """Return the entry that is over first, None when there is none."""
        while self._heap:
            if self._lives(self._heap[0]):
                return self._heap[0]
            heapq.heappop(self._heap)
        return None
