"""One box of a local store: what is in it, and how much of that is of whom. Pure."""

from bisect import bisect_left
from heapq import heapify, heappop, heappush
from typing import Final

SPARE: Final = 64  # entries beyond four a sender after which the heap of a box is made anew

Holder = tuple[bytes, bytes]  # the key of the relay that mail came through, or b"", and its sender


class QuotaTally:
    """A count of envelopes and their bytes; ``key`` is the sender, empty for a relay that mail comes through."""

    __slots__ = ("count", "key", "size")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.count = self.size = 0

    def add(self, count: int, size: int) -> int:
        self.count += count
        self.size += size
        return self.count


class Share(QuotaTally):
    """What one sender has in one box; ``numbers``: its visible envelopes, in order."""

    __slots__ = ("numbers",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.numbers: list[int] = []


class Mailbox:
    """One box: its visible envelopes and notes, and the count and bytes of its quota."""

    __slots__ = ("_heap", "address", "count", "key", "notes", "numbers", "places", "shares", "size")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.address = ""  # the address of the relay whose box this is
        self.count = self.size = 0  # envelopes reserved, visible or withdrawn, and their bytes
        self.numbers: list[int] = []  # the numbers of visible envelopes, in order
        self.notes: list[int] = []
        self.shares: dict[Holder, Share] = {}
        self.places: dict[bytes, QuotaTally] = {}
        self._heap: list[tuple[int, Holder]] = []  # sizes of shares, the largest first, stale ones among them

    def add(self, holder: Holder, place: bytes, count: int, size: int) -> None:
        """Count envelopes of a sender in or, with negative numbers, out."""
        self.count, self.size = self.count + count, self.size + size
        share = self.shares.get(holder)
        if share is None:
            share = self.shares[holder] = Share(holder[1])
        if not share.add(count, size):
            del self.shares[holder]
        else:
            self._weigh(-share.size, holder)
        if place:
            tally = self.places.setdefault(place, QuotaTally(place))
            if not tally.add(count, size):
                del self.places[place]

    def largest(self) -> Holder | None:
        """Return whose envelopes are the most bytes."""
        while self._heap:
            size, holder = self._heap[0]
            share = self.shares.get(holder)
            if share is not None and share.size == -size:
                return holder
            heappop(self._heap)
        return None

    def _weigh(self, size: int, holder: Holder) -> None:
        heappush(self._heap, (size, holder))
        if len(self._heap) > 4 * len(self.shares) + SPARE:
            self._heap = [(-share.size, each) for each, share in self.shares.items()]
            heapify(self._heap)


def over(tally: Mailbox | QuotaTally | None, size: int, most: int, most_bytes: int) -> bool:
    """Whether one more envelope of ``size`` bytes exceeds a count or bytes; 0 is no limit."""
    count, used = (tally.count, tally.size) if tally is not None else (0, 0)
    return 0 < most <= count or 0 < most_bytes < used + size


def remove(numbers: list[int], number: int) -> bool:
    """Remove ``number`` from a sorted list; return whether it was there."""
    index = bisect_left(numbers, number)
    if index == len(numbers) or numbers[index] != number:
        return False
    del numbers[index]
    return True
