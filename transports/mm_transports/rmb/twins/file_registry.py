"""A registry that is a file, which is watched: what changes in it counts within a second, without a restart.

It is looked at, not waited for. Notifications of the system (watchfiles) miss files that another host, or a container,
changes; one look a second misses none, and costs nothing. A file that cannot be read leaves the twins that were read
last, and one line.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mm_transports.rmb.protocol.twin import Twin
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mm_transports.rmb.twins.toml_file import content, read_twins, reason
from mmplatform.errors import LocalError

LOOK: Final = 1.0  # seconds between two looks
_SETTLED: Final = 2_000_000_000  # ns: a file may be written twice within one tick of its clock


class _Print(NamedTuple):
    """By what a file that was changed, or replaced, is told."""

    changed: int
    size: int
    inode: int


class FileRegistry(TwinRegistry):
    """The twins in one file.

    Args:
        path: the file.
        note: takes a line for the operator.
        look: seconds between two looks at the file.

    """

    def __init__(self, path: Path, note: Callable[[str], None], look: float = LOOK) -> None:
        self.name = str(path)
        self._path, self._note, self._every = path, note, look
        self._twins: dict[int, Twin] = {}
        self._accounts: dict[bytes, Twin] = {}
        self._print: _Print | None = None
        self._data = b""
        self._trouble = ""
        self._reading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the file, and watch it. Raises LocalError when it cannot be read."""
        await self.look()
        if self._trouble:
            raise LocalError(self._trouble)
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="mm rmb twins")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def find(self, key: Key) -> Twin | None:
        return self._twins.get(key) if isinstance(key, int) else self._accounts.get(key)

    def all(self) -> list[Twin]:
        """Return all twins in the file, by number."""
        return [self._twins[number] for number in sorted(self._twins)]

    async def look(self) -> None:
        """Read the file if it has changed."""
        async with self._reading:
            try:
                read = await asyncio.to_thread(self._read)
            except (OSError, LocalError) as error:
                self._say(f"{self._path}: {reason(error)}")
                return
        if read is not None:
            self._twins = read
            self._accounts = {twin.account: twin for twin in read.values()}
            self._say("")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.look()

    def _say(self, trouble: str) -> None:
        """Tell each trouble once, and its end."""
        if trouble != self._trouble and self._watching is not None:
            kept = f"{trouble}; the twins that were read last stay ({len(self._twins)})"
            self._note(kept if trouble else f"{self._path}: it is read again, twins: {len(self._twins)}")
        self._trouble = trouble

    def _read(self) -> dict[int, Twin] | None:
        """Return what is in the file, None when that was read before. Runs in a thread."""
        try:
            about = self._path.stat()
            seen = _Print(about.st_mtime_ns, about.st_size, about.st_ino)
            if seen == self._print:
                return None
            data = content(self._path)
        except (OSError, LocalError):
            self._print = None
            raise
        self._print = seen if abs(time.time_ns() - about.st_mtime_ns) > _SETTLED else None
        if data == self._data and not self._trouble:
            return None
        self._data = data
        return read_twins(data)
