"""What only the SQLite store promises: grouping, crashes, full and broken disks."""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmplatform.errors import FolderInUse, StorageCorrupt, StorageError, StorageFull, StorageReadOnly
from mmplatform.storage.database import Database
from mmplatform.storage.sqlite import SQLiteStorage

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStorage]:
    async with SQLiteStorage(tmp_path / "data.db") as storage:
        yield storage


class Commits:
    """Records each transaction; ``gate`` holds the thread inside one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[int, bool]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self._commit = Database.commit
        monkeypatch.setattr(Database, "commit", lambda database, rows, sync: self._record(database, rows, sync))

    def _record(self, database: Database, rows: Mapping[bytes, bytes | None], sync: bool) -> None:
        self.seen.append((len(rows), sync))
        self.entered.set()
        assert self.gate.wait(10)
        self._commit(database, rows, sync)


class Tapped:
    """A connection that records its statements; one that contains ``word`` fails instead."""

    def __init__(self, store: SQLiteStorage, word: str = "never", error: Exception | None = None) -> None:
        assert store._worker is not None
        database = store._worker._database
        self.statements: list[str] = []
        self._word, self._error = word, error
        self._connection, database._connection = database._connection, self  # type: ignore[assignment]

    def execute(self, sql: str, *arguments: Any) -> Any:
        if self._word in sql:
            raise self._error or AssertionError
        self.statements.append(sql)
        return self._connection.execute(sql, *arguments)  # type: ignore[union-attr]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Commits:
    return Commits(monkeypatch)


async def test_one_turn_is_one_transaction_and_one_wake_up(
    store: SQLiteStorage, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    wake_ups: list[Callable[..., object]] = []
    wake = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *arguments: Any, **more: Any) -> asyncio.Handle:
        wake_ups.append(callback)
        return wake(callback, *arguments, **more)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    reads = asyncio.gather(store.get(b"3"), store.scan(b"9"))
    futures = [store.write([(b"%d" % number, b"")], sync=number == 7) for number in range(100)]
    await asyncio.gather(*futures)
    assert [len(found or b"") for found in await reads] == [0, 11]
    assert commits.seen == [(100, True)]
    assert len(wake_ups) == 1


async def test_what_arrives_during_a_commit_shares_the_next_one(store: SQLiteStorage, commits: Commits) -> None:
    commits.gate.clear()
    first = store.write([(b"first", b"")], sync=False)
    await asyncio.to_thread(commits.entered.wait, 10)
    later = [store.write([(b"%d" % number, b"")], sync=False) for number in range(10)]
    for number in range(10, 20):
        await asyncio.sleep(0)
        later.append(store.write([(b"%d" % number, b"")], sync=False))
    assert not first.done()
    commits.gate.set()
    await asyncio.gather(first, *later)
    assert commits.seen == [(1, False), (20, False)]


async def test_woken_writers_join_the_group_that_waited(store: SQLiteStorage, commits: Commits) -> None:
    async def write_twice(name: bytes) -> None:
        await store.put(name + b"1", b"")
        await store.put(name + b"2", b"")

    await asyncio.gather(*(write_twice(b"%d" % number) for number in range(10)))
    assert commits.seen == [(10, True), (10, True)]


async def test_the_log_is_synced_only_when_asked(store: SQLiteStorage) -> None:
    statements = Tapped(store).statements
    for sync in (True, False, False, True, True):
        await store.write([(b"k", b"v")], sync=sync)
    pragmas = [sql for sql in statements if "synchronous" in sql]
    assert pragmas == ["PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL"]
    assert len(statements) == 5 + len(pragmas), "a group of one statement needs no BEGIN and COMMIT"


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_files_are_private_under_any_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with SQLiteStorage(tmp_path / "data.db") as store:
            await store.put(b"k", b"v")
            modes = modes_in(tmp_path)
    finally:
        os.umask(old)
    assert modes == {"data.db": 0o600, "data.db-wal": 0o600}
    (tmp_path / "data.db").chmod(0o644)
    async with SQLiteStorage(tmp_path / "data.db"):
        assert modes_in(tmp_path)["data.db"] == 0o600


async def test_close_commits_folds_the_log_and_ends_the_thread(tmp_path: Path) -> None:
    store = SQLiteStorage(tmp_path / "data.db")
    await store.open()
    thread = store._worker.thread  # type: ignore[union-attr]
    futures = [store.write([(b"%d" % number, b"")]) for number in range(10)]
    read = asyncio.ensure_future(store.get(b"5"))
    await asyncio.sleep(0)
    await store.close()
    assert not thread.is_alive()
    assert all(future.done() for future in futures)
    assert await read == b""
    assert list(modes_in(tmp_path)) == ["data.db"]


async def test_a_cancelled_close_still_closes(tmp_path: Path, commits: Commits) -> None:
    store = SQLiteStorage(tmp_path / "data.db")
    await store.open()
    commits.gate.clear()
    kept = store.write([(b"k", b"v")])
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    commits.gate.set()
    await store.open()
    assert kept.done()
    assert await store.get(b"k") == b"v"
    await store.close()


async def test_a_failed_open_leaves_no_thread_once_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = threading.Event()
    closes = Database.close

    def slow_close(database: Database) -> None:
        assert ending.wait(10)
        closes(database)

    monkeypatch.setattr(Database, "close", slow_close)
    (tmp_path / "data.db").write_bytes(b"no database" * 1000)
    store = SQLiteStorage(tmp_path / "data.db")
    with pytest.raises(StorageError):
        await store.open()
    asyncio.get_running_loop().call_later(0.01, ending.set)
    await store.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mm-storage")] == []


async def test_a_cancelled_open_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    opens = Database.open

    def slow_open(database: Database) -> None:
        assert gate.wait(10)
        opens(database)

    monkeypatch.setattr(Database, "open", slow_open)
    store = SQLiteStorage(tmp_path / "data.db")
    opening = asyncio.ensure_future(store.open())
    await asyncio.sleep(0)
    thread = store._worker.thread  # type: ignore[union-attr]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    gate.set()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    async with store:
        assert await store.get(b"k") is None


def test_a_loop_that_ends_under_an_open_store_does_not_hurt_the_thread(tmp_path: Path) -> None:
    async def leave() -> SQLiteStorage:
        store = SQLiteStorage(tmp_path / "data.db")
        await store.open()
        return store

    store = asyncio.run(leave())
    worker = store._worker
    assert worker is not None
    worker.queue.put(None)
    worker.thread.join(10)
    assert not worker.thread.is_alive()


KILLED = """
import asyncio, sys
from mmplatform.storage.sqlite import SQLiteStorage

