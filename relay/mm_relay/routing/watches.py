"""Remembers who wants to know when an absent peer signs in. Bounded: the oldest wishes are forgotten."""

from itertools import islice
from typing import Final

from mm_relay.routing.flows import Attachment

OF_PEER: Final = 256  # wishes of one peer
OF_RELAY: Final = 8192  # wishes that came through one relay or process
IN_ALL: Final = 131_072  # wishes in all


class Watches:
    """The wishes of all attachments."""

    def __init__(self) -> None:
        self._by_target: dict[bytes, dict[tuple[Attachment, bytes], None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, attachment: Attachment, source: bytes, target: bytes) -> None:
        """Remember that ``source``, who is at ``attachment``, wants to be told when ``target`` is present."""
        if (source, target) in attachment.watches:
            return
        if len(attachment.watches) >= (OF_PEER if attachment.is_peer else OF_RELAY):
            self._remove(attachment, *next(iter(attachment.watches)))
        if self._count >= IN_ALL:
            oldest = next(iter(self._by_target))
            self._remove(*self._first(oldest), oldest)
        attachment.watches[source, target] = None
        self._by_target.setdefault(target, {})[attachment, source] = None
        self._count += 1

    def targets(self, most: int) -> list[bytes]:
        """Return who is waited for, the longest first."""
        return list(islice(self._by_target, most))

    def take(self, target: bytes) -> list[tuple[Attachment, bytes]]:
        """Take out the wishes for ``target``, which is present now: attachments, with the source at each."""
        waiting = list(self._by_target.get(target, ()))
        for attachment, source in waiting:
            self._remove(attachment, source, target)
        return waiting

    def leave(self, attachment: Attachment) -> None:
        """Forget the wishes of an attachment that has ended."""
        for source, target in list(attachment.watches):
            self._remove(attachment, source, target)

    def _first(self, target: bytes) -> tuple[Attachment, bytes]:
        return next(iter(self._by_target[target]))

    def _remove(self, attachment: Attachment, source: bytes, target: bytes) -> None:
        del attachment.watches[source, target]
        waiting = self._by_target[target]
        del waiting[attachment, source]
        self._count -= 1
        if not waiting:
            del self._by_target[target]
