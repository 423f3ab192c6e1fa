"""Bundles on their way to the disk: whole ones, many together, and large ones, block by block."""

import asyncio
from collections.abc import Callable
from functools import partial

from mm_services.messenger.protocol.blocks import check_block
from mm_services.messenger.protocol.header import Header
from mm_services.messenger.store.changes import Changes
from mm_services.messenger.store.disk_thread import DiskThread
from mm_services.messenger.store.entry import BundleEntry, Head, entry_of, shared
from mm_services.messenger.store.files import BundleFiles, DamagedFile, FileHead, NewFile, head_bytes
from mm_services.messenger.store.index import BundleIndex
from mm_services.messenger.store.partials import Partial, Partials, UnderWayElsewhere
from mm_services.messenger.store.quotas import Quotas
from mmplatform.errors import StorageError, StorageGone
from mmplatform.identity.keys import SignId


class Intake:
    """What comes to a store. All that it is made of belongs to the store.

    Args:
        index: has what is here.
        quotas: say what there is room for.
        partials: large bundles that are under way.
        files: what is written.
        thread: writes it.
        changes: takes notes of what has come.

    """

    def __init__(
        self,
        index: BundleIndex,
        quotas: Quotas,
        partials: Partials,
        files: BundleFiles,
        thread: DiskThread[NewFile],
        changes: Changes,
    ) -> None:
        self._index, self._quotas, self._partials = index, quotas, partials
        self._files, self._thread, self._changes = files, thread, changes
        self._coming: dict[bytes, tuple[BundleEntry, asyncio.Future[None]]] = {}

    async def add(
        self, header: Header, head: Head, content: bytes, giver: SignId, expires: float, for_us: bool, own: bool
    ) -> BundleEntry:
        """See :meth:`BundleStore.add`."""
        here = self._index.entries.get(header.id)
        if here is not None:
            return here
        if self._index.knows(header.id):
            raise ValueError("this bundle was here before, and is not to be added: ask first whether it is known")
        if header.id not in self._coming:
            entry, start = self._begun(header, head, giver, expires, for_us, own)
            self._quotas.take(entry)
            self._changes.settle(entry.id)
            self._comes(entry, self._thread.save(NewFile(entry.id, start, content)), None)
        return await self._saved(header.id)

    async def begin(self, header: Header, head: Head, giver: SignId, expires: float, for_us: bool, now: float) -> int:
        """See :meth:`BundleStore.begin`."""
        self._quotas.check(header, giver, own=False)
        under_way = self._partials.claim(header.id, giver, now)
        if under_way is None:
            entry, start = self._begun(header, head, giver, expires, for_us, own=False)
            for each in self._partials.given_way(entry, now):
                self._changes.remove(each.entry.id)
            self._changes.settle(entry.id)
            under_way = Partial(entry, header, head.hashes, shared(giver), now)
            under_way.wanted = 0
            self._partials.add(under_way)
            await self._prepare(under_way, partial(self._files.begin, NewFile(entry.id, start, b"")))
        elif under_way.wanted is None:
            await self._prepare(under_way, partial(_look_over, self._files, under_way))
            if under_way.wanted is None:
                under_way.wanted = under_way.written
        return under_way.wanted

    async def append(self, bundle: bytes, giver: SignId, offset: int, block: bytes, now: float) -> BundleEntry | int:
        """See :meth:`BundleStore.append`."""
        under_way = self._partials.claim(bundle, giver, now)
        if under_way is None or under_way.wanted is None:
            raise UnderWayElsewhere("this bundle was not begun, or had to give way")
        if offset != under_way.wanted:
            return under_way.wanted
        check_block(under_way.header, under_way.hashes, offset, block)
        end = offset + len(block)
        if end == under_way.entry.size:
            return await self._finish(under_way, offset, block)
        under_way.wanted = end
        try:
            await self._thread.call(partial(_write, self._files, under_way, offset, block))
        except StorageError as error:
            under_way.wanted = under_way.written
            if isinstance(error, StorageGone):
                self._partials.remove(under_way)
            raise
        return end

    async def finished(self) -> None:
        """Return when nothing is on its way to the disk."""
        while self._coming:
            await asyncio.wait([saved for _, saved in self._coming.values()])

    async def _finish(self, under_way: Partial, offset: int, block: bytes) -> BundleEntry:
        """Have a large bundle whole, and on the disk."""
        entry = under_way.entry
        if entry.id not in self._coming:
            self._quotas.take(entry)
            under_way.wanted = entry.size
            saved = self._thread.call(partial(_write_last, self._files, under_way, offset, block))
            self._comes(entry, saved, under_way)
        return await self._saved(entry.id)

    async def _saved(self, bundle: bytes) -> BundleEntry:
        """Return the entry of a bundle once it is on the disk. Who gives up waiting does not stop it."""
        entry, saved = self._coming[bundle]
        await asyncio.shield(saved)
        return entry

    async def _prepare(self, under_way: Partial, job: Callable[[], None]) -> None:
        """Call ``job``, which makes the file of a large bundle ready. When it fails, nothing is under way."""

        def prepared(done: asyncio.Future[None]) -> None:
            if done.exception() is not None and self._partials.has(under_way):
                self._partials.remove(under_way)
                self._changes.remove(under_way.entry.id)

        called = self._thread.call(job)
        called.add_done_callback(prepared)
        try:
            await asyncio.shield(called)
        except DamagedFile as error:
            raise UnderWayElsewhere(f"what was there of this bundle is damaged: {error}") from error

    def _comes(self, entry: BundleEntry, saved: asyncio.Future[None], under_way: Partial | None) -> None:
        self._coming[entry.id] = entry, saved
        saved.add_done_callback(partial(self._came, entry, under_way))

    def _came(self, entry: BundleEntry, under_way: Partial | None, saved: asyncio.Future[None]) -> None:
        """Take note of a bundle that is on the disk, or failed to get there."""
        del self._coming[entry.id]
        failed, other = saved.exception() is not None, self._partials.find(entry.id)
        if failed and under_way is not None:
            under_way.wanted = under_way.written
        if failed or (under_way is not None and other is not under_way):  # the latter: it is over, or gave way
            self._quotas.remove(entry, loose=False)
            return
        if other is not None:
            self._partials.remove(other)
            if other is not under_way:
                self._changes.call(partial(self._files.remove_partial, entry.id))
        self._index.add(entry)
        if entry.evictable:
            self._quotas.loosen(entry)
        self._changes.note(entry)

    def _begun(
        self, header: Header, head: Head, giver: SignId, expires: float, for_us: bool, own: bool
    ) -> tuple[BundleEntry, bytes]:
        """Return the entry of a bundle that comes, and the beginning of its file."""
        start = head_bytes(FileHead(head.header, head.hops, giver, expires, for_us, own), head.hashes)
        entry = entry_of(header, len(head.hops), len(start), giver, expires, for_us, own)
        entry.handled = self._index.was_handled(entry.id)
        return entry, start


# In the thread.


def _look_over(files: BundleFiles, under_way: Partial) -> None:
    under_way.written = files.check(under_way.entry)


def _write(files: BundleFiles, under_way: Partial, offset: int, block: bytes) -> None:
    if under_way.written != offset:
        raise StorageError("the block before this one could not be written")
    files.write_block(under_way.entry, offset, block)
    under_way.written += len(block)


def _write_last(files: BundleFiles, under_way: Partial, offset: int, block: bytes) -> None:
    if under_way.written != offset:
        raise StorageError("the block before this one could not be written")
    files.finish(under_way.entry, offset, block)
