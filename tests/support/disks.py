"""Small file systems that really are full, or read-only."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mmplatform.errors import StorageFull
from mmplatform.storage.contract import Storage

DISK = 2 * 1024 * 1024


class Disk:
    """A file system of 2 MiB."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        with self.filler.open("ab", buffering=0) as file:
            try:
                while self.free() > leave:
                    if not file.write(bytes(min(65536, max(self.free() - leave, 1)))):
                        break
            except OSError:
                pass

    async def fill_behind(self, storage: Storage) -> None:
        """Fill it so that ``storage`` finds no room in its own files either, be it for a change within one page."""
        await storage.put(b"filler small", bytes(8))
        found = True
        while found:  # each time the log may give back what it took
            found = False
            for key, size in ((b"filler", 20_000), (b"filler small", 8)):
                self.fill()
                with suppress(StorageFull):
                    while True:
                        await storage.put(key, os.urandom(size))
                        found = True
        self.fill()

    def free(self) -> int:
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def give_back(self) -> None:
        self.filler.unlink()

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(path)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real filesystem of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "none", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small filesystem needs root on Linux")
    yield folder
    gc.collect()
    subprocess.run(["umount", str(folder)], check=True)
