"""Keeps some room on a disk, so that what frees space still works when the disk is full."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

LEAST: Final = 64 * 1024  # bytes of room that are of use
PART: Final = 8  # of a small disk, at most this part is kept
PIECE: Final = bytes(64 * 1024)


class Room:
    """A file of ``size`` bytes, less on a small disk, which is given up when it is needed."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = path, size
        self.kept = False

    @property
    def size(self) -> int:
        """Bytes of it on this disk."""
        return max(LEAST, min(self._size, shutil.disk_usage(self._path.parent).total // PART))

    def keep(self) -> None:
        """Take the room when the disk has twice as much."""
        if self.kept:
            return
        with suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= self.size:
                self.kept = True
            elif shutil.disk_usage(self._path.parent).free >= 2 * self.size:
                self.kept = self._filled(self.size)

    def give_up(self) -> bool:
        """Free the room; return whether there was some."""
        if not self.kept:
            return False
        self.kept = False
        with suppress(OSError):
            self._path.unlink()
            return True
        return False

    def _filled(self, size: int) -> bool:
        """Fill the file; without effect when the disk is full after all."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for _ in range(0, size, len(PIECE)):
                os.write(descriptor, PIECE)
            return True
        except OSError:
            self._path.unlink()
            return False
        finally:
            os.close(descriptor)
