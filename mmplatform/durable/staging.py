"""Says when what was put is saved: at the end of the turn of the loop, and what is for strangers with measure.

Anybody can make a key, and may cause a message to it with a few bytes, which costs a page of the database. So what
small messages to strangers cost has a measure; above it they wait a little, and share rows and transactions. What fills
pages does not count, and nothing of others waits.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.durable.queues import LaneQueue
from mmplatform.home import check_loop
from mmplatform.token_bucket import TokenBucket

PAGE: Final = 4096  # bytes that are written for a lane in a transaction, at least
WAITING: Final = 256 * 1024  # bytes of strangers that wait, at most: so many are dear by themselves
LONGEST: Final = 0.25  # seconds that they wait, at most


class Staging:
    """The lanes with messages that are not on their way to the disk. ``save`` takes all those whose time has come.

    ``known`` says who is no stranger, ``disk`` what may be written for those.
    """

    def __init__(
        self, save: Callable[[list[LaneQueue]], None], known: Callable[[str], bool], disk: TokenBucket
    ) -> None:
        self._save, self._known, self._disk = save, known, disk
        self._staged: list[LaneQueue] = []
        self._waiting: list[LaneQueue] = []  # of strangers
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, lane: LaneQueue) -> None:
        """Take note of a lane in which nothing was staged. Raises WrongLoop when it would not be saved."""
        check_loop(self._loop)
        if not self._staged:
            self._loop.call_soon(self._flush)
        self._staged.append(lane)

    def save_all(self) -> None:
        """Save everything now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lanes, self._staged, self._waiting = self._staged + self._waiting, [], []
        beyond = sum(max(0, PAGE - lane.staged_bytes) for lane in lanes if not self._known(lane.peer))
        if beyond:
            self._disk.spend(beyond, self._loop.time())
            self._disk.forgive()  # what is written all the same must not keep others from the disk for good
        self._save(lanes)

    def _flush(self) -> None:
        wait = self._disk.spend(0, self._loop.time())
        if not wait:
            self.save_all()
            return
        known: list[LaneQueue] = []
        for lane in self._staged:
            (known if self._known(lane.peer) else self._waiting).append(lane)
        if sum(lane.staged_bytes for lane in self._waiting) >= WAITING:
            self._staged = known
            self.save_all()
            return
        self._staged = []
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_later(min(wait, LONGEST), self.save_all)
        self._save(known)
