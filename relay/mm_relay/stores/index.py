"""The index of a local store, in memory: exact quotas, order, deadlines; the envelopes themselves are on disk.

An envelope takes about 0.4 KB here and a note 0.5 KB (test_index.py). An envelope is *reserved* when it is put (it
counts), *visible* once it is on disk, *withdrawn* when it is being removed (it still counts), and then *dropped*, or
*restored* when the disk did not take the removal. No I/O here.
"""

from bisect import bisect_right, insort
from heapq import heapify, heappop, heappush
from typing import Annotated, Final

from mm_relay.stores.contract import MAX_MAIL_ID, MOST_GIVE_WAY, Caps, Note, OverQuota, Usage
from mm_relay.stores.lately import Lately
from mm_relay.stores.mailbox import Mailbox, QuotaTally, over, remove
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import Address, Integer, Key, Reason
from mmplatform.codec import Meta, Struct

NUMBER_BITS: Final = 53
STALE: Final = 1024  # deadlines of removed envelopes after which the heap is made anew without them


MailId = Annotated[bytes, Meta(min_length=1, max_length=MAX_MAIL_ID)]


class Mark(Struct, array_like=True, gc=False):
    """One envelope without its bytes; also its row on disk."""

    box: Key
    sender: Key
    target: Key
    id: MailId
    expires: Integer
    size: Integer
    origin: Address
    via: Address
    place: Annotated[bytes, Meta(max_length=16)] = b""


class NoteMark(Struct, array_like=True, gc=False):
    """One note; also its row on disk."""

    box: Key
    sender: Key
    target: Key
    id: MailId
    state: Reason
    origin: Address
    made: Integer  # Unix milliseconds

    def note(self, number: int) -> Note:
        return Note(number, self.box, self.sender, self.target, self.id, self.state, self.origin)


