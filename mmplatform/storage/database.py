"""Reads and writes the SQLite file, in one thread: layout, few statements a commit, recovery, typed errors.

Every step of a statement gives up the GIL, and winning it back from a busy loop costs up to a switch interval
(5 ms). So many rows are one multi-row statement, a page of rows is read as one, and one statement alone needs no BEGIN
and COMMIT. While this thread has the GIL the loop stands still, so SQLite does what it can: it takes the keys that are
deleted out of one value, and counts how many rows make a page.
"""

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from mmplatform.errors import FolderInUse, StorageCorrupt, StorageError, StorageFull, StorageGone, StorageReadOnly
from mmplatform.storage.failures import FULL, NOT_PERMITTED
from mmplatform.storage.room import Room

Found = list[Any]  # tuples of what the statement selects
Statement = tuple[str, Sequence[bytes | int]]

GET = "SELECT key, value FROM kv WHERE key = ?"
RANGE = "FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
TO_END = "FROM kv WHERE key >= ? ORDER BY key LIMIT ?"
SCAN = "SELECT key, value"
KEYS = "SELECT key"
SIZES = "SELECT key, length(value)"
FITTING = "SELECT count(*), sum(total <= ?) FROM (SELECT sum(length(value)) OVER (ORDER BY key) AS total {})"
PACKED = """SELECT CAST(group_concat(key || value, '') AS BLOB),
    group_concat(length(key) || 's' || length(value) || 's', '')
    FROM (SELECT key, value {})"""  # all rows in one, and how struct takes them apart

FORMAT = 1
IN_USE = 0x6D6D7531  # the application_id of a file that was not closed: its log belongs to it
CREATE = "CREATE TABLE IF NOT EXISTS kv(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) WITHOUT ROWID"

DELETE = """WITH RECURSIVE start(at) AS (SELECT 1 UNION ALL SELECT at + ? FROM start WHERE at + ? <= length(?))
    DELETE FROM kv WHERE key IN (SELECT coalesce(substr(?, at, ?), x'') FROM start)"""  # of one length, end to end

PUT_LARGE = "INSERT OR REPLACE INTO kv SELECT ?, ? WHERE ?"
NOTHING = (b"", b"", 0)  # to PUT_LARGE

ROWS_A_STATEMENT = 256
STATEMENT_BYTES = 256 * 1024  # the statements that are cached keep what they were last given
CACHED_STATEMENTS = 64
SPARE = 256  # free pages of 4 KiB that are kept for what comes
STEP = 256  # pages that are given back to the disk at once
SMALL_STEP, SMALL_STEPS = 16, 16  # the same while the disk is full, each step with a log of its own
LOG_LIMIT = 16 * 1024 * 1024
LOG_PAGES = 1000  # of the log that are folded into the file together
PAGE = 4096
NEARLY_FULL = 64 * 1024
READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


