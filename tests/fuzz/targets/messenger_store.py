"""What the store of the messenger reads at a start: files and a journal, after whatever happened to the disk."""

import struct
import zlib
from contextlib import suppress
from io import BytesIO

from mm_services.messenger.protocol.limits import HASH
from mm_services.messenger.store.entry import BundleEntry, NotedCopies, NotedGone, NotedReceipt
from mm_services.messenger.store.files import DamagedFile, FileHead, head_bytes, parse_head
from mm_services.messenger.store.index import BundleIndex
from mm_services.messenger.store.journal import MARK, records
from mmplatform.codec import encode
from tests.fuzz.target import Run, target
from tests.support.bundle_stores import ALICE, make_bundle

START = 16  # bytes of a file before its head
RECORD = struct.Struct("<4sII")


def files() -> list[bytes]:
    made = make_bundle(b"words")
    head = FileHead(made.head.header, made.head.hops, ALICE.sign_id, made.expires, True, False)
    return [head_bytes(head, made.head.hashes) + made.content, head_bytes(head, b""), b""]


@target(files)
def bundle_file() -> Run:
    def run(data: bytes) -> None:
        with suppress(DamagedFile):
            _read(data)

    return run


@target(lambda: [data[START:] for data in files()])
def bundle_file_behind_its_checksum() -> Run:
    """The heads of files, with the right lengths and checksums."""

    def run(data: bytes) -> None:
        hashes = len(data) % 3 * HASH
        start = struct.pack("<4sIII", b"mmb1", max(0, len(data) - hashes), min(len(data), hashes), zlib.crc32(data))
        with suppress(DamagedFile):
            _read(start + data)

    return run


def _read(data: bytes) -> None:
    head, hashes = parse_head(data[:START], lambda size: data[START : START + size])
    assert len(hashes) % HASH == 0
    assert isinstance(head, FileHead)


def notes() -> list[bytes]:
    id_, peer = bytes(16), ALICE.sign_id
    entry = BundleEntry(1.5, id_, make_bundle().header.kind, peer, (peer,), 1, 2, 3, peer, 1, False, True)
    return [encode([entry, NotedGone(id_, 1e9, ours=True)]), encode([NotedReceipt(id_, peer, 1, 2.0, ours=False)] * 2),
            encode([NotedCopies(id_, 4)]), b"\x90", b""]  # fmt: skip


@target(lambda: [_record(data) for data in notes()] + [_record(notes()[0]) * 2 + b"mmj1"])
def bundle_journal() -> Run:
    return _apply


@target(notes)
def bundle_journal_behind_its_checksum() -> Run:
    """Notes in a sound record, and a sound record behind."""

    def run(data: bytes) -> None:
        _apply(_record(data) + _record(notes()[0]))

    return run


def _record(payload: bytes) -> bytes:
    return RECORD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def _apply(data: bytes) -> None:
    """Whatever notes say, the index takes it, and can say it again."""
    index = BundleIndex(3, 3)
    for _, _, found in records(BytesIO(data)):
        for note in found:
            index.apply(note)
    index.begin()
    assert len(index.ids()) % 16 == 0
    encode(list(index.notes()))
    index.expire(1e12)
