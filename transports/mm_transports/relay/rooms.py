"""Who was told that a box is full, and is told when there is room again. Bounded: who falls out has ``retry``."""

from typing import Final

from mm_transports.relay.items import RELAY, Carried, Limits, Room
from mm_transports.relay.ports import Post, Session
from mm_transports.relay.stores.contract import MailStore
from mmplatform.errors import StorageError

BOXES: Final = 1024  # remembered
WAITING: Final = 256  # who wait for one box
CHECKS: Final = 64  # boxes looked at in one round

_Waiting = dict[tuple[bytes, bytes], Session | None]  # (sender, target) -> the relay that brought it


class Rooms:
    """Boxes that were full."""

    def __init__(self, key: bytes, store: MailStore, limits: Limits, post: Post) -> None:
        self._key, self._store, self._post = key, store, post
        self._bytes, self._count = limits.recipient_bytes, limits.recipient_count
        self._full: dict[bytes, _Waiting] = {}
        self._freed: set[bytes] = set()

    def crowded(self, box: bytes, sender: bytes, target: bytes, session: Session) -> None:
        """``sender`` found no room there."""
        waiting = self._full.setdefault(box, {})
        waiting[sender, target] = session if session.role == RELAY else None
        if len(waiting) > WAITING:
            del waiting[next(iter(waiting))]
        if len(self._full) > BOXES:
            del self._full[next(iter(self._full))]

    def freed(self, box: bytes) -> None:
        """Something has left the box: it is looked at in the next round."""
        if box in self._full:
            self._freed.add(box)

    async def check(self, *, all_boxes: bool = False) -> None:
        """Tell those who wait for a box that is below three quarters; ``all_boxes`` when other processes end mail."""
        if all_boxes:
            self._freed.update(list(self._full)[:CHECKS])
        for box in [self._freed.pop() for _ in range(min(CHECKS, len(self._freed)))]:
            if box not in self._full:
                continue
            try:
                count, size = await self._store.filled(box)
            except StorageError:
                self._freed.add(box)
                return
            if self._roomy(count, size):
                self._tell(self._full.pop(box, {}))
            elif box in self._full:
                self._full[box] = self._full.pop(box)  # to the end: all get their turn

    def _roomy(self, count: int, size: int) -> bool:
        return (not self._bytes or size * 4 < self._bytes * 3) and (not self._count or count * 4 < self._count * 3)

    def _tell(self, waiting: _Waiting) -> None:
        for (sender, target), relay in waiting.items():
            room = Room(target)
            if relay is not None:
                relay.tell(Carried(self._key, sender, room))
            else:
                self._post.tell(sender, room)
