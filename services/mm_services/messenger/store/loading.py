"""Finds out at a start what is there: the journal says what it knows, and the files are the truth."""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from mm_services.messenger.protocol.blocks import check_hashes
from mm_services.messenger.protocol.header import Header
from mm_services.messenger.store.entry import BundleEntry, entry_of
from mm_services.messenger.store.files import BundleFiles, DamagedFile, head_bytes
from mm_services.messenger.store.index import BundleIndex
from mm_services.messenger.store.journal import Journal
from mm_services.messenger.store.partials import NEVER, Partial
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import SignId


class Loaded(NamedTuple):
    """What was found beside what the journal knew: whole bundles, those that were under way, and how many files were
    put aside."""

    new: list[BundleEntry]
    partials: list[Partial]
    aside: int


def load(files: BundleFiles, journal: Journal, index: BundleIndex) -> Loaded:
    """Fill ``index``; that files have the right size is looked at later. Raises OSError."""
    files.open()
    for note in journal.read():
        index.apply(note)
    journal.open()
    missing = set(index.entries)
    new: list[BundleEntry] = []
    aside = 0
    for bundle in files.whole():
        if bundle in index.entries:
            missing.discard(bundle)
        elif index.is_gone(bundle):
            files.remove([bundle])
        else:
            try:
                entry = _found(files, bundle, index).entry
                if not files.has_size(entry):
                    raise DamagedFile("its size is wrong")
                index.entries[bundle] = entry
                new.append(entry)
            except DamagedFile:
                files.put_aside(bundle)
                aside += 1
    for bundle in missing:
        del index.entries[bundle]
    index.begin()
    return Loaded(new, list(_partials(files, index)), aside)


def _partials(files: BundleFiles, index: BundleIndex) -> Iterator[Partial]:
    """Yield what was under way; files that are of no use are removed."""
    for bundle in files.partial():
        with suppress(DamagedFile):
            if not index.knows(bundle):
                yield _found(files, bundle, index, partial=True)
                continue
        files.remove_partial(bundle)


def _found(files: BundleFiles, bundle: bytes, index: BundleIndex, partial: bool = False) -> Partial:
    """Return what the head of a file says. Raises DamagedFile."""
    head, hashes = files.head(bundle, partial)
    try:
        header = Header.unproven(head.header)  # it was proven when it came, and the checksum is right
        check_hashes(header, hashes)
    except ProtocolError as error:
        raise DamagedFile(f"its header is none: {error}") from None
    if header.id != bundle:
        raise DamagedFile("it is another bundle")
    size = len(head_bytes(head, hashes))
    giver = SignId(head.giver)
    entry = entry_of(header, len(head.hops), size, giver, head.expires, head.for_us, head.own)
    entry.handled = index.was_handled(bundle)
    return Partial(entry, header, hashes, giver, NEVER)
