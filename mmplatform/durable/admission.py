"""Lets senders in, in the order in which they came, as long as there is room for what they put.

Whoever was let in encodes and puts its message in the same turn of the loop, so that the next one sees what that took.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from mmplatform.durable.queues import Entering, PeerQueue
from mmplatform.errors import QueueFull

PEER_BYTES: Final = 256 * 1024 * 1024  # bytes that may wait for one peer before send() waits for room
SAVING_BYTES: Final = 16 * 1024 * 1024  # bytes for all peers that may be on their way to the disk, so in memory twice
WOKEN: Final = 256  # senders that are woken at once; each lets the next one look, too


class Admission:
    """Knows whether too much waits for a peer, or is on its way to the disk.

    ``check_open`` raises once no message is taken any more.
    """

    def __init__(self, check_open: Callable[[], None]) -> None:
        self.saving = 0  # bytes that were put and are not on disk yet
        self._check_open = check_open
        self._crowds: dict[str, PeerQueue] = {}  # queues in front of which senders wait
        self._for_several: deque[Entering] = deque()  # those that send to lists and wait for the disk

    def full(self, queue: PeerQueue) -> bool:
        """Whether nothing more should be put for the peer now."""
        return queue.bytes >= PEER_BYTES or self.saving >= SAVING_BYTES

    def check(self, queues: Iterable[PeerQueue]) -> None:
        """Raise QueueFull, which says for whom, when too much waits for the peer of one of ``queues``."""
        full = [queue.peer for queue in queues if queue.bytes >= PEER_BYTES]
        if full:
            raise QueueFull(f"{PEER_BYTES >> 20} MiB wait already for {', '.join(full)}; nobody was sent this")

    def crowded(self, queue: PeerQueue) -> bool:
        """Whether a sender has to wait in :meth:`enter`."""
        return bool(queue.entering) or queue.bytes >= PEER_BYTES or self.saving >= SAVING_BYTES

    async def enter(self, queue: PeerQueue) -> None:
        """Return when it is the caller's turn and there is room. Raises what ``check_open`` raises."""
        if not self.crowded(queue):
            return
        self._crowds[queue.peer] = queue
        try:
            await self._turn(queue.entering, lambda: self.full(queue))
        finally:
            if not queue.entering:
                del self._crowds[queue.peer]

    async def disk(self) -> None:
        """Return when it is the caller's turn, and there is room on the way to the disk: for a message to several, who
        must not wait for one of them that is away. Raises what ``check_open`` raises."""
        if self._for_several or self.saving >= SAVING_BYTES:
            await self._turn(self._for_several, lambda: self.saving >= SAVING_BYTES)
            self._check_open()  # the end gives room, too

    def relieve(self, queue: PeerQueue) -> None:
        """Let senders look again: something of the peer was settled, or all ends."""
        for sender in islice(queue.entering, WOKEN):
            sender.wake()

    def saved(self, size: int) -> None:
        """Let senders look again: so many bytes are on disk, or could not be saved."""
        self.saving -= size
        if self._for_several and self.saving < SAVING_BYTES:
            self._for_several[0].wake()
        if self._crowds and self.saving < SAVING_BYTES:
            for queue in list(self._crowds.values()):
                self.relieve(queue)

    async def _turn(self, senders: deque[Entering], full: Callable[[], bool]) -> None:
        """Stand behind ``senders``; return when all before have gone in, and nothing is ``full`` any more."""
        sender = Entering()
        senders.append(sender)
        try:
            while senders[0] is not sender or full():
                self._check_open()
                await sender.woken()
        finally:
            senders.remove(sender)
            if senders:
                senders[0].wake()
