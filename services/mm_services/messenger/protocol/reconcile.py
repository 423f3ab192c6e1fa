"""Finds out which bundles one carrier has and another has not, at the cost of what differs.

The ids are compared by ranges (``id_ranges.py``). Who begins sends one print of all, and is told those of 2^n ranges;
it splits the ranges that differ, and is told the ids in those parts that do.

========  ============================================================================================================
request   reply
========  ============================================================================================================
Whole     ListedIds when nothing differs or there are few ids, else Prints
Compare   ListedIds: what the other side has in those ranges whose prints differ, as far as it fits in one packet
========  ============================================================================================================

Two stores of 100,000 that differ in 100 take two round trips and 32 KB, equal ones one round trip and 38 bytes. Stores
that have nothing in common list their ids, 14,336 at a time. Who begins knows the difference in the end. Who answers
keeps nothing from one request to the next, and learns the difference by what is pulled and pushed.

The ids are a snapshot, and the other side has one of its own for each request. What comes or goes meanwhile may be in
the difference or not, without harm: pushing what the other side has got, and pulling what it has no more, are answered.
"""

from math import exp, log
from typing import Final, NamedTuple

from mm_services.messenger.protocol.id_ranges import PRINT, SortedIds, end_of, hashed, print_of, split, unequal
from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.reconcile_packets import (
    MOST_BITS,
    MOST_DEPTH,
    MOST_PRINTS,
    PAGE,
    Compare,
    ListedIds,
    Prints,
    Whole,
    bad,
    reply,
    request,
)
from mmplatform.codec import encode

IN_RANGE: Final = 64  # ids of a range, up to twice as many; so few are listed without more ado
MOST_SPLIT: Final = 8 * MOST_PRINTS  # parts of ranges that one comparison looks at
MOST_REQUESTS: Final = 64  # of one comparison
MOST_LACKING: Final = 64 * 1024  # ids that we lack, and those of one page, that one comparison finds


class Difference(NamedTuple):
    """What one of two carriers has and the other has not. Not ``complete`` when there was too much for one comparison:
    what was found is pulled and pushed, and the next one finds the rest."""

    lacking: list[bytes]  # what we have not
    missing: list[bytes]  # what the other side has not
    complete: bool


class Answered(NamedTuple):
    """A reply, and how many bytes were gone through for it: at most our ids twice, and 1 MiB. A MB takes 2 ms."""

    data: bytes
    cost: int