class Database:
    """One file, one connection, one thread. After a failure the next call starts from a sound connection.

    ``room`` bytes of the disk are kept for removals: while a full disk has taken them, nothing is added.
    """

    def __init__(self, path: Path, room: int = 0) -> None:
        self.path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._room = Room(path.with_name(f"{path.name}-room"), room) if room else None
        self._file = (0, 0)  # device and inode of the file that was opened
        self._connection: sqlite3.Connection | None = None
        self._syncing = True
        self._in_use = False

    def open(self) -> None:
        """Open the file, made when missing, with mode 0600. Raises StorageError."""
        with self._typed_failures():
            self._connected()
            self._keep_room()

    def commit(self, rows: Mapping[bytes, bytes | None], sync: bool) -> None:
        """Keep all of ``rows`` or none.

        On a full disk, try once more after the log has given back its room, and, when something is removed, again with
        the room that is kept for that.
        """
        with self._typed_failures():
            statements = _statements(rows)
            self._still_there()
            connection = self._connected()
            removing = None in rows.values()
            if not (self._keep_room() or removing):
                raise StorageFull(f"{self.path}: what is left of the disk is for removals; free some space on it")
            self._switch_sync(connection, sync)
            try:
                self._tried_twice(connection, statements)
            except sqlite3.Error as error:
                if not (removing and self._room and self._is_full(error) and self._room.give_up()):
                    raise
                _checkpoint(connection)
                _execute(connection, statements)
            if any(sql is PUT_LARGE for sql, _ in statements):
                with suppress(sqlite3.Error):
                    connection.execute(PUT_LARGE, NOTHING)  # or it would keep the last value in memory

    def read(self, sql: str, arguments: tuple[bytes | int, ...]) -> Found:
        """Return the rows that one of the statements above finds. Raises StorageError."""
        with self._typed_failures():
            return self._connected().execute(sql, arguments).fetchall()

    def page(self, span: str, arguments: tuple[bytes | int, ...], size: int) -> Found:
        """Return the first rows of ``span``, RANGE or TO_END: as many as have ``size`` bytes of values, at least one.

        While the loop is busy, a row a step would have it and this thread wait for each other once a row.
        """
        with self._typed_failures():
            connection = self._connected()
            there, fitting = connection.execute(FITTING.format(span), (size, *arguments)).fetchone()
            count = max(fitting or 0, min(1, there))
            arguments = (*arguments[:-1], count)
            if count < 2:
                return connection.execute(f"{SCAN} {span}", arguments).fetchall()
            packed, lengths = connection.execute(PACKED.format(span), arguments).fetchone()
            parts = struct.Struct(lengths).unpack(packed)
            return list(zip(parts[::2], parts[1::2], strict=True))

    def copy(self, to: Path) -> Found:
        """Copy the whole database into the file at ``to``, which needs no log. Raises StorageError."""
        with self._typed_failures():
            source = self._connected()
            try:
                with closing(sqlite3.connect(to, isolation_level=None)) as target:
                    source.backup(target)
                    for setting in ("journal_mode=DELETE", "application_id=0"):  # it is closed, and has no log
                        target.execute(f"PRAGMA {setting}")
            finally:
                for log in ("-wal", "-shm", "-journal"):  # SQLite leaves them where it fails
                    to.with_name(f"{to.name}{log}").unlink(missing_ok=True)
        return []

    def give_back(self) -> bool:
        """Give some of the pages that deletions left back to the disk; return whether there are more.

        What waits meanwhile waits for one step of at most STEP pages, and now and then for a checkpoint.
        """
        with self._typed_failures():
            connection = self._connected()
            free = _pages(connection)
            if free <= SPARE:
                return False
            self._switch_sync(connection, False)
            small = not self._keep_room()
            for step in [SMALL_STEP] * SMALL_STEPS if small else [STEP]:
                # execute() frees one page
                connection.executescript(f"PRAGMA incremental_vacuum({min(step, free - SPARE)})")
                if small:
                    _checkpoint(connection)
            left = _pages(connection)
            if SPARE < left < free:
                return True
            _checkpoint(connection)  # only this makes the file smaller
            return False

    def damage(self) -> str:
        """Return what SQLite's own check finds wrong with the file, or ""; reads the whole file."""
        with self._typed_failures():
            said = str(self._connected().execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if said == "ok" else said

    def close(self) -> None:
        """Fold the log into the file. When that fails nothing is lost: the next open reads the log."""
        if self._connection is not None:
            _checkpoint(self._connection)
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA application_id=0")
                self._in_use = False
            self._drop()

    def _tried_twice(self, connection: sqlite3.Connection, statements: list[Statement]) -> None:
        try:
            _execute(connection, statements)
        except sqlite3.Error as error:
            if not self._is_full(error):
                raise
            _checkpoint(connection)
            _execute(connection, statements)

    def _keep_room(self) -> bool:
        """Return whether there is room for removals and some more, or none is wanted."""
        if self._room is None:
            return True
        self._room.keep()
        return self._room.kept and shutil.disk_usage(self.path.parent).free >= NEARLY_FULL

    def _still_there(self) -> None:
        """Raise StorageGone when the file is not the one that was opened: what is written would go with it.

        A log alone that was removed is still open, so the file has all that was in it once this connection ends.
        """
        if self._file in ((0, 0), _identity(self.path)):
            if self._connection is not None and not self._log.exists():
                _checkpoint(self._connection)
                self._drop()
            return
        raise StorageGone(
            f"{self.path} was removed or replaced while it is in use, and nothing more can be saved: put the folder "
            "back, or stop, restore a copy (with its -wal) and start again"
        )

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._still_there()
            has_log, size = self._log.exists(), self.path.stat().st_size if self.path.exists() else 0
            _make_private(self.path)
            self._connection = sqlite3.connect(
                self.path, timeout=1.0, isolation_level=None, cached_statements=CACHED_STATEMENTS
            )
            self._prepare(self._connection)
            self._begin_use(self._connection, whole=has_log or not size)
            self._file = _identity(self.path)
        return self._connection

    def _begin_use(self, connection: sqlite3.Connection, whole: bool) -> None:
        """Mark the file as one whose log belongs to it. Raises StorageGone when that log is missing."""
        try:
            connection.execute("SELECT key FROM kv LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            return  # a damaged file is left as it is; whoever reads it is told
        self._in_use = True
        if connection.execute("PRAGMA application_id").fetchone()[0] == IN_USE:
            if not whole:
                self._in_use = False  # the log that this connection has made is not kept
                raise StorageGone(
                    f"{self.path} was not closed, and its log {self._log.name} is missing, with what came last: "
                    f"put it beside the file, or make an empty one (touch {self._log}) to go on without that"
                )
            return
        with suppress(sqlite3.Error):  # a full disk must not keep anybody from starting
            connection.execute(f"PRAGMA application_id={IN_USE}")
            _checkpoint(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Set the connection up: EXCLUSIVE keeps others out, fullfsync makes macOS really write.

        A file that was made without auto_vacuum stays so.
        """
        if not self.path.stat().st_size:  # of another file it would change nothing, and yet write
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "fullfsync=1"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("PRAGMA temp_store=MEMORY")
        if self._room or not connection.execute("PRAGMA secure_delete").fetchone()[0]:  # Debian's is stricter by itself
            connection.execute("PRAGMA secure_delete=FAST")  # old mail keys are gone when they are deleted
        connection.execute(f"PRAGMA journal_size_limit={LOG_LIMIT}")
        if self._room is not None:  # which must be enough for the file to take what is in the log
            connection.execute(f"PRAGMA wal_autocheckpoint={min(LOG_PAGES, self._room.size // PAGE // 2)}")
        self._syncing = True
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise StorageError(f"{self.path} has format {version}, made by a newer version; upgrade mm-platform")
        if version < FORMAT:
            _execute(connection, [(CREATE, []), (f"PRAGMA user_version={FORMAT}", [])])

    def _switch_sync(self, connection: sqlite3.Connection, sync: bool) -> None:
        if sync != self._syncing:
            connection.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
            self._syncing = sync

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
            if self._in_use:
                with suppress(OSError):  # the mark stays, so the log stays, too
                    os.close(os.open(self._log, os.O_WRONLY | os.O_CREAT, 0o600))

    @contextmanager
    def _typed_failures(self) -> Iterator[None]:
        try:
            yield
        except StorageGone:
            if self._file == (0, 0):
                self._drop()
            raise  # what is open is still there to be read
        except StorageError:
            self._drop()
            raise
        except Exception as error:
            self._drop()
            typed = self._typed(error)
            if isinstance(typed, StorageCorrupt):
                self._file = (0, 0)  # it may be moved away, to start empty
            raise typed from error

    def _typed(self, error: Exception) -> StorageError:
        """Return the error of our tree: what went wrong, where, and what to do about it."""
        where, code = f"{self.path}: {error}", _code(error)
        if self._is_full(error):
            return StorageFull(f"{where}; free some space on this disk, later writes then work again")
        if isinstance(error, FileNotFoundError):
            return StorageError(f"{where}; make the folder {self.path.parent} first")
        if code in READ_ONLY or getattr(error, "errno", 0) in NOT_PERMITTED or not self._is_writable():
            return StorageReadOnly(f"{where}; make the folder and the file writable for this user")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StorageCorrupt(f"{where}; restore the file from a backup, or move it away to start empty")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return FolderInUse(f"{where}; another process has it open: stop that one, or use another folder")
        return StorageError(f"{where}; check the disk and the system log, later writes are tried again")

    def _is_writable(self) -> bool:
        """Whether the files may be written: SQLite reports an I/O error when its log cannot be made."""
        return all(os.access(path, os.W_OK) for path in (self.path.parent, self.path) if path.exists())

    def _is_full(self, error: Exception) -> bool:
        """Whether the disk is full, which SQLite reports as one of several errors, by the file that could not grow."""
        if getattr(error, "errno", 0) in FULL or _code(error) == sqlite3.SQLITE_FULL:
            return True
        if _code(error) not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return False
        with suppress(OSError):
            return shutil.disk_usage(self.path.parent).free < NEARLY_FULL
        return False


def _statements(rows: Mapping[bytes, bytes | None]) -> list[Statement]:
    """Return what writes ``rows``: small ones together, large ones each alone."""
    statements: list[Statement] = []
    deletes: dict[int, list[bytes]] = {}
    some: list[bytes] = []
    size = 0
    for key, value in rows.items():
        if value is None:
            deletes.setdefault(len(key), []).append(key)
            continue
        if len(value) > STATEMENT_BYTES:
            statements.append((PUT_LARGE, [key, value, 1]))
            continue
        if len(some) == 2 * ROWS_A_STATEMENT or size + len(value) > STATEMENT_BYTES:
            statements.append(_put(some))
            some, size = [], 0
        some += (key, value)
        size += len(value)
    if some:
        statements.append(_put(some))
    for length, keys in deletes.items():
        for first in range(0, len(keys), ROWS_A_STATEMENT):
            joined = b"".join(keys[first : first + ROWS_A_STATEMENT])
            statements.append((DELETE, (length, length, joined, joined, length)))
    return statements


def _put(parts: list[bytes]) -> Statement:
    return "INSERT OR REPLACE INTO kv VALUES (?,?)" + ",(?,?)" * (len(parts) // 2 - 1), parts


def _execute(connection: sqlite3.Connection, statements: list[Statement]) -> None:
    """Run the statements as one transaction; a single statement is one by itself."""
    if len(statements) == 1:
        connection.execute(*statements[0])
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for sql, arguments in statements:
            connection.execute(sql, arguments)
        connection.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def _checkpoint(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _pages(connection: sqlite3.Connection) -> int:
    """Return how many pages of the file hold nothing."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _make_private(path: Path) -> None:
    """Give the file mode 0600 before SQLite sees it: the log takes its mode from the database.

    An existing file is never opened here: closing it would release the lock of another connection of this process.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if os.name == "posix" and path.stat().st_mode & 0o777 != 0o600:
        path.chmod(0o600)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file, of none (0, 0)."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _code(error: Exception) -> int:
    """Return SQLite's primary result code; the upper bytes only refine it."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
