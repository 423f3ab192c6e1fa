"""Checks whether a node can run on a data folder: its disk, its rights, its key and its database."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from mmplatform.errors import (
    FolderInUse,
    IdentityError,
    LocalError,
    MMError,
    PassphraseNeeded,
    PluginError,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageGone,
    StorageReadOnly,
    WrongPassphrase,
)  # fmt: skip
from mmplatform.identity.keys import look_into
from mmplatform.platform import Platform
from mmplatform.plugins.check import Check, fault, ok, warning
from mmplatform.storage.database import Database
from mmplatform.storage.folder import DataFolder

SUBJECT: Final = "data folder"
LISTENING: Final = "listening"
LITTLE: Final = 64 * 1024 * 1024  # free bytes below which the disk is nearly full
TRIED: Final = 64 * 1024  # bytes of the file that is written as a trial
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
NOT_LET: Final = (errno.EACCES, errno.EPERM, errno.EROFS)

_KINDS: Final[tuple[tuple[type[MMError], str, str, str], ...]] = (
    (StorageFull, SUBJECT, "disk-full", "free some space; what was accepted is safe, and nothing more is accepted"),
    (StorageReadOnly, SUBJECT, "folder-read-only", "make the folder writable for this user"),
    (StorageCorrupt, "database", "database-damaged", "restore data.db from a backup, or move it away to start empty"),
    (
        StorageGone,
        "database",
        "database-gone",
        "put the folder back as it was, or restore a copy of it, with data.db-wal",
    ),
    (FolderInUse, SUBJECT, "folder-in-use", "stop the other process, or use another folder (--data)"),
    (StorageError, SUBJECT, "storage", "see the disk and the system log"),
    (PassphraseNeeded, "key", "key-locked", "run this on a terminal, or name a file with it in MM_PASSPHRASE_FILE"),
    (WrongPassphrase, "key", "key-locked", "try again, or name the file with the right one in MM_PASSPHRASE_FILE"),
    (IdentityError, "key", "key-unusable", "restore the file `identity` from a backup, private to this user (0600)"),
    (PluginError, "plugins", "plugin-missing", "install what is missing"),
)


async def without_node(path: Path) -> list[Check]:
    """Check a folder on which no node runs; one that is not there yet is fine when it can be made."""
    return await asyncio.to_thread(lambda: list(_looked_at(DataFolder(path))))


async def of_node(platform: Platform) -> list[Check]:
    """Check the folder of a running node, and whether its storage accepts writes."""
    if platform.parts.folder is None:
        return []
    path = platform.parts.folder.path
    try:
        await platform.storage.write([(b"node/doctor", None)])
    except StorageError as error:
        return [explained(error)]
    return [await asyncio.to_thread(_written, path)]


def explained(error: MMError) -> Check:
    """Turn the error that keeps a node from starting into a check with a remedy."""
    for kind, subject, word, remedy in _KINDS:
        if isinstance(error, kind):
            return fault(subject, word, str(error), remedy)
    taken = _errno(error) == errno.EADDRINUSE
    if taken:
        return fault(
            LISTENING, "port-in-use", str(error),
            "stop the program that has the port (ss -ltnp names it), or listen on another one",
        )  # fmt: skip
    if isinstance(error, LocalError) and "cannot listen" in str(error):
        return fault(LISTENING, "cannot-listen", str(error), "listen on an address that this host has")
    return fault("start", "cannot-start", str(error), "")


def _looked_at(folder: DataFolder) -> Iterator[Check]:
    if not folder.path.exists():
        parent = next(path for path in folder.path.parents if path.exists())
        yield ok(SUBJECT, f"{folder.path} will be made") if os.access(parent, os.W_OK) else fault(
            SUBJECT, "folder-read-only", f"{folder.path} cannot be made: {parent} is not writable",
            "make it writable for this user, or use another folder (--data)",
        )  # fmt: skip
        return
    yield _written(folder.path)
    try:
        with folder:
            if lost := folder.lost(folder.database):
                yield warning(
                    "database", "database-missing", lost, "or start the node: it is the same one, and knows nobody"
                )
            if folder.identity.exists():
                look_into(folder.identity)
            yield from _database(folder)
    except MMError as error:
        yield explained(error)


def _written(path: Path) -> Check:
    """Check that the folder takes a file, which is removed again, and how much space is left."""
    trial = path / f".doctor-{os.getpid()}"
    try:
        _write(trial)
    except OSError as error:
        if error.errno in FULL:
            return explained(StorageFull(f"{path}: {error.strerror}"))
        if error.errno in NOT_LET:
            return explained(StorageReadOnly(f"{path}: {error.strerror}"))
        return explained(StorageError(f"{path}: {error}"))
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    free = shutil.disk_usage(path).free
    if free < LITTLE:
        return warning(
            SUBJECT, "disk-nearly-full", f"{free // 1024} KiB are left on the disk of {path}",
            "free some space: a node that cannot save accepts nothing",
        )  # fmt: skip
    return ok(SUBJECT, f"{path} is writable, {free // 2**20:,} MiB are free")


def _write(path: Path) -> None:
    with path.open("wb") as file:
        file.write(os.urandom(TRIED))
        file.flush()
        os.fsync(file.fileno())


def _database(folder: DataFolder) -> Iterator[Check]:
    if not folder.database.exists():
        return
    database = Database(folder.database)
    try:
        damage = database.damage()
    finally:
        database.close()
    yield explained(StorageCorrupt(f"{folder.database}: {damage}")) if damage else ok("database", "it is sound")


def _errno(error: BaseException | None) -> int:
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        error = error.__cause__ or error.__context__
    return 0
