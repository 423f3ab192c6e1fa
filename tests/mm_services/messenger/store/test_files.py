"""The files of bundles: whole when they are seen, checked when they are read."""

import errno
import os
import random
from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK, HASH
from mm_services.messenger.store import files as module
from mm_services.messenger.store.entry import BundleEntry, entry_of
from mm_services.messenger.store.files import MARK, BundleFiles, DamagedFile, FileHead, NewFile, head_bytes
from tests.support.bundle_stores import ALICE, MadeBundle, make_bundle


@pytest.fixture
def files(tmp_path: Path) -> BundleFiles:
    made = BundleFiles(tmp_path)
    made.open()
    return made


def new_file(made: MadeBundle) -> tuple[BundleEntry, NewFile]:
    head = FileHead(made.head.header, made.head.hops, ALICE.sign_id, made.expires, True, False)
    start = head_bytes(head, made.head.hashes)
    entry = entry_of(made.header, 1, len(start), ALICE.sign_id, made.expires, True, False)
    return entry, NewFile(made.id, start, made.content)


def test_a_file_has_its_parts_in_the_order_of_the_page(tmp_path: Path, files: BundleFiles) -> None:
    made = make_bundle(bytes(3 * BLOCK))
    entry, new = new_file(made)
    assert files.save([new]) == [None]
    data = (tmp_path / "bundles" / made.id.hex()).read_bytes()
    assert len(data) == entry.head + entry.size
    assert data[:4] == MARK == b"mmb1"
    assert int.from_bytes(data[8:12], "little") == 3 * HASH
    assert data[entry.head - 3 * HASH : entry.head] == made.head.hashes
    assert data[entry.head :] == made.content
    head, hashes = files.head(made.id)
    assert (head.giver, head.expires, head.for_us, head.own) == (ALICE.sign_id, made.expires, True, False)
    assert (head.header, head.hops, hashes) == made.head


@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_whatever_is_cut_off_or_added_is_found(tmp_path: Path, files: BundleFiles, size: int) -> None:
    made = make_bundle(random.Random(size).randbytes(size))
    entry, new = new_file(made)
    files.save([new])
    path = tmp_path / "bundles" / made.id.hex()
    data = path.read_bytes()
    assert files.read(entry) == (made.head, made.content)
    for cut in {0, 1, 15, 16, entry.head - 1, entry.head, len(data) - 1}:
        path.write_bytes(data[:cut])
        with pytest.raises(DamagedFile):
            files.read(entry)
        assert files.wrong_sizes([entry]) == [entry]
        with pytest.raises(DamagedFile):
            files.read_block(entry, (size - 1) // BLOCK * BLOCK)
        if cut < entry.head:
            with pytest.raises(DamagedFile):
                files.read_head(entry)
    path.write_bytes(data + b"x")
    with pytest.raises(DamagedFile):
        files.read(entry)
    assert files.wrong_sizes([entry]) == [entry]


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, files: BundleFiles) -> None:
    made = make_bundle(b"some words")
    entry, new = new_file(made)
    files.save([new])
    path = tmp_path / "bundles" / made.id.hex()
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(DamagedFile):
            files.read(entry)
        if place < entry.head:
            with pytest.raises(DamagedFile):
                files.read_head(entry)
    path.write_bytes(data)
    assert files.read(entry) == (made.head, made.content)


def test_only_the_block_with_the_flipped_bit_is_lost(tmp_path: Path, files: BundleFiles) -> None:
    made = make_bundle(random.Random(1).randbytes(4 * BLOCK))
    entry, new = new_file(made)
    files.save([new])
    path = tmp_path / "bundles" / made.id.hex()
    data = bytearray(path.read_bytes())
    data[entry.head + BLOCK + 7] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="block at 32768"):
        files.read_block(entry, BLOCK)
    assert [files.read_block(entry, at) for at in (0, 2 * BLOCK)] == [made.blocks()[0][1], made.blocks()[2][1]]