async def main():
    store = SQLiteStorage(sys.argv[1])
    await store.open()
    for number in range(100):
        store.write([(b"%03d" % number, b"x" * 5000)], sync=False)
    await store.put(b"acknowledged", b"1")
    store.write([(b"not awaited", b"1"), (b"not awaited 2", b"1")])
    print("kept", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def write_and_be_killed(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"kept\n"
        process.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
async def test_an_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    await asyncio.to_thread(write_and_be_killed, tmp_path / "data.db")
    async with SQLiteStorage(tmp_path / "data.db") as store:
        assert await store.get(b"acknowledged") == b"1"
        rows = await store.scan(b"")
        assert [key for key, _ in rows[:100]] == [b"%03d" % number for number in range(100)]
        assert len(rows) in (101, 103), "an unacknowledged write is there as a whole or not at all"


async def fill(store: SQLiteStorage, size: int = 20_000) -> dict[bytes, bytes]:
    """Writes until the disk is full; returns what was acknowledged."""
    kept: dict[bytes, bytes] = {}
    for number in range(1000):
        key, value = b"%04d" % number, bytes([number % 251]) * size
        try:
            await store.put(key, value)
        except StorageFull:
            break
        kept[key] = value
    assert len(kept) < 1000
    return kept


async def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(300_000))
    async with SQLiteStorage(small_disk / "data.db") as store:
        kept = await fill(store)
        assert len(kept) > 5
        assert dict(await store.scan(b"")) == kept
        with pytest.raises(StorageFull, match=r"data\.db: database or disk is full; free some space"):
            await store.put(b"a", bytes(100_000))
        several = [store.write([(b"a%d" % number, bytes(100_000))]) for number in range(3)]
        failures = await asyncio.gather(*several, return_exceptions=True)
        assert [type(failure) for failure in failures] == [StorageFull] * 3
        assert len({id(failure) for failure in failures}) == 3
        assert dict(await store.scan(b"")) == kept
        (small_disk / "ballast").unlink()
        kept[b"later"] = bytes(50_000)
        await store.put(b"later", kept[b"later"])
        kept |= await fill(store, 10_000)
    async with SQLiteStorage(small_disk / "data.db") as store:
        assert dict(await store.scan(b"")) == kept


def beside(path: Path) -> list[str]:
    """The names of the files that SQLite has made beside a database."""
    return [file.name for file in path.parent.glob(f"{path.name}-*")]


@pytest.mark.parametrize("more", [0, 4_096, 16_384])
async def test_a_copy_for_which_there_is_no_room_leaves_no_log_behind(small_disk: Path, more: int) -> None:
    """The copy itself fits, and not what SQLite makes beside it to end it; only the file is removed by others."""
    async with SQLiteStorage(small_disk / "data.db") as store:
        await store.put(b"a", bytes(400_000))
        await store.copy(small_disk / "copy")
        room = (small_disk / "copy").stat().st_size + more
        (small_disk / "copy").unlink()
        (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - room))
        with pytest.raises(StorageFull):
            await store.copy(small_disk / "copy")
        assert beside(small_disk / "copy") == []


