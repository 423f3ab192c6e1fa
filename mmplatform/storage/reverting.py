"""Saves values that count from the moment they are changed, and takes a change back that could not be saved.

Memory says what the disk says, then: who is told that a call failed finds all as it was, now and after a restart.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from mmplatform.storage.contract import Row, Storage

K = TypeVar("K")
V = TypeVar("V")


class _InHand(Generic[V]):
    """One value that is being saved, perhaps by several writes: what is on disk, and which write was the last."""

    def __init__(self, saved: V) -> None:
        self.saved = saved
        self.last = self.writes = 0


class Reverting(Generic[K, V]):
    """The values that are being saved. ``revert(key, value)`` has a value go back to what is on disk."""

    def __init__(self, storage: Storage, revert: Callable[[K, V], None]) -> None:
        self._storage, self._revert = storage, revert
        self._in_hand: dict[K, _InHand[V]] = {}

    def write(self, key: K, row: Row, before: V, now: V) -> asyncio.Future[None]:
        """Write the row of a value that is, or is about to be, changed in memory; the future is that of the write.

        Await it behind asyncio.shield(): of a write whose future is cancelled nobody learns how it ended.

        Args:
            key: names the value.
            row: says ``now``.
            before: what the value was until now.
            now: what it is from now on.

        """
        written = self._storage.write([row])
        in_hand = self._in_hand.setdefault(key, _InHand(before))
        in_hand.last += 1
        in_hand.writes += 1
        written.add_done_callback(partial(self._written, key, in_hand, in_hand.last, now))
        return written

    def _written(self, key: K, in_hand: _InHand[V], number: int, now: V, done: asyncio.Future[None]) -> None:
        in_hand.writes -= 1
        if not in_hand.writes:
            del self._in_hand[key]
        if not done.cancelled() and done.exception() is None:
            in_hand.saved = now
        elif number == in_hand.last:  # a later change stands on this one, and has its own end
            self._revert(key, in_hand.saved)
