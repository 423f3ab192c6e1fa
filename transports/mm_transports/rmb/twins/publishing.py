"""Keeps the record of a twin in a directory: signs it anew every third of its life."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin_record import LASTS, TwinRecord
from mm_transports.rmb.twins.directory import RecordSource
from mmplatform.errors import InvalidRecord, StorageError, Unreachable

TRY_AGAIN: Final = 10.0  # seconds after a directory could not be reached; doubles up to a third of the life
LOOK: Final = 60.0  # seconds between two looks at the clock, which goes on while this machine sleeps


class TwinPublication:
    """The record of one twin.

    Args:
        source: the directory.
        keys: the secrets of the twin.
        number: its number.
        relays: the names of its relays.
        now: the time in Unix seconds.
        lasts: how many seconds a record is good.
        pause: waits for so many seconds.

    """

    def __init__(
        self,
        source: RecordSource,
        keys: TwinKeys,
        number: int,
        relays: Sequence[str],
        now: Callable[[], float],
        lasts: int = LASTS,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.trouble = ""
        self._source, self._keys, self._number, self._relays = source, keys, number, tuple(relays)
        self._now, self._lasts, self._pause = now, lasts, pause

    async def publish(self) -> TwinRecord:
        """Sign a record and have it kept. Raises InvalidRecord, as for a number that is taken, Unreachable."""
        now = self._now()
        seq = max(int(now * 1000), await self._last_seq() + 1)
        record = TwinRecord.create(self._keys, self._number, self._relays, seq, int(now) + self._lasts)
        await self._source.publish(record.data)
        return record

    async def run(self) -> None:
        """Keep the record there until this is cancelled. Raises InvalidRecord when the directory does not take it;
        :attr:`trouble` says why it cannot be reached, "" when it can."""
        again = TRY_AGAIN
        while True:
            try:
                await self.publish()
            except (StorageError, Unreachable) as error:
                self.trouble = str(error)
                wait, again = again, min(2 * again, self._lasts / 3)
            else:
                self.trouble, wait, again = "", self._lasts / 3, TRY_AGAIN
            until = self._now() + wait
            while (left := until - self._now()) > 0:
                await self._pause(min(LOOK, left))

    async def _last_seq(self) -> int:
        """Return the seq of our record that is there: our clock may have gone back since."""
        data = await self._source.read(self._number)
        try:
            record = TwinRecord.proven(data) if data is not None else None
        except InvalidRecord:
            return 0
        return record.seq if record is not None and record.twin.account == self._keys.account else 0
