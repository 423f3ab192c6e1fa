"""The file of mm backup: what is written can be read, and nothing else can."""

import hashlib
from collections.abc import Callable
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.cli.backup_file import CHUNK, BackupError, BackupHeader, BackupReader, write_backup
from mmplatform.codec import encode
from mmplatform.identity.keys import Identity

ME = Identity.from_seed(b"backup".ljust(32, b"."))
FILES = {"identity": b"key", "data.db": b"rows" * 1000, "relays": b""}


def header(**sizes: int) -> BackupHeader:
    return BackupHeader(ME.sign_id, 1_800_000_000, [(name.replace("_", "."), size) for name, size in sizes.items()])


def made(files: dict[str, bytes] = FILES) -> bytes:
    written = BytesIO()
    sizes = [(name, len(data)) for name, data in files.items()]
    write_backup(written, BackupHeader(ME.sign_id, 1_800_000_000, sizes), list(map(BytesIO, files.values())))
    return written.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    reader = BackupReader(BytesIO(data))
    found = dict.fromkeys((name for name, _ in reader.header.files), b"")
    for name, chunk in reader.contents():
        found[name] += chunk
    return found


def sealed(told: object, *, version: int = 1, contents: bytes = b"") -> bytes:
    """A backup with this header, whose checksum is right."""
    encoded = encode(told)
    data = b"mmbackup" + bytes([version]) + len(encoded).to_bytes(4) + encoded + contents
    return data + hashlib.blake2b(data, digest_size=32).digest()


def test_what_was_written_is_read() -> None:
    assert read(made()) == FILES
    large = FILES | {"data.db": bytes(CHUNK + 1)}
    assert read(made(large)) == large


def test_every_cut_is_noticed() -> None:
    whole = made()
    for end in (*range(300), *range(300, len(whole), 97), len(whole) - 1):
        with pytest.raises(BackupError, match=r"ends too soon|no file of mm backup"):
            read(whole[:end])


@given(st.data())
def test_every_other_byte_is_noticed(data: st.DataObject) -> None:
    whole = bytearray(made())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BackupError):
        read(bytes(whole))


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    for tried in (data, b"mmbackup\x01" + data):
        with pytest.raises(BackupError):
            read(tried)


def test_more_behind_the_end() -> None:
    with pytest.raises(BackupError, match="more behind its end"):
        read(made() + b"x")


ME_AT = (ME.sign_id, 1_800_000_000)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: sealed(header(identity=0, data_db=0), version=2), "format 2, and this mm reads 1"),
        (lambda: b"mmbackup\x01" + (5000).to_bytes(4), "header has 5000 bytes"),
        (lambda: sealed([*ME_AT, [["identity", 0]]]), "needs identity and data.db"),
        (lambda: sealed(header(identity=0, data_db=0, relays=0).files), "header cannot be read"),
        (lambda: sealed([*ME_AT, [["identity", 0], ["data.db", 0], ["data.db", 0]]]), "each file once"),
        (lambda: sealed([*ME_AT, [["identity", 0], ["data.db", 0], ["../.bashrc", 0]]]), "no folder of a node has"),
        (lambda: sealed([*ME_AT, [["identity", 0], ["data.db", 0], ["/etc/passwd", 0]]]), "no folder of a node has"),
        (lambda: sealed([*ME_AT, [["identity", 1025], ["data.db", 0]]]), "none has more than 1024"),
        (lambda: sealed([*ME_AT, [["identity", -1], ["data.db", 0]]]), "has -1 bytes"),
        (lambda: sealed([*ME_AT, [["identity", 0], ["data.db", (1 << 40) + 1]]]), "none has more than"),
        (lambda: sealed([ME.sign_id, -1, [["identity", 0], ["data.db", 0]]]), "before 1970"),
        (lambda: sealed(["nobody", 1, [["identity", 0], ["data.db", 0]]]), "header cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told(data: Callable[[], bytes], says: str) -> None:
    with pytest.raises(BackupError, match=says):
        read(data())


def test_a_file_that_becomes_shorter_meanwhile() -> None:
    with pytest.raises(BackupError, match=r"data\.db became shorter"):
        write_backup(BytesIO(), header(identity=1, data_db=9), [BytesIO(b"k"), BytesIO(b"less")])