class Index:
    """Everything about the envelopes and notes of a store, except the bytes of the envelopes."""

    def __init__(self) -> None:
        self.mail: dict[int, Mark] = {}  # all envelopes except withdrawn ones
        self.noted: dict[int, NoteMark] = {}
        self._known: dict[tuple[bytes, bytes, bytes, bytes], int] = {}  # by (key of the relay, sender, target, id)
        self._known_notes: dict[tuple[bytes, bytes, bytes], int] = {}
        self._boxes: dict[bytes, Mailbox] = {}
        self._tallies: dict[tuple[bytes, bytes], QuotaTally] = {}
        self._places: dict[bytes, QuotaTally] = {}
        self.lately = Lately()
        self._relays: dict[bytes, Mailbox] = {}
        self._deadlines: list[int] = []  # a heap of (time, number), as one integer each
        self._ages: list[int] = []
        self._count = self._size = self._occupied = 0

    # Envelopes.

    def known(self, origin: str, sender: bytes, target: bytes, id: bytes) -> int:  # noqa: A002 - what it is
        """Return the number of the envelope with this name, or 0; one that is being removed is no longer known."""
        number = self._known.get((relay_key(origin), sender, target, id), 0)
        return number if number in self.mail else 0

    def check(self, mark: Mark, caps: Caps) -> list[int]:
        """Return the numbers of the envelopes that have to give way for that of ``mark``, usually none.

        Raises OverQuota when it is too much.
        """
        box = self._boxes.get(mark.box)
        found: list[int] = []
        if over(box, mark.size, caps.box_count, caps.box_bytes):
            found = self._giving_way(box, mark, caps) if box is not None and caps.gives_way else []
            if not found:
                raise OverQuota("overflow")
        self._check_quotas(mark, caps)
        return found

    def _check_quotas(self, mark: Mark, caps: Caps) -> None:
        if caps.here_since and not self.lately.since(mark.box, caps.here_since):
            raise OverQuota("storage")
        box, origin, size = self._boxes.get(mark.box), relay_key(mark.origin), mark.size
        share = box.shares.get((origin, mark.sender)) if box is not None else None
        there = box.places.get(mark.place) if box is not None else None
        if (
            over(self._tallies.get((origin, mark.sender)), size, caps.sender_count, caps.sender_bytes)
            or (origin and over(self._tallies.get((origin, b"")), size, caps.origin_count, caps.origin_bytes))
            or over(share, size, caps.share_count, caps.share_bytes)
            or (mark.place and over(self._places.get(mark.place), size, caps.place_count, caps.place_bytes))
            or (mark.place and over(there, size, caps.place_share_count, caps.place_share_bytes))
        ):
            raise OverQuota("quota")

    def _giving_way(self, box: Mailbox, mark: Mark, caps: Caps) -> list[int]:
        """Return the newest envelopes of the largest sender that make room, none when it has no more than its due."""
        own, largest = (relay_key(mark.origin), mark.sender), box.largest()
        if largest is None or largest == own:
            return []
        own_size = box.shares[own].size if own in box.shares else 0
        if box.shares[largest].size <= own_size + mark.size:
            return []
        found: list[int] = []
        more, most = 0, caps.box_bytes - mark.size if caps.box_bytes else box.size
        for number in reversed(box.shares[largest].numbers[-MOST_GIVE_WAY:]):
            found.append(number)
            more += self.mail[number].size
            if box.size - more <= most and (not caps.box_count or box.count - len(found) < caps.box_count):
                return found
        return []

    def reserve(self, number: int, mark: Mark) -> None:
        box, sender = self._box(mark.box), self._tally(relay_key(mark.origin), mark.sender)
        mark.target = box.key if mark.target == box.key else mark.target
        mark.box, mark.sender = box.key, sender.key
        self.mail[number] = mark
        self._known[relay_key(mark.origin), mark.sender, mark.target, mark.id] = number
        self._occupied += not box.count
        self._count_in(box, mark, 1)

    def _count_in(self, box: Mailbox, mark: Mark, count: int) -> None:
        """Count an envelope: ``count`` is 1 for one more, -1 for one less."""
        size = count * mark.size
        origin = relay_key(mark.origin)
        box.add((origin, mark.sender), mark.place, count, size)
        self._count, self._size = self._count + count, self._size + size
        if mark.place and not self._places.setdefault(mark.place, QuotaTally(mark.place)).add(count, size):
            del self._places[mark.place]
        for sender in (mark.sender, b"") if origin else (mark.sender,):
            if not self._tally(origin, sender).add(count, size):
                del self._tallies[origin, sender]

    def filled(self, box: bytes) -> tuple[int, int]:
        return (self._boxes[box].count, self._boxes[box].size) if box in self._boxes else (0, 0)

    def show(self, number: int) -> None:
        mark = self.mail[number]
        box = self._boxes[mark.box]
        for numbers in (box.numbers, box.shares[relay_key(mark.origin), mark.sender].numbers):
            if numbers and number < numbers[-1]:
                insort(numbers, number)
            else:
                numbers.append(number)
        if mark.via:
            self._mark_relay(box, mark.via)
        heappush(self._deadlines, mark.expires << NUMBER_BITS | number)

    def withdraw(self, box: bytes, number: int) -> Mark | None:
        """Hide a visible envelope of a box; return None when there is none with this number."""
        mark = self.mail.get(number)
        if mark is None or mark.box != box or not remove(self._boxes[box].numbers, number):
            return None
        remove(self._boxes[box].shares[relay_key(mark.origin), mark.sender].numbers, number)
        del self.mail[number]
        return mark

    def restore(self, number: int, mark: Mark) -> None:
        self.mail[number] = mark
        self.show(number)

    def drop(self, number: int, mark: Mark) -> None:
        """Forget an envelope that is no longer on disk, or never was."""
        self.mail.pop(number, None)
        name = relay_key(mark.origin), mark.sender, mark.target, mark.id
        if self._known.get(name) == number:
            del self._known[name]
        box = self._boxes[mark.box]
        self._count_in(box, mark, -1)
        self._occupied -= not box.count
        self._leave(box)

    def following(self, box: bytes, after: int, count: int, size: int) -> list[int]:
        """Return numbers of the next envelopes of a box: at most ``count``, and ``size`` bytes but at least one."""
        numbers = self._boxes[box].numbers if box in self._boxes else []
        found: list[int] = []
        for index in range(bisect_right(numbers, after), len(numbers)):
            size -= self.mail[numbers[index]].size
            if len(found) == count or (found and size < 0):
                break
            found.append(numbers[index])
        return found

    def due(self, now: int, count: int) -> list[int]:
        """Return the numbers of visible envelopes whose time is up, each once."""
        return ripe(self._deadlines, self.mail, now, count)

    # Notes.

    def known_note(self, box: bytes, target: bytes, id: bytes) -> int:  # noqa: A002 - what it is
        return self._known_notes.get((box, target, id), 0)

    def add_note(self, number: int, mark: NoteMark) -> None:
        box = self._box(mark.box)
        mark.box, mark.sender = box.key, box.key if mark.sender == box.key else mark.sender
        self.noted[number] = mark
        self._known_notes[mark.box, mark.target, mark.id] = number
        insort(box.notes, number)
        if mark.origin:
            self._mark_relay(box, mark.origin)
        heappush(self._ages, mark.made << NUMBER_BITS | number)

    def drop_note(self, number: int) -> None:
        mark = self.noted.pop(number, None)
        if mark is None:
            return
        if self.known_note(mark.box, mark.target, mark.id) == number:
            del self._known_notes[mark.box, mark.target, mark.id]
        box = self._boxes[mark.box]
        remove(box.notes, number)
        self._leave(box)

    def notes(self, box: bytes, after: int, count: int) -> list[int]:
        numbers = self._boxes[box].notes if box in self._boxes else []
        first = bisect_right(numbers, after)
        return numbers[first : first + count]

    def surplus_notes(self, box: bytes, most: int) -> list[int]:
        """Return the oldest notes of a box that has more than ``most``."""
        notes = self._boxes[box].notes if box in self._boxes else []
        return notes[: max(0, len(notes) - most)]

    def old_notes(self, before: int, count: int) -> list[int]:
        """Return notes made before that time (Unix milliseconds), each once."""
        return ripe(self._ages, self.noted, before - 1, count)

    # All.

    def relays(self, after: bytes, count: int) -> list[tuple[bytes, str]]:
        keys = sorted(key for key in self._relays if key > after)
        return [(key, self._relays[key].address) for key in keys[:count]]

    def usage(self) -> Usage:
        return Usage(self._count, self._size, self._occupied, len(self.noted))

    def _box(self, key: bytes) -> Mailbox:
        box = self._boxes.get(key)
        if box is None:
            box = self._boxes[key] = Mailbox(key)
        return box

    def _tally(self, origin: bytes, sender: bytes) -> QuotaTally:
        tally = self._tallies.get((origin, sender))
        if tally is None:
            tally = self._tallies[origin, sender] = QuotaTally(sender)
        return tally

    def _mark_relay(self, box: Mailbox, address: str) -> None:
        box.address = address
        self._relays[box.key] = box

    def _leave(self, box: Mailbox) -> None:
        if not box.numbers and not box.notes:
            self._relays.pop(box.key, None)
            if not box.count:
                del self._boxes[box.key]


def ripe(deadlines: list[int], alive: dict[int, Mark] | dict[int, NoteMark], now: int, count: int) -> list[int]:
    """Take at most ``count`` numbers from a heap whose time is up by ``now`` and which are still alive."""
    found: list[int] = []
    while len(found) < count and deadlines and deadlines[0] >> NUMBER_BITS <= now:
        number = heappop(deadlines) & (1 << NUMBER_BITS) - 1
        if number in alive and number not in found[-1:]:  # a restored envelope has two deadlines
            found.append(number)
    if len(deadlines) > 2 * len(alive) + STALE:
        deadlines[:] = [deadline for deadline in deadlines if deadline & (1 << NUMBER_BITS) - 1 in alive]
        heapify(deadlines)
    return found
