"""Remembers senders whose deposit was declined because a mailbox was full, and notifies them when it has room.

Bounded; forgotten senders retry after ``Declined.retry``.
"""

from collections.abc import Iterable
from typing import Final

from mm_relay.policy import Policy
from mm_relay.ports import Post, RelaySession
from mm_relay.stores.contract import MailStore
from mm_transports.relay.protocol.items import RELAY, Forwarded, Limits, RoomAgain
from mmplatform.errors import StorageError

BOXES: Final = 1024  # full boxes that are remembered
WAITING: Final = 256  # senders that wait for one box
CHECKS: Final = 64  # boxes looked at in one round

_Waiting = dict[tuple[bytes, bytes], RelaySession | None]  # (sender, target) -> the relay that brought it


class FullMailboxes:
    """The mailboxes that were full, and who waits for room in each."""

    def __init__(self, key: bytes, store: MailStore, limits: Limits, policy: Policy, post: Post) -> None:
        self._key, self._store, self._limits, self._policy, self._post = key, store, limits, policy, post
        self._full: dict[bytes, _Waiting] = {}
        self._freed: set[bytes] = set()
        self._of: dict[bytes, set[bytes]] = {}  # sender -> boxes where it waits, as its own quota may be full

    def crowded(self, box: bytes, sender: bytes, target: bytes, session: RelaySession) -> None:
        """Remember that ``sender`` found no room in ``box``."""
        waiting = self._full.setdefault(box, {})
        waiting[sender, target] = session if session.role == RELAY else None
        if len(waiting) > WAITING:
            del waiting[next(iter(waiting))]
        if len(self._full) > BOXES:
            del self._full[next(iter(self._full))]
        self._of.setdefault(sender, set()).add(box)
        if len(self._of) > BOXES:
            del self._of[next(iter(self._of))]

    def freed(self, box: bytes, senders: Iterable[bytes] = ()) -> None:
        """Look, in the next round, at ``box``, which mail of ``senders`` has left, and at the boxes they wait for."""
        for each in {box}.union(*(self._of.pop(sender, ()) for sender in senders)):
            if each in self._full:
                self._freed.add(each)

    async def check(self, *, all_boxes: bool = False) -> None:
        """Tell the senders that wait for a box that is below three quarters; ``all_boxes``: not only for freed ones."""
        if all_boxes:
            self._freed.update(list(self._full)[:CHECKS])
        for box in [self._freed.pop() for _ in range(min(CHECKS, len(self._freed)))]:
            try:
                count, size = await self._store.filled(box)
            except StorageError:
                self._freed.add(box)
                return
            waiting = self._full.pop(box, {})
            if self._roomy(box, waiting, count, size):
                self._tell(waiting)
            elif waiting:
                self._full[box] = waiting  # at the end: all get their turn

    def _roomy(self, box: bytes, waiting: _Waiting, count: int, size: int) -> bool:
        most_bytes, most = self._limits.recipient_bytes, self._limits.recipient_count
        if any(target != box for _, target in waiting):
            most_bytes, most = self._policy.relay_bytes, self._policy.relay_count
        return (not most_bytes or size * 4 < most_bytes * 3) and (not most or count * 4 < most * 3)

    def _tell(self, waiting: _Waiting) -> None:
        for (sender, target), relay in waiting.items():
            room = RoomAgain(target)
            if relay is not None:
                relay.tell(Forwarded(self._key, sender, room))
            else:
                self._post.tell(sender, room)
