"""The clock by which messages expire: that of the host, but for the first minute after a start at which it leapt.

A board with a flat battery boots in 2099, and a moment later NTP sets its clock. What waits must not have expired
meanwhile: nobody gets it back. A clock that is ahead of the last run by days may be right, as that of a laptop that was
off, so it is not asked who is wrong; there is a minute for it to be set.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from mmplatform.storage.contract import Storage, report_failure

DAY: Final = 24 * 3600.0
LEAP: Final = DAY  # seconds from one run to the next from which on the clock is doubted
PATIENCE: Final = 60.0  # seconds for it to be set
NOTE_EVERY: Final = 6 * 3600.0  # seconds between two notes of the time
ROW: Final = b"node/clock"  # Unix milliseconds, when a run was last seen


class ExpiryClock:
    """Gives Unix seconds, as the clock of the host does; they are behind it for a minute when it has leapt.

    ``now`` is that clock. One that an application gives is taken as it is. ``passed()`` is called when the minute is
    over.
    """

    def __init__(self, now: Callable[[], float], failed: Callable[[Exception], None]) -> None:
        self.passed: Callable[[], None] = lambda: None
        self._now, self._failed = now, failed
        self._behind = 0.0  # seconds
        self._timer: asyncio.TimerHandle | None = None
        self._storage: Storage

    def __call__(self) -> float:
        """Return the time by which messages expire."""
        return self._now() - self._behind

    async def open(self, storage: Storage) -> None:
        """Compare the clock with the end of the last run. Raises StorageError."""
        self._storage = storage
        saved = await storage.get(ROW) if self._now is time.time else None
        leapt = self._now() - int.from_bytes(saved or b"") / 1000
        if saved is not None and leapt > LEAP:
            self._behind = leapt
            self._later(PATIENCE)
        else:
            self._note()

    def close(self) -> None:
        """Note when this run was last seen, unless its clock is still in doubt."""
        if self._timer is not None:
            self._timer.cancel()
            if not self._behind:
                self._note()
                self._timer.cancel()
            self._timer = None

    def _note(self) -> None:
        """Take the clock as it is, and note the time."""
        self._later(NOTE_EVERY)
        if self._behind:
            self._behind = 0.0
            self.passed()
        row = (ROW, max(0, int(self._now() * 1000)).to_bytes(8))
        self._storage.write([row], sync=False).add_done_callback(partial(report_failure, self._failed))

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._note)
