"""Signed records of twins, kept in rows: the directory of one node. First come holds a number.

There is no order of arrival among nodes that do not trust each other, so a directory is that of a node one knows, not
a DHT (docs/adr/0059). It cannot forge a record, which the account of the twin signs, but it decides who holds a number.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from mm_transports.rmb.protocol.twin_record import MAX_TWIN_RECORD, TwinRecord
from mm_transports.rmb.twins.registry import Key
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import CodecError, InvalidRecord, StorageError
from mmplatform.identity.record_checks import reject
from mmplatform.storage.contract import Storage
from mmplatform.storage.reverting import Reverting

MAX_RECORDS: Final = 16384
PER_PUBLISHER: Final = 16  # numbers that came first from one publisher
HELD: Final = 32 * 24 * 3600  # seconds for which a number is kept for its account after the record expired
SWEEP: Final = 60.0  # seconds between two looks for what is to be forgotten
PROVEN_TOGETHER: Final = 50  # saved records that are verified in one turn of the loop


class RecordSource(Protocol):
    """Where a directory is: here, or at another node."""

    async def read(self, key: Key) -> bytes | None:
        """Return the record of the twin with this number, or with this account. Raises Unreachable."""
        ...

    async def publish(self, record: bytes) -> None:
        """Have a record kept. Raises InvalidRecord with the reason when it is not, Unreachable, StorageError."""
        ...


class _Row(Struct, array_like=True):
    record: bytes
    publisher: bytes


_rows = Decoder(_Row, MAX_TWIN_RECORD + 256)


class _Held(NamedTuple):
    record: TwinRecord
    publisher: bytes


class TwinDirectory:
    """The records that are kept here.

    Args:
        storage: has nothing but their rows.
        now: the time in Unix seconds.
        failed: told of rows that are damaged.
        most: how many records there may be.

    """

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], float],
        failed: Callable[[Exception], object],
        most: int = MAX_RECORDS,
    ) -> None:
        self._storage, self._now, self._failed, self._most = storage, now, failed, most
        self._held: dict[int, _Held] = {}
        self._numbers: dict[bytes, int] = {}
        self._publishers: Counter[bytes] = Counter()
        self._changes = Reverting[int, _Held | None](storage, self._set)
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._held)

    async def open(self) -> None:
        """Load what earlier runs kept; damaged rows are reported and left out."""
        for number, (key, value) in enumerate(await self._storage.scan(b""), 1):
            if number % PROVEN_TOGETHER == 0:
                await asyncio.sleep(0)
            try:
                row = _rows.decode(value)
                held = _Held(TwinRecord.proven(row.record), row.publisher)
            except (CodecError, InvalidRecord) as error:
                self._failed(error)
                continue
            if key == _key(held.record.twin.number):
                self._set(held.record.twin.number, held)

    async def read(self, key: Key) -> bytes | None:
        """Return the record of a twin, None when there is none that is in date."""
        number = key if isinstance(key, int) else self._numbers.get(key)
        held = self._held.get(number) if number is not None else None
        return held.record.data if held is not None and held.record.expires > self._now() else None

    def records(self) -> list[TwinRecord]:
        """Return the records that are in date, by number."""
        now = self._now()
        return [self._held[n].record for n in sorted(self._held) if self._held[n].record.expires > now]

    async def publish(self, record: bytes, publisher: bytes = b"") -> None:
        """Keep a record; returns once it would survive a power cut.

        ``publisher``: who brought it, and pays for the place when it is the first of its number; b"" is this node.
        Raises InvalidRecord, which begins with the reason, and StorageError.
        """
        made = TwinRecord.decode(record, self._now())
        self._sweep(made.twin.number)
        before = self._held.get(made.twin.number)
        if before is None or before.record.data != made.data:
            self._check(made, before, publisher)
        held = _Held(made, publisher if before is None else before.publisher)
        row = encode(_Row(made.data, held.publisher))
        written = self._changes.write(made.twin.number, (_key(made.twin.number), row), before, held)
        self._set(made.twin.number, held)
        await asyncio.shield(written)

    def _check(self, made: TwinRecord, before: _Held | None, publisher: bytes) -> None:
        """Raise InvalidRecord unless ``made`` may take the place of ``before``."""
        twin = made.twin
        if before is not None:
            if before.record.twin.account != twin.account:
                reject("taken", f"another account holds the number {twin.number}; choose another one")
            if before.record.seq >= made.seq:
                reject("older", f"there is one with the seq {before.record.seq}, this one has {made.seq}")
            return
        if (other := self._numbers.get(twin.account)) is not None:
            reject("second", f"this account holds the number {other}, and an account holds one")
        if publisher and self._publishers[publisher] >= PER_PUBLISHER:
            reject("quota", f"you brought {PER_PUBLISHER} twins; another one has a place when one of them is gone")
        if len(self._held) >= self._most:
            reject("full", f"there are {self._most} twins, for others there is no room")

    def _sweep(self, number: int) -> None:
        """Forget whose number is no longer kept: the one that is asked for, and all of them from time to time."""
        now, numbers = self._now(), [number]
        if abs(now - self._swept) >= SWEEP:
            self._swept, numbers = now, list(self._held)
        over = [n for n in numbers if n in self._held and self._held[n].record.expires + HELD <= now]
        for each in over:
            self._set(each, None)
        if over:
            with suppress(StorageError):  # the rows are looked at again after the next start
                self._storage.write([(_key(each), None) for each in over], sync=False).add_done_callback(_forgive)

    def _set(self, number: int, held: _Held | None) -> None:
        before = self._held.pop(number, None)
        if before is not None:
            self._numbers.pop(before.record.twin.account, None)
            self._publishers[before.publisher] -= 1
            if not self._publishers[before.publisher]:
                del self._publishers[before.publisher]
        if held is not None:
            self._held[number] = held
            self._numbers[held.record.twin.account] = number
            self._publishers[held.publisher] += 1


def _key(number: int) -> bytes:
    return number.to_bytes(4)


def _forgive(written: "asyncio.Future[None]") -> None:
    if not written.cancelled():
        written.exception()
