"""Large bundles that come block by block, and who may give them: one peer at a time, until it falls silent."""

from collections.abc import Iterator
from typing import Final

from mm_services.messenger.protocol.header import Header
from mm_services.messenger.store.by_expiry import ByExpiry
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.quotas import NoRoom
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId

SILENT: Final = 30.0  # seconds without a block after which a peer gives way to another one
NEVER: Final = float("-inf")


class UnderWayElsewhere(LocalError):
    """Another peer is giving us this bundle, or it has not been begun; it may be begun later."""


class Partial:
    """A bundle that is under way.

    Attributes:
        entry: of the bundle.
        header: of it.
        hashes: of its blocks.
        giver: who gives it, since it was heard last.
        heard: when that was, in Unix seconds.
        wanted: the offset of the block that comes next; None until the file is looked at that a former run left.
        written: bytes of the content that are in the file; belongs to the thread that writes.

    """

    __slots__ = ("entry", "giver", "hashes", "header", "heard", "wanted", "written")

    def __init__(self, entry: BundleEntry, header: Header, hashes: bytes, giver: SignId, heard: float) -> None:
        self.entry, self.header, self.hashes, self.giver, self.heard = entry, header, hashes, giver, heard
        self.wanted: int | None = None
        self.written = 0


class Partials:
    """All that are under way.

    Args:
        most: bytes that they may have when they are whole; each peer may give a quarter of it, or one bundle.

    """

    def __init__(self, most: int) -> None:
        self._most, self.bytes = most, 0
        self._by_id: dict[bytes, Partial] = {}
        self._by_expiry = ByExpiry(lambda entry: entry.id in self and self._by_id[entry.id].entry is entry)

    def __contains__(self, bundle: bytes) -> bool:
        return bundle in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Partial]:
        return iter(self._by_id.values())

    def find(self, bundle: bytes) -> Partial | None:
        """Return the one of a bundle, None when there is none."""
        return self._by_id.get(bundle)

    def has(self, partial: Partial) -> bool:
        """Whether this very one is under way."""
        return self._by_id.get(partial.entry.id) is partial

    def claim(self, bundle: bytes, giver: SignId, now: float) -> Partial | None:
        """Return the one of a bundle, which ``giver`` gives from now on; None when there is none.

        Raises UnderWayElsewhere.
        """
        partial = self._by_id.get(bundle)
        if partial is None:
            return None
        if partial.giver != giver and partial.heard > now - SILENT:
            raise UnderWayElsewhere("another peer is giving us this bundle")
        partial.giver = partial.entry.giver = giver
        partial.heard = now
        return partial

    def given_way(self, entry: BundleEntry, now: float) -> list[Partial]:
        """Remove, and return, those that must give way to another one, silent ones. Raises NoRoom."""
        silent = sorted((each for each in self if each.heard <= now - SILENT), key=lambda each: each.heard)
        its = sum(each.entry.pages for each in self if each.giver == entry.giver and each.heard > now - SILENT)
        if its and its + entry.pages > self._most // 4:
            raise NoRoom("too many large bundles of one peer are under way")
        if self.bytes + entry.pages - self._most > sum(each.entry.pages for each in silent):
            raise NoRoom("too many large bundles are under way")
        gone: list[Partial] = []
        while self.bytes + entry.pages > self._most:
            gone.append(silent[len(gone)])
            self.remove(gone[-1])
        return gone

    def add(self, partial: Partial) -> None:
        """Have one more."""
        self._by_id[partial.entry.id] = partial
        self.bytes += partial.entry.pages
        self._by_expiry.add(partial.entry, len(self._by_id))

    def remove(self, partial: Partial) -> None:
        """Have one no more."""
        if self.has(partial):
            del self._by_id[partial.entry.id]
            self.bytes -= partial.entry.pages

    def expire(self, now: float) -> list[Partial]:
        """Remove, and return, those that are over."""
        over: list[Partial] = []
        while (entry := self._by_expiry.first()) is not None and entry.expires <= now:
            over.append(self._by_id[entry.id])
            self.remove(over[-1])
        return over

    def next_expiry(self) -> float | None:
        """Return when the next one is over, in Unix seconds."""
        entry = self._by_expiry.first()
        return None if entry is None else entry.expires
