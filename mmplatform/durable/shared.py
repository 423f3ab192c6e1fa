"""Payloads that several messages share: what goes to a list is on disk once, however many receive it.

Such a payload is a row of its own, and beside it a row names the messages that want it; both are saved in the
transaction that saves those messages, whose rows have a reference in its place. How many still want a payload is
counted in memory and found anew at each start. It is deleted in the transaction that deletes the last such row.
"""

from collections.abc import Callable, Sequence
from typing import Final

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.wire import Record
from mmplatform.durable.rows import Row, Segment, SharingSegment, row_prefix
from mmplatform.durable.unsynced import UnsyncedRows
from mmplatform.errors import CodecError, StorageCorrupt
from mmplatform.message import Delivery
from mmplatform.storage.contract import Row as StorageRow
from mmplatform.storage.contract import Storage

PAYLOADS: Final = b"payload/"  # the start of the keys of all shared payloads
SHARED: Final = b"shared/"  # the start of the keys of the rows that say who wants them
PAGE: Final = 256  # rows that are looked up at once at the start
SHARED_FROM: Final = 1024  # bytes of a payload: a smaller one in each row costs less than two rows more


class WantedBy(Struct, array_like=True):
    """Which messages want one payload of ``size`` bytes: their lane, and the peer and the number of each."""

    lane: int
    size: int
    messages: list[tuple[str, int]]


_wanted = Decoder(WantedBy, 64 * 1024 * 1024)


class SharedPayloads:
    """Knows which messages in the rows of an outbox share a payload.

    ``wanted``: prefix of rows -> number of a message -> the name of its payload; for reading only.
    """

    def __init__(self, storage: Storage, unsynced: UnsyncedRows, failed: Callable[[Exception], None]) -> None:
        self.wanted: dict[bytes, dict[int, bytes]] = {}
        self._storage, self._unsynced, self._failed = storage, unsynced, failed
        self._earlier: dict[bytes, dict[int, bytes]] = {}  # those of earlier runs, until their rows are found
        self._uses: dict[bytes, int] = {}  # name of a payload -> messages that want it
        self._sizes: dict[bytes, int] = {}
        self._made = 0

    async def open(self) -> None:
        """Find which payloads earlier runs left; none of them is read."""
        start = SHARED
        while True:
            found = await self._storage.scan(SHARED, start, PAGE)
            for key, value in found:
                try:
                    self._note(key[len(SHARED) :], _wanted.decode(value), self._earlier)
                except CodecError as error:
                    self._failed(StorageCorrupt(f"who shares a payload cannot be read, so it stays: {error}"))
            if len(found) < PAGE or found[-1][0] < start:
                return
            start = found[-1][0] + b"\0"

    def take_up(self, row: Row) -> Row:
        """Return a row that an earlier run left, as large as it is in memory: with the payloads that it shares."""
        earlier = self._earlier.get(row.prefix)
        if earlier is None:
            return row
        here = {seq: earlier.pop(seq) for seq in _within(earlier, row)}
        if here:
            self.wanted.setdefault(row.prefix, {}).update(here)
        return row._replace(size=row.size + sum(self._sizes[name] for name in here.values()))

    def sweep(self) -> None:
        """Forget the messages that are in no row any more, once all rows are taken up."""
        for numbers in self._earlier.values():
            for name in numbers.values():
                self._give_back(name)
        self._earlier = {}

    def share(self, payload: bytes, run: int, lane: int, deliveries: Sequence[Delivery]) -> list[StorageRow]:
        """Let the messages of ``deliveries`` share their payload; return the rows to save with them."""
        self._made += 1
        name = run.to_bytes(4) + self._made.to_bytes(8)
        wanted = WantedBy(lane, len(payload), [(delivery.peer, delivery.seq) for delivery in deliveries])
        self._note(name, wanted, self.wanted)
        return [(PAYLOADS + name, payload), (SHARED + name, encode(wanted))]

    def value(self, epoch: int, row: Row, records: list[Record]) -> bytes:
        """Return the value of a row, without the payloads that its messages share."""
        names = self.wanted.get(row.prefix) if self.wanted else None
        if names is None or not _within(names, row):
            return encode(Segment(epoch, records))
        shared = [(each.seq, len(each.payload), names[each.seq]) for each in records if each.seq in names]
        bare = [_with_payload(each, b"") if each.seq in names else each for each in records]
        return encode(SharingSegment(epoch, bare, shared))

    def release(self, row: Row) -> None:
        """Forget the messages of a row that is being deleted, or was not saved."""
        names = self.wanted.get(row.prefix)
        if names is None:
            return
        for seq in _within(names, row):
            self._give_back(names.pop(seq))
        if not names:
            del self.wanted[row.prefix]

    def _note(self, name: bytes, wanted: WantedBy, into: dict[bytes, dict[int, bytes]]) -> None:
        run = int.from_bytes(name[:4])
        self._uses[name], self._sizes[name] = len(wanted.messages), wanted.size
        for peer, seq in wanted.messages:
            into.setdefault(row_prefix(peer, wanted.lane, run), {})[seq] = name

    def _give_back(self, name: bytes) -> None:
        """Count one message less; the last one takes the payload with it."""
        self._uses[name] -= 1
        if not self._uses[name]:
            del self._uses[name], self._sizes[name]
            self._unsynced.delete(PAYLOADS + name)
            self._unsynced.delete(SHARED + name)


async def whole_records(storage: Storage, segment: SharingSegment) -> list[Record]:
    """Return the records of a row with the payloads that they share. Raises CodecError when one is missing."""
    if not segment.shared:
        return segment.records
    payloads = {seq: await storage.get(PAYLOADS + name) for seq, _, name in segment.shared}
    if None in payloads.values():
        raise CodecError("a payload that it shares is gone")
    return [_with_payload(each, payloads.get(each.seq) or each.payload) for each in segment.records]


def _with_payload(record: Record, payload: bytes) -> Record:
    return Record(record.seq, record.expires, record.topic, record.protocol, payload)


def _within(numbers: dict[int, bytes], row: Row) -> list[int]:
    """Return those of ``numbers`` that are in a row; looks at its numbers, or at all of these if they are fewer."""
    if row.last - row.first < len(numbers):
        return [seq for seq in range(row.first, row.last + 1) if seq in numbers]
    return [seq for seq in numbers if row.first <= seq <= row.last]
