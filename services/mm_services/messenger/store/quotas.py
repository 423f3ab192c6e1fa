"""How much is kept: in all, of a peer that gave it to us, and of its original sender. Decides what gives way.

A file counts as what it takes on a disk, a multiple of 4 KiB, and a bundle with many recipients as several. Who is at
its share makes room of what is its own. When all is full, whoever is nearest to its share does, so a flood hits itself.
What gives way is what is over soonest. Our own bundles, and those that something is still to be done with here, give
way to nothing: then there is no room.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from mm_services.messenger.protocol.blocks import count
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.limits import HASH
from mm_services.messenger.store.by_expiry import ByExpiry
from mm_services.messenger.store.entry import PAGE, BundleEntry, entry_of
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId

MIB: Final = 1024 * 1024
RECEIPTS: Final = (
    256  # receipts of our own that are kept when there is room for nothing: only they let go what is for us
)
LEVELS: Final = 80  # of how near holders are to their share; those of one differ by less than a fifth
USUAL_HEAD: Final = 1024  # bytes before the hashes in a file


class NoRoom(LocalError):
    """Nothing may give way to a bundle: too much is kept already, in all, of its sender, or of who offers it."""


@dataclass(frozen=True)
class StoreLimits:
    """How much a store keeps. Our own bundles count in all only.

    Args:
        bytes, bundles: in all.
        peer_bytes, peer_bundles: of what one peer gave us.
        sender_bytes, sender_bundles: of what one original sender wrote.
        partial_bytes: of large bundles that come block by block, beside all others; a quarter for each peer.
        known: ids that are remembered of bundles that are gone, of our own and for us, and as many of others.
        receipts: how many receipts are remembered of bundles of others.

    """

    bytes: int = 1024 * MIB
    bundles: int = 100_000
    peer_bytes: int = 512 * MIB
    peer_bundles: int = 50_000
    sender_bytes: int = 256 * MIB
    sender_bundles: int = 25_000
    partial_bytes: int = 256 * MIB
    known: int = 200_000
    receipts: int = 50_000


class Holding:
    """What is kept of one peer, or one sender, or in all; ``loose`` is that part of it which may give way."""

    __slots__ = ("bundles", "bytes", "evictable", "level", "loose_bundles", "loose_bytes", "most_bundles", "most_bytes")

    def __init__(self, most_bytes: int, most_bundles: int, lives: Callable[[BundleEntry], bool]) -> None:
        self.most_bytes, self.most_bundles = most_bytes, most_bundles
        self.bytes = self.bundles = self.loose_bytes = self.loose_bundles = 0
        self.evictable = ByExpiry(lives)
        self.level = -1  # none: nothing of it may give way

    def is_full(self, entry: BundleEntry) -> bool:
        """Whether a bundle does not fit beside all that is kept."""
        return not self._fits(entry, 0, 0)

    def has_no_room(self, entry: BundleEntry) -> bool:
        """Whether it does not fit even when everything gives way that may, nor in the room for receipts."""
        return not self._fits(entry, self.loose_bytes, self.loose_bundles)

    def _fits(self, entry: BundleEntry, bytes: int, bundles: int) -> bool:  # noqa: A002 - what they are
        """Whether a bundle fits where so much has given way."""
        spare = RECEIPTS if entry.own and entry.kind is Kind.RECEIPT else 0
        return (
            self.bytes - bytes + entry.pages <= self.most_bytes + spare * PAGE
            and self.bundles - bundles + entry.weight <= self.most_bundles + spare
        )


class Quotas:
    """Counts what is kept.

    Args:
        limits: how much may be.
        lives: says whether an entry is kept, and may give way.
        evict: is told of each bundle that gives way; it lives no more then.

    """

    def __init__(
        self, limits: StoreLimits, lives: Callable[[BundleEntry], bool], evict: Callable[[BundleEntry], None]
    ) -> None:
        self._limits, self._lives, self._evict = limits, lives, evict
        self.all = Holding(limits.bytes, limits.bundles, lives)
        self.senders: dict[SignId, Holding] = {}
        self.givers: dict[SignId, Holding] = {}
        self._new_sender, self._new_giver = self._of_sender(), self._of_giver()  # those of whom nothing is kept
        self._levels: list[dict[Holding, None]] = [{} for _ in range(LEVELS)]
        self.evicted = 0

    def check(self, header: Header, giver: SignId, own: bool) -> None:
        """Raise NoRoom for a bundle that would not be taken; nothing gives way."""
        head = USUAL_HEAD + count(header.length) * HASH
        self._check(entry_of(header, 0, head, giver, 0.0, False, own))

    def take(self, entry: BundleEntry) -> None:
        """Count a bundle that is about to be kept; what must gives way to it. Raises NoRoom, and then nothing does.

        The bundle itself gives way to none before :meth:`loosen`.
        """
        self._check(entry)
        for holding in self._holdings(entry)[1:]:
            while holding.is_full(entry):
                self._make_way(holding)
        while self.all.is_full(entry):
            self._make_way(next(holding for level in self._levels for holding in level))
        for holding in self._made(entry):
            holding.bytes += entry.pages
            holding.bundles += entry.weight
            self._place(holding)

    def load(self, entries: Iterable[BundleEntry]) -> None:
        """Count what was here at a start, whether there is room or not."""
        alike: defaultdict[tuple[object, ...], list[BundleEntry]] = defaultdict(list)
        for entry in entries:
            alike[entry.sender, entry.giver, entry.own, entry.evictable].append(entry)
        loose: defaultdict[Holding, list[BundleEntry]] = defaultdict(list)
        for those in alike.values():
            pages, weight, evictable = sum(e.pages for e in those), sum(e.weight for e in those), those[0].evictable
            for holding in self._made(those[0]):
                holding.bytes += pages
                holding.bundles += weight
                holding.loose_bytes += pages * evictable
                holding.loose_bundles += weight * evictable
                if evictable and holding is not self.all:
                    loose[holding] += those
        for holding, each in loose.items():
            holding.evictable = ByExpiry(self._lives, each)
            self._place(holding)

    def loosen(self, entry: BundleEntry) -> None:
        """Let a bundle that is counted give way to others from now on."""
        for holding in self._holdings(entry):
            holding.loose_bytes += entry.pages
            holding.loose_bundles += entry.weight
            if holding is not self.all:
                holding.evictable.add(entry, holding.loose_bundles)
            self._place(holding)

    def remove(self, entry: BundleEntry, loose: bool) -> None:
        """Count a bundle no more; ``loose`` says whether it could give way."""
        for holding in self._holdings(entry):
            holding.bytes -= entry.pages
            holding.bundles -= entry.weight
            holding.loose_bytes -= entry.pages * loose
            holding.loose_bundles -= entry.weight * loose
            self._place(holding)
        for those, name in ((self.senders, entry.sender), (self.givers, entry.giver)):
            if not entry.own and not those[name].bundles:
                del those[name]

    def _check(self, entry: BundleEntry) -> None:
        for holding, whose in zip(self._holdings(entry), ("in all", "of its sender", "of who gives it"), strict=False):
            if holding.has_no_room(entry):
                raise NoRoom(
                    f"{holding.bundles} bundles with {holding.bytes} bytes are kept {whose}, and too few give way"
                )

    def _make_way(self, holding: Holding) -> None:
        """Have what is over soonest of a holding give way."""
        victim = holding.evictable.first()
        assert victim is not None, "what is loose is in the heap"
        self._evict(victim)
        self.remove(victim, loose=True)
        self.evicted += 1

    def _holdings(self, entry: BundleEntry) -> tuple[Holding, ...]:
        """Return what an entry counts to: in all, of its sender, of its giver."""
        if entry.own:
            return (self.all,)
        return (
            self.all,
            self.senders.get(entry.sender, self._new_sender),
            self.givers.get(entry.giver, self._new_giver),
        )

    def _made(self, entry: BundleEntry) -> tuple[Holding, ...]:
        """Return the same, made where they are missing."""
        if not entry.own:
            if entry.sender not in self.senders:
                self.senders[entry.sender] = self._of_sender()
            if entry.giver not in self.givers:
                self.givers[entry.giver] = self._of_giver()
        return self._holdings(entry)

    def _place(self, holding: Holding) -> None:
        """Keep a holding at its level; one of which nothing may give way is at none."""
        level = -1
        if holding.loose_bundles and holding is not self.all:
            part = max(holding.bytes / max(holding.most_bytes, 1), holding.bundles / max(holding.most_bundles, 1))
            level = min(max(int(-4 * math.log2(part)), 0), LEVELS - 1)
        if level != holding.level:
            if holding.level >= 0:
                del self._levels[holding.level][holding]
            if level >= 0:
                self._levels[level][holding] = None
            holding.level = level

    def _of_sender(self) -> Holding:
        return Holding(self._limits.sender_bytes, self._limits.sender_bundles, self._lives)

    def _of_giver(self) -> Holding:
        return Holding(self._limits.peer_bytes, self._limits.peer_bundles, self._lives)
