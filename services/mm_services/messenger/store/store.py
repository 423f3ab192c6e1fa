"""The store of a carrier: keeps bundles on its disk within quotas, and remembers those that were here.

A bundle is here once it is whole and on the disk: ``add`` and ``append`` return then, and a kill leaves nothing in
between. What is asked while the disk is busy is its next batch, so many bundles share what a sync costs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store.changes import Changes
from mm_services.messenger.store.disk_thread import DiskThread
from mm_services.messenger.store.entry import BundleEntry, Head, NotedCopies, NotedGone, NotedReceipt, shared
from mm_services.messenger.store.files import BundleFiles, NewFile
from mm_services.messenger.store.index import BundleIndex
from mm_services.messenger.store.intake import Intake
from mm_services.messenger.store.journal import Journal
from mm_services.messenger.store.loading import Loaded, load
from mm_services.messenger.store.partials import Partials
from mm_services.messenger.store.quotas import Quotas, StoreLimits
from mm_services.messenger.store.reader import CheckedReader
from mmplatform.errors import StorageCorrupt, StorageError
from mmplatform.identity.keys import SignId

T = TypeVar("T")


class StoreUsage(NamedTuple):
    """How much is in a store: bundles and the bytes that they take on the disk; those under way, which take so many
    bytes when they are whole; ids of bundles that are gone; and how many bundles gave way since the start."""

    bundles: int
    bytes: int
    partials: int
    partial_bytes: int
    gone: int
    evicted: int


class BundleStore:
    """The bundles in ``folder``. Belongs to one event loop, and is alone with its folder.

    What changes the store, or reads a file, raises StorageError when it is not open. When the disk fails StorageError
    is raised, too, and nothing has happened.

    Args:
        folder: made when it is missing; nobody else may read it.
        limits: how much is kept.
        now: gives the Unix time in seconds.
        failed: is told what is damaged, and what could not be noted or removed.

    """

    def __init__(
        self, folder: Path, limits: StoreLimits, now: Callable[[], float], failed: Callable[[Exception], None]
    ) -> None:
        self._folder, self._limits, self._now, self._failed = folder, limits, now, failed
        self._files = BundleFiles(folder)
        self._disk: _Disk | None = None  # while it is open
        self._begin()

    async def open(self) -> None:
        """Find out what is there. Damaged files are put aside, those that are only cut off in a moment. Raises
        StorageError."""
        if self._disk is not None:
            return
        self._begin()
        writer = DiskThread(self._folder, self._files.save)
        try:
            loaded = await writer.call(self._load)
        except BaseException:
            writer.end()
            raise
        for under_way in loaded.partials:
            self._partials.add(under_way)
        changes = Changes(self._journal, self._files, writer, self._failed)
        intake = Intake(self._index, self._quotas, self._partials, self._files, writer, changes)
        reader = CheckedReader(self._files, changes, self._lose, self._failed)
        self._disk = _Disk(writer, reader, changes, intake)
        changes.note(*loaded.new)
        if loaded.aside or self._journal.damaged:
            self._failed(
                StorageCorrupt(
                    f"{self._folder}: {loaded.aside} damaged bundles were put in aside/, and the journal was damaged "
                    f"at {self._journal.damaged} places; everything else is there. Check the disk"
                )
            )
        self.expire(self._now())
        reader.look_at_sizes(iter(list(self._index.entries.values())))

    async def close(self) -> None:
        """End when everything is on the disk; does nothing when it is not open."""
        if self._disk is not None:
            disk, self._disk = self._disk, None
            await disk.reader.close()
            await disk.intake.finished()
            await disk.changes.close()
            disk.writer.end()

    # What is here.

    def find(self, bundle: bytes) -> BundleEntry | None:
        """Return the entry of a bundle that is here, None when it is not."""
        return self._index.entries.get(bundle)

    def knows(self, bundle: bytes) -> bool:
        """Whether a bundle is here, or was and is not over yet: it is not to be taken again."""
        return self._index.knows(bundle)

    def ids(self) -> bytes:
        """Return the ids of all bundles that are known and not over, sorted and joined."""
        return self._index.ids()

    def entries(self) -> Iterable[BundleEntry]:
        """Return the entries of all bundles that are here; nothing may change while they are gone through."""
        return self._index.entries.values()

    async def head(self, bundle: bytes) -> Head | None:
        """Return a bundle without its content, None when it is not here any more."""
        return await self._read(bundle, self._files.read_head)

    async def read(self, bundle: bytes) -> tuple[Head, bytes] | None:
        """Return a bundle, None when it is not here any more."""
        return await self._read(bundle, self._files.read)

    async def content(self, bundle: bytes) -> bytes:
        """Return the content of a bundle, nothing when it is not here any more."""
        found = await self.read(bundle)
        return b"" if found is None else found[1]

    async def block(self, bundle: bytes, offset: int) -> bytes:
        """Return the block of a content that begins at ``offset``, nothing when it is not here any more."""
        entry = self.find(bundle)
        if entry is None or offset not in range(0, entry.size, BLOCK):
            return b""
        return await self._read(bundle, lambda entry: self._files.read_block(entry, offset)) or b""

    # What comes.

    def room(self, header: Header, giver: SignId, own: bool) -> None:
        """Raise NoRoom for a bundle that would not be taken; nothing gives way before it is."""
        self._quotas.check(header, giver, own)

    async def add(
        self, header: Header, head: Head, content: bytes, *, giver: SignId, expires: float, for_us: bool, own: bool
    ) -> BundleEntry:
        """Keep a bundle that was checked, and return once it is on the disk. One that is here, or just coming, is kept
        once. To be asked for before: whether it is known.

        Args:
            header: of the bundle.
            head: the same as it is handed on.
            content: of the bundle.
            giver: who gave it to us; we, for our own.
            expires: until when it is kept, in Unix seconds.
            for_us: whether we are among those it is for.
            own: whether we wrote it.

        Raises NoRoom, or StorageError: then the same bundle may be added later.

        """
        return await self._opened.intake.add(header, head, content, giver, expires, for_us, own)

    async def begin(self, header: Header, head: Head, *, giver: SignId, expires: float, for_us: bool) -> int:
        """Begin a large bundle whose hashes were checked, or go on with it; return the offset of the block that is
        wanted next. What a former run has of it is checked, and used.

        Raises NoRoom, StorageError, or UnderWayElsewhere while another peer gives it.
        """
        return await self._opened.intake.begin(header, head, giver, expires, for_us, self._now())

    async def append(self, bundle: bytes, giver: SignId, offset: int, block: bytes) -> BundleEntry | int:
        """Keep a block of a large bundle that was begun. Return the offset of the one that is wanted next, which is
        another one when this was not wanted; or, once the bundle is whole and on the disk, its entry.

        Raises NoRoom, StorageError, or UnderWayElsewhere: then it is to be begun again, later. Raises ProtocolError
        for a block that was not signed.
        """
        return await self._opened.intake.append(bundle, giver, offset, block, self._now())

    # What becomes of it.

    def note_handled(self, bundle: bytes) -> None:
        """Note that what was to be done with a bundle here is done: it may give way to others now."""
        changes, entry = self._opened.changes, self.find(bundle)
        if entry is not None and not entry.handled:
            was_evictable, entry.handled = entry.evictable, True
            if entry.evictable and not was_evictable:
                self._quotas.loosen(entry)
            changes.note(entry, self._index.handle(entry))

    def note_receipt(self, bundle: bytes, peer: SignId, state: int, expires: float) -> None:
        """Note that ``peer`` says to have a bundle, which need not be here, until ``expires``, in Unix seconds."""
        changes, entry = self._opened.changes, self.find(bundle)
        note = NotedReceipt(bundle, shared(peer), state, expires, entry is not None and entry.own)
        if self._index.receipt(note):
            changes.note(note)

    def receipts(self, bundle: bytes) -> dict[SignId, int]:
        """Return who says to have a bundle, and what has become of it there, a number of ``ReceiptState``."""
        return self._index.receipts(bundle)

    def own_receipts(self, bundle: bytes) -> dict[SignId, int]:
        """Return what recipients of a bundle of ours say of it, also once it is not here any more."""
        return self._index.own_receipts(bundle)

    def copies(self, bundle: bytes) -> int | None:
        """Return how many copies of a bundle may still be handed on, None when nobody has said."""
        return self._index.copies.get(bundle)

    def set_copies(self, bundle: bytes, copies: int) -> None:
        """Note how many copies of a bundle that is here may still be handed on."""
        changes = self._opened.changes
        if self.find(bundle) is not None and self.copies(bundle) != copies:
            self._index.copies[bundle] = copies
            changes.note(NotedCopies(bundle, copies))

    def forget(self, bundle: bytes) -> None:
        """Delete a bundle, and know it until it is over: it is not taken again."""
        entry = self.find(bundle)
        if entry is not None:
            self._let_go(entry)
            self._quotas.remove(entry, entry.evictable)

    def drop(self, bundle: bytes) -> None:
        """Delete a bundle, and know it no more: it may come again."""
        changes, entry = self._opened.changes, self.find(bundle)
        if entry is not None:
            self._lose(entry)
            changes.note(NotedGone(bundle, 0.0, ours=False))
            changes.remove(bundle)

    def expire(self, now: float) -> list[BundleEntry]:
        """Delete what is over, and return the entries of the bundles that were here.

        Of very many it deletes some, and :meth:`next_expiry` says that there are more.
        """
        changes, over = self._opened.changes, self._index.expire(now)
        for entry in over:
            self._quotas.remove(entry, entry.evictable)
        for entry in (*over, *(each.entry for each in self._partials.expire(now))):
            changes.remove(entry.id)
        return over

    def next_expiry(self) -> float | None:
        """Return when :meth:`expire` has something to delete, in Unix seconds; None when nothing is here."""
        times = [time for time in (self._index.next_expiry(), self._partials.next_expiry()) if time is not None]
        return min(times, default=None)

    def usage(self) -> StoreUsage:
        """Return how much is kept."""
        kept = self._quotas.all
        return StoreUsage(
            len(self._index.entries), kept.bytes, len(self._partials), self._partials.bytes, self._index.gone,
            self._quotas.evicted,
        )  # fmt: skip

    def by_sender(self) -> dict[SignId, tuple[int, int]]:
        """Return bundles and bytes on the disk of each original sender, without ourselves."""
        return {sender: (share.bundles, share.bytes) for sender, share in self._quotas.senders.items()}

    # Inside.

    @property
    def _opened(self) -> "_Disk":
        if self._disk is None:
            raise StorageError(f"{self._folder} is not open; open() it first, and use nothing after close()")
        return self._disk

    def _begin(self) -> None:
        """Know of nothing."""
        limits = self._limits
        self._index = BundleIndex(limits.known, limits.receipts)
        self._quotas = Quotas(limits, lambda entry: self._index.has(entry) and entry.evictable, self._let_go)
        self._partials = Partials(limits.partial_bytes)
        self._journal = Journal(self._folder / "journal", self._index)

    def _load(self) -> Loaded:
        try:
            loaded = load(self._files, self._journal, self._index)
        except BaseException:
            self._journal.close()
            raise
        self._quotas.load(self._index.entries.values())
        return loaded

    async def _read(self, bundle: bytes, job: Callable[[BundleEntry], T]) -> T | None:
        entry = self.find(bundle)
        return None if entry is None else await self._opened.reader.read(entry, job)

    def _let_go(self, entry: BundleEntry) -> None:
        """Delete a bundle, and know it until it is over."""
        changes = self._opened.changes
        changes.note(self._index.forget(entry), *([self._index.handle(entry)] if entry.for_us else []))
        changes.remove(entry.id)

    def _lose(self, entry: BundleEntry) -> bool:
        """Have a bundle no more, nor know it; return whether it was here."""
        here = self._index.has(entry)
        if here:
            self._quotas.remove(entry, entry.evictable)
            self._index.drop(entry)
        return here


@dataclass(frozen=True)
class _Disk:
    """What works on the disk while a store is open: the thread that writes, and what uses it; and who reads."""

    writer: DiskThread[NewFile]
    reader: CheckedReader
    changes: Changes
    intake: Intake
