"""Streams that a peer asks for again: it has left some of their messages with us. Sent again with measure."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.receiver import MAX_STREAMS
from mmplatform.delivery.sender import Sender

AGAIN_EVERY: Final = 1.0  # seconds between two times of sending streams again


class Rewinds:
    """Sends streams of ``sender`` again that are not acknowledged; ``due`` is called when something is to be sent."""

    def __init__(self, sender: Sender, due: Callable[[], None]) -> None:
        self._sender, self._due = sender, due
        self._wanted: set[tuple[int, int]] = set()
        self._last = -AGAIN_EVERY
        self.asking = False  # whether the peer is to be asked in a while for what was left with it
        self._loop = asyncio.get_running_loop()

    def ask(self, lane: int, epoch: int) -> None:
        """Send the messages of a stream again; at most once in AGAIN_EVERY seconds."""
        if not self._wanted:
            self._loop.call_later(max(0.0, self._last + AGAIN_EVERY - self._loop.time()), self._rewind)
        if len(self._wanted) < MAX_STREAMS:
            self._wanted.add((lane, epoch))

    def _rewind(self) -> None:
        self._last = self._loop.time()
        for lane, epoch in self._wanted:
            self._sender.again(lane, epoch)
        self._wanted.clear()
        self._due()