class Reconciler:
    """One comparison, at the side that begins it. The other side is not trusted: it can make a comparison find what is
    not so, and nothing else; it takes at most 64 requests, and what is kept is bounded.

    Args:
        ids: those of all bundles that we know, sorted and joined.
        salt: 16 random bytes, drawn for this comparison.

    """

    def __init__(self, ids: bytes, salt: bytes) -> None:
        self._ids, self._salt = SortedIds(ids), salt
        self._depth = min(MOST_DEPTH, max(0, (len(self._ids) // IN_RANGE).bit_length() - 1))
        self._bits = 0
        self._prints = b""
        self._left: list[int] = []  # the ranges that differ and are still to be compared, the lowest first
        self._start = b""  # where the first of them is to be compared from
        self._theirs = 0.0  # ids of the other side in a range
        self._asked: Whole | Compare | None = None
        self._requests = 0
        self._found = Difference([], [], complete=True)

    def begin(self) -> bytes:
        """Return the first request."""
        self._prints = self._ids.prints(self._ids.spans(self._depth, range(1 << self._depth)), self._salt)
        return self._ask(Whole(self._salt, self._depth, print_of(self._prints, self._salt)))

    def heard(self, data: bytes) -> bytes | Difference:
        """Return the next request, or what was found. Raises ProtocolError for what is no reply to the last one."""
        told, asked = reply(data), self._asked
        if isinstance(asked, Whole) and isinstance(told, Prints) and len(told.prints) == len(self._prints):
            self._left, self._theirs = unequal(self._prints, told.prints), told.count / (1 << self._depth)
            self._bits = self._best_bits(self._guess(told.count))
        elif isinstance(asked, Whole) and isinstance(told, ListedIds) and not told.until:
            self._take(told, 0, [0])
        elif isinstance(asked, Compare) and isinstance(told, ListedIds):
            found = self._take(told, self._depth + self._bits, split(asked.ranges, self._bits))
            done = len(asked.ranges)
            if told.until:
                done = sum(end_of(one, self._depth) <= told.until for one in asked.ranges)
            self._left, self._start = self._left[done:], told.until
            self._bits = self._best_bits(found / max(done, 1))
        else:
            raise bad("it is not what was asked for")
        self._asked = None
        if not self._left:
            return self._found
        if self._requests >= MOST_REQUESTS or len(self._found.lacking) >= MOST_LACKING:
            return self._found._replace(complete=False)
        return self._compare()

    def _ask(self, asked: Whole | Compare) -> bytes:
        self._asked = asked
        self._requests += 1
        return encode(asked)

    def _compare(self) -> bytes:
        ranges = self._left[: MOST_PRINTS >> self._bits]
        spans = self._ids.spans(self._depth + self._bits, split(ranges, self._bits), self._start)
        prints = self._ids.prints(spans, self._salt)
        return self._ask(Compare(self._salt, self._depth, self._bits, ranges, prints, self._start))

    def _take(self, told: ListedIds, depth: int, asked: list[int]) -> int:
        """Note what differs in the ranges that were asked for; return how many ids."""
        if told.differing and told.differing[-1] >= len(asked):
            raise bad("a range is listed that was not asked for")
        if told.until and told.until <= self._start:
            raise bad("it goes back")
        ranges, ids = [asked[place] for place in told.differing], SortedIds(told.ids)
        spans = ids.spans(depth, ranges, self._start, told.until)
        if sum(high - low for low, high in spans) != len(ids):
            raise bad("ids are listed that were not asked for")
        theirs = set(ids.within(spans))
        ours = set(self._ids.within(self._ids.spans(depth, ranges, self._start, told.until)))
        self._found.lacking.extend(theirs - ours)
        self._found.missing.extend(ours - theirs)
        return len(theirs ^ ours)

    def _guess(self, theirs: int) -> float:
        """Return in how many ids a range differs that does, as far as the number of those that do not tells."""
        ranges, differing = 1 << self._depth, len(self._left)
        scattered = ranges * log(ranges / max(ranges - differing, 1))
        return max(scattered, abs(len(self._ids) - theirs)) / max(differing, 1)

    def _best_bits(self, differing: float) -> int:
        """Return into how many parts to split a range in which so many ids differ, as a power of two: so that prints,
        and the ids that are listed, are the fewest bytes."""

        def size(bits: int) -> float:
            parts = 1 << bits
            return parts * PRINT + (1 - exp(-differing / parts)) * self._theirs * ID

        affordable = [bits for bits in range(1, MOST_BITS + 1) if len(self._left) << bits <= MOST_SPLIT]
        return min([0, *affordable], key=size)


def answer(ids: bytes, data: bytes) -> Answered:
    """Return the reply of the side that did not begin.

    Args:
        ids: those of all bundles that we know, sorted and joined.
        data: the request.

    Raises ProtocolError.

    """
    asked, ours = request(data), SortedIds(ids)
    if isinstance(asked, Whole):
        spans = ours.spans(asked.depth, range(1 << asked.depth))
        prints = ours.prints(spans, asked.salt)
        told: ListedIds | Prints = Prints(len(ours), prints)
        if print_of(prints, asked.salt) == asked.print:
            told = ListedIds([], b"")
        elif len(ours) <= IN_RANGE:
            told = ListedIds([0], ids)
    else:
        spans = ours.spans(asked.depth + asked.bits, split(asked.ranges, asked.bits), asked.start)
        differing = unequal(ours.prints(spans, asked.salt), asked.prints)
        told = _listed(ours, [(place, *spans[place]) for place in differing])
    return Answered(encode(told), len(ids) + hashed(spans))


def _listed(ids: SortedIds, differing: list[tuple[int, int, int]]) -> ListedIds:
    """Return the ids of ranges, each given by its place in the request and its span, as far as they fit."""
    parts, room = [], PAGE
    for number, (_, low, high) in enumerate(differing, 1):
        parts.append(ids.slice(low, min(high, low + room)))
        if high - low > room:
            return ListedIds([place for place, _, _ in differing[:number]], b"".join(parts), ids[low + room])
        room -= high - low
    return ListedIds([place for place, _, _ in differing], b"".join(parts))
