"""Files that others share: saved in one folder, under a safe name, whole or not at all; and ours, read to be shared."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from mm_services.messenger.chat.payloads import MAX_FILE
from mmplatform.cli.output import amount
from mmplatform.errors import LocalError
from mmplatform.storage.replacing import sync_names
from mmplatform.text import escaped, printable

MAX_FOLDER: Final = 2 * 1024 * 1024 * 1024  # bytes of all that lies in the folder
MAX_FILES: Final = 10_000
LONGEST: Final = 120  # bytes of a name, with room for a number; file systems take 255
LONGEST_SUFFIX: Final = 20
ATTEMPTS: Final = 1000  # numbers that are tried until a name is free
NAMELESS: Final = "file"
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# Names that mean a device on Windows, whose shares and disks are mounted elsewhere, too.
DEVICES: Final = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(10))}


class IncomingFiles:
    """The folder for files of others. Nothing in it is ever replaced.

    Args:
        folder: made when the first file comes, for this user alone.
        most: bytes of all that lies in it.

    """

    def __init__(self, folder: Path, most: int = MAX_FOLDER) -> None:
        self.folder, self._most = folder, most

    def save(self, name: str, data: bytes, message_id: str) -> Path:
        """Save a file; return where it is, complete and on the disk. It takes time: call it in a thread.

        Args:
            name: what its sender calls it.
            data: what is in it.
            message_id: hexadecimal digits; what a kill left of it is taken up.

        Raises LocalError when there is no room for it, or OSError.

        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.folder / f".{message_id}.part"
        self._check_room(len(data), part)
        try:
            _write(part, data)
            return self._named(part, safe_name(name))
        finally:
            part.unlink(missing_ok=True)

    def _check_room(self, size: int, part: Path) -> None:
        with os.scandir(self.folder) as entries:
            sizes = [
                entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.name != part.name and entry.is_file(follow_symlinks=False)
            ]
        if len(sizes) >= MAX_FILES or sum(sizes) + size > self._most:
            raise LocalError(
                f"{self.folder} has {len(sizes):,} files of {amount(sum(sizes))}, and takes no more; move some away, or"
                " name another folder: --incoming-dir"
            )

    def _named(self, part: Path, name: str) -> Path:
        """Give what is complete its name, or the name with the first number that is free."""
        stem, dot, suffix = name.rpartition(".")
        if not stem:
            stem, dot, suffix = name, "", ""
        for number in range(1, ATTEMPTS):
            path = self.folder / (name if number == 1 else f"{stem} ({number}){dot}{suffix}")
            with suppress(FileExistsError):
                os.close(os.open(path, CREATE, 0o600))  # the name is ours
                part.replace(path)
                sync_names(self.folder)
                return path
        raise LocalError(f"{self.folder} has {ATTEMPTS} files of this name; move some away")


def safe_name(name: str) -> str:
    """Return what a file of others may be called here: no folder, not hidden, nothing that steers a terminal or a shell
    that shows it, and not too long."""
    base = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(char if char == printable(char) and char not in '<>:"|?*' else "_" for char in base)
    shown = shown.strip().lstrip(".-~ ").rstrip(". ")
    stem, dot, suffix = shown.rpartition(".")
    if not stem or len(suffix.encode()) > LONGEST_SUFFIX:
        stem, dot, suffix = shown, "", ""
    stem = _shortened(stem, LONGEST - len((dot + suffix).encode())).rstrip(". ")
    if stem.partition(".")[0].rstrip().lower() in DEVICES:
        stem = f"_{stem}"
    return f"{stem}{dot}{suffix}" if stem else NAMELESS


def size(path: Path) -> int:
    """Return how many bytes a file has that is to be shared. Raises LocalError for one that cannot be."""
    try:
        found = path.expanduser().stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise _unfit(path, error) from None
    if not stat.S_ISREG(found.st_mode):
        raise _unfit(path, "it is no file")
    return _checked(path, found.st_size)


def read(path: Path) -> bytes:
    """Return what is in a file that is to be shared. Raises LocalError for one that cannot be."""
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_FILE + 1)  # it may have grown
    except (OSError, RuntimeError, ValueError) as error:
        raise _unfit(path, error) from None
    _checked(path, len(data))
    return data


def _checked(path: Path, found: int) -> int:
    if found > MAX_FILE:
        raise _unfit(path, f"it has {amount(found)}, and at most {amount(MAX_FILE)} can be; send it in parts")
    return found


def _unfit(path: Path, why: object) -> LocalError:
    return LocalError(f"{escaped(path)} cannot be shared: {escaped(why)}")


def _write(path: Path, data: bytes) -> None:
    """Write a file of ours, for this user alone, and have it on the disk."""
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, CREATE, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _shortened(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
