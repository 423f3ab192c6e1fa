"""The data folder of a node: private, and held by one process at a time."""

import errno
import os
import stat
import sys
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from mmplatform import forks
from mmplatform.errors import FolderInUse, FolderNotOurs, StorageError, StorageReadOnly

OURS = ("identity", "data.db", "mail.db")  # one of these is in every folder that was used before
SHARED = stat.S_ISVTX | stat.S_ISGID | stat.S_IWOTH  # one of these says that a folder was made for several users

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock a byte far behind the pid: Windows keeps others from reading locked bytes."""
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

    def _unlock(descriptor: int) -> None:
        """Windows frees the lock with the descriptor, and has no forked children."""
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        """Free the lock, though a child that was not forked by Python has a copy of the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class DataFolder:
    """A data folder; ``open`` makes it and takes its lock, ``close`` or the end of the process frees the lock.

    Paths are known at once. The lock belongs to the open file, not to the pid written inside, so a killed process
    leaves no stale lock. A forked child does not have it.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.identity = self.path / "identity"
        self.database = self.path / "data.db"
        self.control = self.path / "control.sock"
        self._used = False  # whether somebody ran here before, and the key is still there
        self._lock_file = self.path / "lock"
        self._descriptor: int | None = None

    def open(self) -> None:
        """Make the folder and lock it; does nothing when this object holds the lock.

        Raises FolderInUse when another process holds it, FolderNotOurs, StorageReadOnly, or StorageError.
        """
        if self._descriptor is not None:
            return
        try:
            self.make()
            self._used = self._lock_file.exists() and self.identity.exists()
            self._descriptor = self._take_lock()
            forks.watch(self)
        except PermissionError as error:
            raise StorageReadOnly(f"{error}; make {self.path} writable for this user, or use another folder") from error
        except OSError as error:
            if error.errno == errno.EROFS:
                raise StorageReadOnly(f"{error}; mount it writable, or use another folder") from error
            raise StorageError(f"{error}; {self.path} cannot be used as a data folder, choose another") from error

    def close(self) -> None:
        """Free the lock."""
        if self._descriptor is not None:
            _unlock(self._descriptor)
            self.forked()

    def forked(self) -> None:
        """Let go of the open file; in a child, the lock stays with the parent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def make(self) -> None:
        """Create the folder when it is not there, private to this user.

        Raises FolderNotOurs for one of another user, and for one that others may read and that has nothing of a node in
        it, but other files, or is shared by its mode: making it private would lock others out. Raises OSError.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name != "posix":
            return
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise FolderNotOurs(
                f"{self.path} belongs to user {found.st_uid}, and this is user {os.geteuid()}; name a folder of your "
                "own, or run this as that user"
            )
        if found.st_mode & 0o777 != 0o700:
            self._make_private(stat.S_IMODE(found.st_mode))

    def _make_private(self, mode: int) -> None:
        with os.scandir(self.path) as entries:
            names = {entry.name for entry in entries} - {"lost+found"}
        if names.isdisjoint(OURS) and (names or mode & SHARED):
            why = (
                f"there are other files in it, as {min(names)}, and others may read it"
                if names
                else f"its mode {mode:o} says that several users share it"
            )
            raise FolderNotOurs(
                f"{self.path} is no data folder: {why}; name a new folder, or make it private to say that it is meant "
                f"(chmod 700 {self.path})"
            )
        self.path.chmod(0o700)

    def lost(self, database: Path) -> str:
        """Say that ``database`` is gone beside a key that was used, "" when it is not; to be asked after ``open``."""
        if not self._used or (database.exists() and database.stat().st_size):
            return ""
        return (
            f"{database} is missing or empty, and the key beside it was used before: what was kept in it is gone; stop "
            "and restore a copy of the whole folder if there is one"
        )

    def gone(self) -> str:
        """Say that the folder is not the one that was opened any more, "" when it is, or is not open."""
        if self._descriptor is None:
            return ""
        try:
            if os.path.samestat(os.fstat(self._descriptor), self._lock_file.stat()):
                return ""
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return ""  # who may not look now says nothing of the folder
        return (
            f"{self.path} was removed or replaced while this node runs, and nothing can be saved any more: put the "
            "folder back, or stop this node, restore a copy and start again"
        )

    def _take_lock(self) -> int:
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace")
            os.close(descriptor)
            if isinstance(error, BlockingIOError | PermissionError):
                raise FolderInUse(
                    f"{self.path} is in use by process {holder or 'unknown'}; stop it, or use another folder"
                ) from None
            raise
        with suppress(OSError):  # a full disk must not keep a node from starting: it could never free space
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        return descriptor
