"""Sorted ids in ranges of about equal size, and prints, each of which stands for all ids of a range.

Ids are hashes, so their first bits say in which of 2^depth ranges they are. A print is 8 bytes of BLAKE2b over the ids
of a range, sorted and joined, keyed with a salt that is drawn for one comparison: nobody can make ids beforehand that
two carriers do not notice to differ.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from sys import byteorder
from typing import Final

from mm_services.messenger.protocol.limits import ID

SALT: Final = 16
PRINT: Final = 8
BLOCK: Final = 128  # bytes that a print takes to make, beside the ids

Spans = list[tuple[int, int]]  # the places of the first id of a range, and of the first one behind it

_HEAD: Final = 64  # bits of an id that are looked up
_PERSON: Final = b"mm/1 ids print"


class SortedIds:
    """Ids as they are given: sorted, and joined."""

    def __init__(self, joined: bytes) -> None:
        self.joined = joined
        heads = array("Q", joined[: len(joined) // ID * ID])
        if byteorder == "little":
            heads.byteswap()
        self._heads = heads[::2]

    def __len__(self) -> int:
        return len(self._heads)

    def __getitem__(self, place: int) -> bytes:
        if place >= len(self._heads):
            raise IndexError(place)
        return self.joined[place * ID : (place + 1) * ID]

    def slice(self, low: int, high: int) -> bytes:
        """Return some ids, joined."""
        return self.joined[low * ID : high * ID]

    def place(self, bound: bytes) -> int:
        """Return the place of the first id that is not below ``bound``."""
        return bisect_left(range(len(self)), bound, key=self.__getitem__)

    def spans(self, depth: int, ranges: Iterable[int], start: bytes = b"", until: bytes = b"") -> Spans:
        """Return where the ids of some of 2^depth ranges are, which come in order: those from ``start`` on, and below
        ``until`` unless that is empty."""
        first, end = self.place(start), self.place(until) if until else len(self)
        spans, high, following = [], 0, 0
        for number in ranges:
            low = high if number == following else bisect_left(self._heads, number << _HEAD - depth, high)
            following = number + 1
            high = bisect_left(self._heads, following << _HEAD - depth, low)
            spans.append((max(low, first), max(min(high, end), first)))
        return spans

    def within(self, spans: Spans) -> Iterator[bytes]:
        """Yield the ids of ranges."""
        return (self.joined[at : at + ID] for low, high in spans for at in range(low * ID, high * ID, ID))

    def prints(self, spans: Spans, salt: bytes) -> bytes:
        """Return the prints of ranges, joined."""
        view = memoryview(self.joined)
        return b"".join([print_of(view[low * ID : high * ID], salt) for low, high in spans])


def print_of(data: bytes | memoryview, salt: bytes) -> bytes:
    """Return what stands for ids, or for prints, that are joined."""
    return blake2b(data, digest_size=PRINT, key=salt, person=_PERSON).digest()


def hashed(spans: Spans) -> int:
    """Return how many bytes are hashed to make the prints of ranges."""
    return sum(high - low for low, high in spans) * ID + len(spans) * BLOCK


def unequal(ours: bytes, theirs: bytes) -> list[int]:
    """Return the places of prints that differ."""
    return [at // PRINT for at in range(0, len(ours), PRINT) if ours[at : at + PRINT] != theirs[at : at + PRINT]]


def split(ranges: Iterable[int], bits: int) -> list[int]:
    """Return the ranges that ranges become when each is split into 2^bits."""
    return [part for one in ranges for part in range(one << bits, (one + 1) << bits)]


def end_of(number: int, depth: int) -> bytes:
    """Return what no id of a range, and no bound of one, reaches."""
    end = (number + 1) << (8 * ID - depth)
    return end.to_bytes(ID) if number + 1 < 1 << depth else b"\xff" * (ID + 1)
