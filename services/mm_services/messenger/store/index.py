"""What a store knows without reading files: which bundles are here, which were, who has received which."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from mm_services.messenger.protocol.limits import ID, MAX_RECIPIENTS, SKEW
from mm_services.messenger.protocol.receipts import progress
from mm_services.messenger.store.by_expiry import ByExpiry
from mm_services.messenger.store.entry import (
    BundleEntry,
    Note,
    NotedCopies,
    NotedGone,
    NotedHandled,
    NotedReceipt,
    shared,
)
from mm_services.messenger.store.remembered_ids import RememberedIds
from mmplatform.identity.keys import SignId

AT_ONCE: Final = 1000  # bundles that are over: they take the loop some milliseconds


class BundleIndex:
    """The bundles of a store by id. Whoever changes it has the change noted in the journal.

    Args:
        known: how many ids are remembered of bundles that are gone: of our own and for us, as many of others, and as
            many of those that were handled.
        receipts: how many receipts are remembered of bundles of others; of our own, as many as ids.

    """

    def __init__(self, known: int, receipts: int) -> None:
        self.entries: dict[bytes, BundleEntry] = {}
        self.copies: dict[bytes, int] = {}
        self._gone = {ours: RememberedIds(known) for ours in (False, True)}
        self._handled = RememberedIds(known)
        self._receipts: dict[bytes, dict[SignId, int]] = {}
        self._received = {ours: RememberedIds(most) for ours, most in ((False, receipts), (True, known))}
        self._by_expiry = ByExpiry(self.has)
        self._joined: bytes | None = None  # what ids() said, None when it has never been called
        self._sorted: list[bytes] = []  # the same
        self._came: set[bytes] = set()  # since then
        self._left: set[bytes] = set()

    def __len__(self) -> int:
        """Return how many notes tell it all, at least."""
        remembered = (*self._gone.values(), self._handled, *self._received.values())
        return len(self.entries) + sum(map(len, remembered))

    @property
    def gone(self) -> int:
        """How many bundles are known that are gone."""
        return sum(map(len, self._gone.values()))

    def has(self, entry: BundleEntry) -> bool:
        """Whether this very entry is here."""
        return self.entries.get(entry.id) is entry

    def knows(self, bundle: bytes) -> bool:
        """Whether a bundle is here, or was and is not over yet."""
        return bundle in self.entries or any(bundle in gone for gone in self._gone.values())

    def is_gone(self, bundle: bytes) -> bool:
        """Whether a bundle was here, and is to have no file any more."""
        return bundle not in self.entries and self.knows(bundle)

    def was_handled(self, bundle: bytes) -> bool:
        """Whether what was to be done with a bundle here is done, also when it was over since, and comes again."""
        return bundle in self._handled

    def ids(self) -> bytes:
        """Return the ids of all bundles that are known and not over, sorted and joined."""
        if self._joined is None:
            self._sorted = sorted(chain(self.entries, *self._gone.values()))
        elif self._came or self._left:  # what is sorted but for its end is sorted soon
            kept = [each for each in self._sorted if each not in self._left] if self._left else self._sorted
            self._sorted = sorted(chain(kept, self._came))
        else:
            return self._joined
        self._came, self._left = set(), set()
        self._joined = b"".join(self._sorted)
        return self._joined

    def next_expiry(self) -> float | None:
        """Return when the next bundle is over, in Unix seconds."""
        entry = self._by_expiry.first()
        return None if entry is None else entry.expires

    # Changes.

    def begin(self) -> None:
        """Count what was loaded: entries were set, and notes applied."""
        self._by_expiry = ByExpiry(self.has, self.entries.values())
        for gone in self._gone.values():
            for bundle in [each for each in gone if each in self.entries]:
                gone.discard(bundle)

    def add(self, entry: BundleEntry) -> None:
        """Have a bundle that is here."""
        self.entries[entry.id] = entry
        self._by_expiry.add(entry, len(self.entries))
        self._enter(entry.id)

    def forget(self, entry: BundleEntry) -> NotedGone:
        """Have a bundle no more, and know it until it is over."""
        del self.entries[entry.id]
        note = NotedGone(entry.id, entry.expires, entry.own or entry.for_us)
        self._remember(note)
        return note

    def handle(self, entry: BundleEntry) -> NotedHandled:
        """Know that what was to be done with a bundle is done. When it is over depends on what its carrier says of its
        age, within twice the time by which clocks may be wrong: another carrier may have it come again so long."""
        note = NotedHandled(entry.id, entry.expires + 2 * SKEW)
        self._handled.add(note.id, note.until)
        return note

    def drop(self, entry: BundleEntry) -> None:
        """Have a bundle no more, nor know it."""
        del self.entries[entry.id]
        self._leave(entry.id)

    def expire(self, now: float) -> list[BundleEntry]:
        """Have, know and remember nothing any more of what is over; return the bundles that were here, some of many."""
        over: list[BundleEntry] = []
        while len(over) < AT_ONCE and (entry := self._by_expiry.first()) is not None and entry.expires <= now:
            self.drop(entry)
            over.append(entry)
        for gone in self._gone.values():
            for bundle in gone.expire(now):
                self._leave(bundle)
        self._handled.expire(now)
        for received in self._received.values():
            self._forget_receipts(received.expire(now))
        return over

    def receipts(self, bundle: bytes) -> dict[SignId, int]:
        """Return who says to have a bundle, and the state of it there."""
        return self._receipts.get(bundle, {})

    def own_receipts(self, bundle: bytes) -> dict[SignId, int]:
        """Return what recipients of a bundle of ours say of it, also once it is not here any more."""
        ours = self._received[True]
        return {peer: state for peer, state in self.receipts(bundle).items() if bundle + peer.encode() in ours}

    def receipt(self, note: NotedReceipt) -> bool:
        """Remember a receipt; return whether it says anything new."""
        states = self._receipts.setdefault(note.id, {})
        if note.peer in states:
            if progress(note.state) <= progress(states[note.peer]):  # "received" came behind "read", by another way
                return False
        elif len(states) >= MAX_RECIPIENTS:
            return False
        states[note.peer] = note.state
        key = note.id + note.peer.encode()
        ours = note.ours or key in self._received[True]  # once our own bundle is gone, nobody knows that it was
        self._received[not ours].discard(key)
        self._forget_receipts(self._received[ours].add(key, note.expires))
        return True

    # The journal.

    def apply(self, note: Note) -> None:
        """Take over what the journal says; :meth:`begin` follows."""
        if isinstance(note, BundleEntry):
            note.sender, note.giver = shared(note.sender), shared(note.giver)
            note.recipients = tuple(map(shared, note.recipients))
            self.entries[note.id] = note
        elif isinstance(note, NotedGone):
            self.entries.pop(note.id, None)
            self._gone[note.ours].add(note.id, note.expires)
        elif isinstance(note, NotedHandled):
            self._handled.add(note.id, note.until)
        elif isinstance(note, NotedReceipt):
            self.receipt(note)
        else:
            self.copies[note.id] = note.copies

    def notes(self) -> Iterator[Note]:
        """Yield notes that tell it all; it may change between two of them, which is noted then."""
        for bundle in list(self.entries):
            if bundle in self.entries:
                yield self.entries[bundle]
                if bundle in self.copies:
                    yield NotedCopies(bundle, self.copies[bundle])
        for ours, gone in self._gone.items():
            for bundle in list(gone):
                if bundle in gone:
                    yield NotedGone(bundle, gone.until(bundle), ours)
        yield from self._notes_of_handled()
        for ours, received in self._received.items():
            for key in list(received):
                if key in received:
                    bundle, peer = _receipt_of(key)
                    yield NotedReceipt(bundle, peer, self._receipts[bundle][peer], received.until(key), ours)

    # Inside.

    def _notes_of_handled(self) -> Iterator[Note]:
        for bundle in list(self._handled):
            if bundle in self._handled:
                yield NotedHandled(bundle, self._handled.until(bundle))

    def _forget_receipts(self, keys: list[bytes]) -> None:
        for key in keys:
            bundle, peer = _receipt_of(key)
            del self._receipts[bundle][peer]
            if not self._receipts[bundle]:
                del self._receipts[bundle]

    def _remember(self, note: NotedGone) -> None:
        for bundle in self._gone[note.ours].add(note.id, note.expires):
            self._leave(bundle)

    def _enter(self, bundle: bytes) -> None:
        if bundle in self._left:
            self._left.discard(bundle)
        elif self._joined is not None:
            self._came.add(bundle)

    def _leave(self, bundle: bytes) -> None:
        self.copies.pop(bundle, None)
        if bundle in self._came:
            self._came.discard(bundle)
        elif self._joined is not None:
            self._left.add(bundle)


def _receipt_of(key: bytes) -> tuple[bytes, SignId]:
    """Return which bundle a receipt is about that is remembered, and whose it is."""
    return key[:ID], shared(SignId(key[ID:].decode()))
