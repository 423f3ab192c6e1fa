"""Files that go while they are in use, logs that are missing at the start, and disks that are full."""

import shutil
from pathlib import Path

import pytest

from mmplatform.errors import StorageFull, StorageGone
from mmplatform.storage.database import GET, Database
from tests.support.disks import DISK, Disk, disk

__all__ = ["disk"]

ROOM = 1024 * 1024


def opened(path: Path, room: int = 0) -> Database:
    database = Database(path, room)
    database.open()
    return database


def value(database: Database, key: bytes) -> bytes | None:
    found = database.read(GET, (key,))
    return found[0][1] if found else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "node"
    path.mkdir()
    return path


def test_nothing_is_kept_in_a_folder_that_was_removed(folder: Path) -> None:
    database = opened(folder / "data.db")
    database.commit({b"a": b"1"}, True)
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(StorageGone, match="put the folder back"):
            database.commit({b"b": b"2"}, True)
    assert value(database, b"a") == b"1"  # what is open can still be read
    folder.mkdir()
    with pytest.raises(StorageGone):
        database.commit({b"b": b"2"}, True)
    assert not list(folder.iterdir())  # no empty one in its place
    database.close()


def test_a_folder_that_was_put_back_is_used_again(folder: Path) -> None:
    database = opened(folder / "data.db")
    folder.rename(folder.with_name("away"))
    with pytest.raises(StorageGone):
        database.commit({b"a": b"1"}, True)
    folder.with_name("away").rename(folder)
    database.commit({b"a": b"1"}, True)
    database.close()
    assert value(opened(folder / "data.db"), b"a") == b"1"


def test_a_log_that_was_removed_alone_costs_nothing(folder: Path) -> None:
    database = opened(folder / "data.db")
    database.commit({b"a": b"1"}, True)
    (folder / "data.db-wal").unlink()
    database.commit({b"b": b"2"}, True)
    shutil.copytree(folder, folder.with_name("copy"))  # as a kill would leave it
    again = opened(folder.with_name("copy") / "data.db")
    assert (value(again, b"a"), value(again, b"b")) == (b"1", b"2")


def copied(folder: Path, *left_out: str) -> Path:
    """A copy of a folder in use, without some of its files."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*left_out))
    return copy / "data.db"


def test_a_copy_without_its_log_is_named_and_one_with_it_is_whole(folder: Path) -> None:
    database = opened(folder / "data.db")
    database.commit({b"a": b"1"}, True)
    path = copied(folder, "*-wal", "*-shm")
    for _ in range(2):
        with pytest.raises(StorageGone, match="touch"):
            opened(path)
    shutil.copy(folder / "data.db-wal", path.with_name("data.db-wal"))
    assert value(opened(path), b"a") == b"1"


def test_who_goes_on_without_the_log_says_so(folder: Path) -> None:
    database = opened(folder / "data.db")
    database.commit({b"a": b"1"}, True)
    path = copied(folder, "*-wal", "*-shm")
    path.with_name("data.db-wal").touch()
    assert value(opened(path), b"a") is None


def test_a_closed_file_needs_no_log(folder: Path) -> None:
    for number in range(2):
        database = opened(folder / "data.db")
        database.commit({b"%d" % number: b"1"}, True)
        database.close()
        assert [path.name for path in folder.iterdir()] == ["data.db"]


def test_a_failure_leaves_a_log_for_the_next_start(disk: Disk) -> None:
    database = opened(disk.path / "data.db")
    disk.fill()
    with pytest.raises(StorageFull):
        database.commit({b"large": bytes(100_000)}, True)
    copy = disk.path.with_name("copy")  # as a kill would leave it
    shutil.copytree(disk.path, copy)
    opened(copy / "data.db")


def filled(database: Database) -> int:
    """Fill the disk with rows; return how many were kept."""
    for number in range(DISK // 30_000 + 1):
        try:
            database.commit({b"%d" % number: bytes(30_000)}, True)
        except StorageFull:
            return number
    raise AssertionError("it is never full")


def test_a_full_disk_takes_removals_and_is_free_again_by_them(disk: Disk) -> None:
    path = disk.path / "mail.db"
    database = opened(path, ROOM)
    kept = filled(database)
    disk.fill()
    for number in range(kept):
        database.commit({b"%d" % number: None, b"note %d" % number: b"n"}, True)
    assert kept > 10
    with pytest.raises(StorageFull):
        database.commit({b"more": bytes(1000)}, True)  # what is left is for removals
    for _ in range(DISK // 4096):
        if not database.give_back():
            break
    database.commit({b"more": bytes(1000)}, True)
    assert value(database, b"more") == bytes(1000)


def test_the_room_on_a_disk_is_a_part_of_it(disk: Disk) -> None:
    opened(disk.path / "mail.db", ROOM).close()
    assert (disk.path / "mail.db-room").stat().st_size == DISK // 8
