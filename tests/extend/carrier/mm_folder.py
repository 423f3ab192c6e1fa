"""``folder:///path``: mail is left in a folder that nodes share, on a network drive or a stick that goes to and fro.

Each key has a box in it, each envelope is a file there, named by its id and dated when it expires. What its recipient
cannot open gets the suffix ``.refused``. Whoever may write there can remove mail, and cannot read it."""

import asyncio
import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from mmplatform.errors import LocalError, MailDeclined, Unreachable
from mmplatform.identity.keys import SignId, raw_key
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost

MAX_ENVELOPE = 1024 * 1024 + 16 * 1024  # bytes
MAX_BOX = 64 * 1024 * 1024  # bytes that wait for one key
IN_HAND = 16  # envelopes at a time that the node is given
PAUSE = 60.0  # seconds after the folder could not be read


class FolderCarrier(MailCarrier):
    """``path`` must exist; by default it is what MM_FOLDER says. It is looked at ``every`` so many seconds."""

    schemes: ClassVar[tuple[str, ...]] = ("folder",)

    def __init__(self, path: str | Path = "", every: float = 1.0) -> None:
        if not (path := path or os.environ.get("MM_FOLDER", "")):
            raise LocalError("no folder is named: set MM_FOLDER, or use carriers=[FolderCarrier('/path')]")
        self._path, self._every = Path(path).absolute(), every
        self.address = self._path.as_uri().replace("file", "folder", 1)
        self._timer: asyncio.TimerHandle | None = None
        self._in_hand: set[Path] = set()
        self._left: dict[Path, tuple[SignId, bytes]] = {}  # for whom, id

    async def carry(self, host: MailHost) -> None:
        self._host, self._box = host, self._path / host.identity.sign_key.hex()
        try:
            self._box.mkdir(exist_ok=True)
        except OSError as error:
            raise LocalError(f"{self._path} cannot keep mail: {error.strerror}") from None
        await host.advertise("folder", [self.address])
        self._look()

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        if address != self.address:  # whoever signed that record must not choose where we write
            raise Unreachable(f"only mail in {self.address} is carried from here")
        path = self._path / raw_key(peer).hex() / mail_id.hex()
        try:
            await asyncio.to_thread(write, path, envelope, expires / 1000)
        except OSError as error:
            raise Unreachable(f"{path}: {error.strerror}") from None
        self._left[path] = (peer, mail_id)
        return expires

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        pause = self._every
        try:
            for about, path in entries(self._box):
                if about.st_mtime < self._host.now():
                    path.unlink(missing_ok=True)
                elif not path.suffix and path not in self._in_hand and len(self._in_hand) < IN_HAND:
                    with path.open("rb") as file:
                        envelope = file.read(MAX_ENVELOPE)
                    self._in_hand.add(path)
                    self._host.mail_received(envelope, partial(self._done, path))
            for path in [path for path in self._left if not path.exists()]:
                refused = path.with_suffix(".refused")
                self._host.mail_finished(*self._left.pop(path), "refused" if refused.exists() else "delivered")
                refused.unlink(missing_ok=True)
        except OSError as error:
            self._host.failed(error)
            pause = PAUSE
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _done(self, path: Path, taken: bool) -> None:
        self._in_hand.discard(path)
        with suppress(OSError):  # it is tried again
            path.unlink() if taken else path.rename(path.with_suffix(".refused"))


def entries(box: Path) -> list[tuple[os.stat_result, Path]]:
    """The files in it, in the order they expire, without those that go meanwhile."""
    found = []
    for path in box.iterdir():
        with suppress(FileNotFoundError):
            found.append((path.lstat(), path))
    return sorted((one for one in found if stat.S_ISREG(one[0].st_mode)), key=lambda one: one[0].st_mtime)


def write(path: Path, envelope: bytes, until: float) -> None:
    """Whole and on the disk, or not at all: its parts are gathered beside the boxes."""
    path.parent.mkdir(exist_ok=True)
    if sum(about.st_size for about, _ in entries(path.parent)) + len(envelope) > MAX_BOX:
        raise MailDeclined("overflow", retry=60.0)
    part = path.parent.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(envelope)
        file.flush()
        os.utime(file.fileno(), (until, until))
        os.fsync(file.fileno())
    part.rename(path)
    box = os.open(path.parent, os.O_RDONLY)
    os.fsync(box)
    os.close(box)
