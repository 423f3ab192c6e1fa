"""What is on disk of what was handled of strangers: read when they come, bounded in all, written with measure."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import Ack
from mmplatform.durable.handled_rows import parse_key, prefix_of
from mmplatform.errors import CodecError, StorageCorrupt, StorageError
from mmplatform.storage.contract import Storage

BYTES: Final = 64 * 1024 * 1024  # of all their rows; a stranger who comes when these are full is not heard
COMMIT: Final = 4096  # bytes that a transaction writes beside its rows, about
ROW: Final = 62  # bytes of a key


def size_of(row: bytes) -> int:
    """Return the bytes of a row on the disk, with its key."""
    return ROW + len(row)


class Strangers:
    """The rows of strangers. ``unread``: those who are here and whose rows are not read yet. ``read(peer)`` is called
    when they are."""

    def __init__(self, storage: Storage, failed: Callable[[Exception], None], read: Callable[[str], None]) -> None:
        self.bytes = 0  # on disk
        self.unread: set[str] = set()
        self._storage, self._failed, self._read = storage, failed, read
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether nothing more of strangers is kept, so that nothing new of them can be taken in."""
        return self.bytes >= BYTES

    def met(self, peer: str) -> None:
        """Take note of a stranger of whom nothing is in memory; where no stranger left a row there is none to read."""
        if self.bytes:
            self.unread.add(peer)

    def reads(self, peer: str) -> bool:
        """Whether the rows of ``peer`` are being read, into the receiver that was given."""
        return peer in self._waiting

    def load(self, peer: str, receiver: Receiver, then: Callable[[], None]) -> None:
        """Give ``receiver`` what the rows of ``peer`` say, then call ``then``."""
        if peer not in self.unread:
            then()
            return
        waiting = self._waiting.setdefault(peer, [])
        waiting.append(then)
        if len(waiting) == 1:
            task = asyncio.get_running_loop().create_task(self._load(peer, receiver), name=f"mm rows of {peer}")
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    def saved(self, receiver: Receiver, checkpoint: list[tuple[Stream, bytes, Ack]]) -> int:
        """Count the rows that are being written of one stranger; return the bytes that go to the disk."""
        written = 0
        for stream, row, _ in checkpoint:
            self.bytes += size_of(row) - stream.row_size
            stream.row_size = size_of(row)
            written += stream.row_size
        self.bytes -= receiver.forgotten_bytes
        receiver.forgotten_bytes = 0
        return written

    async def close(self) -> None:
        """Read no more."""
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _load(self, peer: str, receiver: Receiver) -> None:
        try:
            for key, row in await self._storage.scan(prefix_of(peer)):
                try:
                    _, lane, epoch = parse_key(key)
                    receiver.restore(lane, epoch, row).row_size = size_of(row)
                except (CodecError, ValueError) as error:
                    self._failed(StorageCorrupt(f"what was handled of a stranger is damaged: {error}"))
        except StorageError as error:
            self._failed(error)
        self.unread.discard(peer)
        for then in self._waiting.pop(peer):
            then()
        self._read(peer)
