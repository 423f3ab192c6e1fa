"""A file of settings that is watched: what changes in it counts within a second, without a restart.

It is looked at, not waited for. Notifications of the system (watchfiles) miss files that another host, or a container,
changes; one look a second misses none, and costs nothing. A file that cannot be read leaves what was read last, and one
line.
"""

import asyncio
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from mmplatform.errors import LocalError
from mmplatform.text import escaped

LOOK: Final = 1.0  # seconds between two looks
MAX_FILE: Final = 8 * 1024 * 1024  # bytes
_SETTLED: Final = 2_000_000_000  # ns: a file may be written twice within one tick of its clock

T = TypeVar("T")


class _Print(NamedTuple):
    """By what a file that was changed, or replaced, is told."""

    changed: int
    size: int
    inode: int


class WatchedFile(Generic[T]):
    """One file; ``value`` is what it means, once it is open.

    Args:
        path: the file.
        parse: makes a value of its bytes. Raises LocalError.
        note: takes a line for the operator.
        missing: what to do when there is no such file.
        missing_is: the bytes that a missing file stands for; None when there has to be one.
        look: seconds between two looks at the file.
        changed: called when there is another value.

    """

    value: T

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        note: Callable[[str], None],
        missing: str = "",
        look: float = LOOK,
        changed: Callable[[], None] = lambda: None,
        missing_is: bytes | None = None,
    ) -> None:
        self.path = path
        self._parse, self._note, self._missing, self._every, self._changed = parse, note, missing, look, changed
        self._missing_is = missing_is
        self._print: _Print | None = None
        self._data: bytes | None = None
        self._trouble = ""
        self._reading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the file, and watch it. Raises LocalError when it cannot be read."""
        await self.look()
        if self._trouble:
            raise LocalError(self._trouble)
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name=f"mm watch {self.path.name}")

    async def close(self) -> None:
        """Watch it no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def look(self) -> None:
        """Read the file if it has changed."""
        async with self._reading:
            try:
                read = await asyncio.to_thread(self._read)
            except (OSError, LocalError) as error:
                self._say(f"{self.path}: {reason(error, self._missing)}")
                return
        if read is not None:
            (self.value,) = read
            self._say("")
            if self._watching is not None:
                self._changed()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.look()

    def _say(self, trouble: str) -> None:
        """Tell each trouble once, and its end."""
        if trouble != self._trouble and self._watching is not None:
            self._note(f"{trouble}; what was read last stays" if trouble else f"{self.path}: it is read again")
        self._trouble = trouble

    def _read(self) -> tuple[T] | None:
        """Return what is in the file, None when that was read before. Runs in a thread."""
        try:
            if self._missing_is is not None and not self.path.exists():
                return self._parsed(self._missing_is)
            about = self.path.stat()
            seen = _Print(about.st_mtime_ns, about.st_size, about.st_ino)
            if seen == self._print:
                return None
            data = content(self.path)
        except (OSError, LocalError):
            self._print = None
            raise
        self._print = seen if abs(time.time_ns() - about.st_mtime_ns) > _SETTLED else None
        return self._parsed(data)

    def _parsed(self, data: bytes) -> tuple[T] | None:
        """Return what ``data`` means, None when that was read before."""
        if data == self._data and not self._trouble:
            return None
        self._data = data
        if len(data) > MAX_FILE:
            raise LocalError(f"more than {MAX_FILE} bytes")
        return (self._parse(data),)


def content(path: Path) -> bytes:
    """Return what is in a file, and a byte too many of one that is too long. Raises OSError, or LocalError for what is
    no file: a pipe would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise LocalError("it is no file")
    with path.open("rb") as file:
        return file.read(MAX_FILE + 1)


def reason(error: OSError | LocalError, missing: str = "") -> str:
    """Return why a file cannot be used, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file" + (f"; {missing}" if missing else "")
    return f"it cannot be read ({escaped(error.strerror)})" if isinstance(error, OSError) else str(error)
