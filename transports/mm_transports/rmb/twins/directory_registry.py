"""A registry that is a directory of signed records, which is not believed: each record is verified here.

What was seen once binds the directory: while that record is in date, neither an older one nor another account is taken
for its number.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.protocol.twin_record import TwinRecord
from mm_transports.rmb.twins.directory import RecordSource
from mm_transports.rmb.twins.registry import Key, TwinRegistry, is_of, told
from mmplatform.errors import InvalidRecord

MAX_SEEN: Final = 4096  # twins whose last record is remembered


class DirectoryRegistry(TwinRegistry):
    """The twins in one directory. ``now`` is the time in Unix seconds."""

    def __init__(self, name: str, source: RecordSource, now: Callable[[], float], seen: int = MAX_SEEN) -> None:
        self.name = name
        self._source, self._now, self._most = source, now, seen
        self._seen: OrderedDict[int, TwinRecord] = OrderedDict()

    async def find(self, key: Key) -> TwinInfo | None:
        record = await self.record(key)
        return record.twin if record is not None else None

    async def record(self, key: Key) -> TwinRecord | None:
        """Return the record of a twin. Raises what :meth:`find` does."""
        data = await self._source.read(key)
        if data is None:
            return None
        try:
            record = TwinRecord.decode(data, self._now())
        except InvalidRecord as error:
            raise InvalidRecord(f"{self.name} has no good record of {told(key)} ({error})") from None
        if not is_of(record.twin, key):
            raise InvalidRecord(f"{self.name} gave the record of another twin for {told(key)}")
        self._see(record)
        return record

    def _see(self, record: TwinRecord) -> None:
        number = record.twin.number
        before = self._seen.get(number)
        if before is not None and before.expires > self._now():
            if before.twin.account != record.twin.account:
                raise InvalidRecord(f"{self.name} has another account for twin {number} than before; ask who runs it")
            if before.seq > record.seq:
                raise InvalidRecord(f"{self.name} has an older record of twin {number} than before")
        self._seen[number] = record
        self._seen.move_to_end(number)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