async def test_the_log_gives_its_room_back_before_the_disk_counts_as_full(small_disk: Path) -> None:
    """A megabyte passes through a file that has 200 kB of its own and 100 kB of disk left for the log."""
    async with SQLiteStorage(small_disk / "data.db") as store:
        rows = [(b"%d" % number, bytes(20_000)) for number in range(10)]
        await store.write(rows)
    left = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(left - 100_000))
    async with SQLiteStorage(small_disk / "data.db") as store:
        for number in range(50):
            await store.write([(b"%d" % (number % 10), b"%d" % number * 10_000)])
        assert await store.get(b"9") == b"49" * 10_000


async def test_a_disk_too_full_to_open_on(small_disk: Path) -> None:
    with contextlib.suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(2_000_000))
    store = SQLiteStorage(small_disk / "data.db")
    with pytest.raises(StorageFull):
        await store.open()
    (small_disk / "ballast").unlink()
    async with store:
        await store.put(b"k", b"v")


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Root may write anywhere but on a read-only mount."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


async def test_a_read_only_folder(small_disk: Path) -> None:
    with read_only(small_disk), pytest.raises(StorageReadOnly, match="make the folder and the file writable"):
        await SQLiteStorage(small_disk / "data.db").open()
    async with SQLiteStorage(small_disk / "data.db") as store:
        await store.put(b"k", b"v")
    with read_only(small_disk), pytest.raises(StorageReadOnly):
        await SQLiteStorage(small_disk / "data.db").open()
    async with SQLiteStorage(small_disk / "data.db") as store:
        assert await store.get(b"k") == b"v"


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"make the folder .*nowhere first"):
        await SQLiteStorage(tmp_path / "nowhere" / "data.db").open()


async def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await SQLiteStorage(tmp_path).open()


@pytest.mark.parametrize("garbage", [b"not a database at all " * 100, b"SQLite format 3\x00" + b"\xa5" * 5000])
async def test_a_garbage_file_is_corrupt_and_left_alone(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "data.db"
    path.write_bytes(garbage)
    with pytest.raises(StorageCorrupt, match=r"data\.db.*backup"):
        await SQLiteStorage(path).open()
    assert path.read_bytes() == garbage


async def test_damage_inside_is_reported_and_moving_it_away_helps(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    async with SQLiteStorage(path) as store:
        await store.write([(b"%04d" % number, bytes(500)) for number in range(1000)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    async with SQLiteStorage(path) as store:
        with pytest.raises(StorageCorrupt):
            await store.get(b"0500")
        with pytest.raises(StorageCorrupt):
            await store.put(b"0500", b"")
        path.rename(tmp_path / "damaged")
        await store.put(b"new", b"1")
        assert await store.scan(b"") == [(b"new", b"1")]


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "data.db")) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StorageError, match="newer version"):
        await SQLiteStorage(tmp_path / "data.db").open()


async def test_a_file_open_elsewhere_is_refused(tmp_path: Path, store: SQLiteStorage) -> None:
    with pytest.raises(FolderInUse, match="another process"):
        await SQLiteStorage(store.path).open()
    await store.put(b"k", b"v")
    with contextlib.closing(sqlite3.connect(store.path, timeout=0)) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("SELECT * FROM kv")


def failure(code: int, text: str = "made up") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failure(sqlite3.SQLITE_IOERR | 12 << 8), StorageError),
        (failure(sqlite3.SQLITE_READONLY), StorageReadOnly),
        (failure(sqlite3.SQLITE_FULL), StorageFull),
        (OSError(errno.ENOSPC, "no space"), StorageFull),
        (OSError(errno.EDQUOT, "quota"), StorageFull),
        (OSError(errno.EROFS, "read-only"), StorageReadOnly),
        (MemoryError(), StorageError),
    ],
)
@pytest.mark.parametrize("word", ["INSERT", "DELETE", "COMMIT"])
async def test_after_a_failed_group_later_writes_work(
    store: SQLiteStorage, word: str, error: Exception, kind: type[StorageError]
) -> None:
    await store.put(b"before", b"1")
    Tapped(store, word, error)
    several = [store.write([(b"k", b"1"), (b"before", None)]), store.write([(b"l", b"1")])]
    assert [type(failed) for failed in await asyncio.gather(*several, return_exceptions=True)] == [kind, kind]
    assert await store.scan(b"") == [(b"before", b"1")]
    await store.put(b"after", b"1")
    assert len(await store.scan(b"")) == 2


async def test_an_io_error_on_a_disk_with_no_space_is_a_full_disk(
    store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 0

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    database = Database(store.path)
    assert type(database._typed(failure(sqlite3.SQLITE_IOERR))) is StorageFull
    assert type(database._typed(failure(sqlite3.SQLITE_CANTOPEN))) is StorageFull

    def gone(_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "disk_usage", gone)
    assert type(database._typed(failure(sqlite3.SQLITE_IOERR))) is StorageError
    assert type(database._typed(failure(sqlite3.SQLITE_CANTOPEN))) is StorageReadOnly