def test_random_bytes_are_no_file(tmp_path: Path, files: BundleFiles) -> None:
    chance = random.Random(7)
    entry, _ = new_file(make_bundle())
    path = tmp_path / "bundles" / entry.id.hex()
    for size in [*range(40), 1000, 100_000]:
        for start in (b"", MARK, MARK + bytes(4)):
            path.write_bytes(start + chance.randbytes(size))
            with pytest.raises(DamagedFile):
                files.read(entry)
            with pytest.raises(DamagedFile):
                files.head(entry.id)


def test_what_a_kill_leaves_is_swept_away(tmp_path: Path, files: BundleFiles) -> None:
    made = make_bundle()
    (tmp_path / "partial" / f"{made.id.hex()}.new").write_bytes(b"half")
    (tmp_path / "bundles" / "README").write_bytes(b"by hand")
    (tmp_path / "bundles" / made.id.hex().upper()).write_bytes(b"by hand")
    (tmp_path / "bundles" / make_bundle().id.hex()).mkdir()
    files.open()
    assert list((tmp_path / "partial").iterdir()) == []
    assert list(files.whole()) == []
    assert len(list((tmp_path / "aside").iterdir())) == 3


def test_of_damaged_files_the_newest_are_kept(
    tmp_path: Path, files: BundleFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASIDE", 2500)
    made = [make_bundle() for _ in range(5)]
    for age, each in enumerate(made):
        path = tmp_path / "bundles" / each.id.hex()
        path.write_bytes(bytes(1000))
        os.utime(path, (age, age))
        files.put_aside(each.id)
    assert {path.name for path in (tmp_path / "aside").iterdir()} == {each.id.hex() for each in made[-2:]}


def test_one_that_fails_leaves_the_others_alone(
    tmp_path: Path, files: BundleFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = [new_file(make_bundle()) for _ in range(3)]
    (tmp_path / "partial" / f"{news[1][0].id.hex()}.new").mkdir()
    found = files.save([new for _, new in news])
    assert found[0] is None is found[2]
    assert isinstance(found[1], IsADirectoryError)
    assert set(files.whole()) == {news[0][0].id, news[2][0].id}


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_what_could_not_be_synced_is_not_there(
    tmp_path: Path, files: BundleFiles, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    entry, new = new_file(make_bundle())

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "worn out")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, call, broken)
        [failure] = files.save([new])
        assert failure is not None
        assert failure.errno == errno.EIO
    files.begin(new)
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "p" * (call == "write") + call, broken)
        with pytest.raises(OSError, match="worn out"):
            files.finish(entry, 0, new.content)
    assert list(files.whole()) == []
    assert not list((tmp_path / "partial").glob("*.new"))
    assert files.save([new]) == [None]


@pytest.mark.parametrize(("number", "kept"), [(errno.EIO, False), (errno.EINVAL, True)])
def test_names_that_could_not_be_synced_are_not_there_unless_folders_never_can_be(
    files: BundleFiles, monkeypatch: pytest.MonkeyPatch, number: int, kept: bool
) -> None:
    news = [new_file(make_bundle())[1] for _ in range(3)]
    entry, last = new_file(make_bundle())

    def broken(_: Path) -> None:
        raise OSError(number, "names")

    monkeypatch.setattr(module, "sync", broken)
    assert [failure is None for failure in files.save(news)] == [kept] * 3
    files.begin(last)
    if kept:
        files.finish(entry, 0, last.content)
        assert files.read(entry)[1] == last.content
    else:
        with pytest.raises(OSError, match="names"):
            files.finish(entry, 0, last.content)
    assert len(list(files.whole())) == (4 if kept else 0)


def test_each_file_is_removed_though_another_one_cannot_be(tmp_path: Path, files: BundleFiles) -> None:
    (first, one), (stuck, _), (last, two) = (new_file(make_bundle()) for _ in range(3))
    files.save([one, two])
    (tmp_path / "bundles" / stuck.id.hex()).mkdir()
    with pytest.raises(IsADirectoryError):
        files.remove([first.id, stuck.id, last.id])
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [stuck.id.hex()]
    files.remove([first.id])
