"""From the rows of a lane on disk to what goes into one envelope: the next messages that are in no letter yet.

Mail has no window: what waits is read from disk, and the sending machine, which holds the front of it for the next
link, is only asked what is settled. In place of what needs no sending go tombstones, so that no number is missing.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from mmplatform.delivery.letters import RELAYED, Letter
from mmplatform.delivery.wire import OVERHEAD, Batch, Record, size_of, tombstone
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import Box, Row, Segment, Shelf, segments
from mmplatform.errors import CodecError
from mmplatform.storage.contract import Storage

LETTER_BYTES: Final = 64 * 1024  # of messages in one letter; a larger message has one to itself,
KEPT_BYTES: Final = 2 * 1024 * 1024  # a row that several letters are made of is read once, unless it is larger
LARGEST: Final = 1024 * 1024 - 16 * 1024  # up to this: an envelope holds no more


class Packed(NamedTuple):
    """What to seal. ``only``: the relay it must be left at, empty when any will do."""

    letter: Letter
    batch: Batch
    expires: int
    only: str


class Part(NamedTuple):
    """Some of the messages of one row."""

    row: Row
    first: int
    last: int


class Packer:
    """Reads rows of ``outbox`` from ``storage``."""

    def __init__(self, storage: Storage, outbox: Outbox, now: Callable[[], float]) -> None:
        self._storage, self._now = storage, now
        self._epoch_of, self._ordinal_of, self._cancelled = outbox.epoch_of, outbox.ordinal_of, outbox.is_cancelled
        self._last: tuple[bytes, Segment] | None = None  # a row that more than one letter is made of

    async def next(self, box: Box, lane: int) -> Packed | None:
        """Put the next messages of a lane in a letter. None when there are none, or ``why`` of the shelf says what
        keeps them from being mailed."""
        shelf = box.shelves[lane]
        shelf.why = ""
        while True:
            seen = box.letters.drops, shelf.dropped
            parts = self._unplanned(box, shelf)
            if not parts:
                return None
            epoch = self._epoch_of(parts[0].row.ordinal)
            if self._still_too_large(box, shelf, epoch, parts[0].first):
                return None
            only = self._relay_of_earlier(box, lane, epoch)
            if not epoch or only is None:
                shelf.why = "earlier messages are at several relays, or not yet at one; it goes behind them"
                return None
            held = await self._read(shelf, parts)
            if held is None:
                return None
            if seen == (box.letters.drops, shelf.dropped):
                break  # nothing of it was settled while it was read
        records = self._fill(box, shelf, epoch, range(parts[0].first, parts[-1].last + 1), held)
        more = len(records) <= parts[-1].last - parts[0].first or parts[-1].row is not shelf.rows[-1]
        if not records or not (more or any(record.topic for record in records)):
            return None
        letter = box.letters.plan(lane, epoch, records[0].seq, records[-1].seq)
        return self._packed(box, letter, records, only)

    async def again(self, box: Box, letter: Letter) -> Packed | None:
        """A letter of which it is not known that a relay keeps it, with what of it still waits."""
        shelf = box.shelves[letter.lane]
        while True:
            dropped = shelf.dropped
            rows = [
                row
                for row in shelf.rows
                if row.last >= letter.first and row.first <= letter.last and self._epoch_of(row.ordinal) == letter.epoch
            ]
            if not rows:
                box.letters.drop(letter)
                return None
            only = self._relay_of_earlier(box, letter.lane, letter.epoch)
            if only is None:
                return None
            held = await self._read(shelf, [Part(row, row.first, row.last) for row in rows])
            if held is None or box.letters.find(letter.id) is not letter:
                return None
            if dropped == shelf.dropped:
                break
        first = max(letter.first, box.sender.base(letter.lane, letter.epoch))
        records = self._fill(box, shelf, letter.epoch, range(first, letter.last + 1), held, LARGEST)
        if not records or records[-1].seq != letter.last:
            box.letters.drop(letter)
            return None
        return self._packed(box, letter, records, only)

    def _packed(self, box: Box, letter: Letter, records: list[Record], only: str) -> Packed:
        lane, epoch = letter.lane, letter.epoch
        base = box.sender.base(lane, epoch)
        if not base:  # nothing of this run is in memory, so none of it is settled
            base = next(r.first for r in box.shelves[lane].rows if self._epoch_of(r.ordinal) == epoch)
        expires = max((record.expires for record in records if record.topic), default=int(self._now() * 1000) + 1000)
        return Packed(letter, Batch(lane, epoch, min(base, records[0].seq), records, []), expires, only)

    def _unplanned(self, box: Box, shelf: Shelf) -> list[Part]:
        """The next of a lane that are in no letter: of rows of one run, without a gap, as much as one letter takes."""
        if shelf.drops != box.letters.drops:
            shelf.drops, shelf.mailed = box.letters.drops, 0
        start = max(shelf.mailed - shelf.dropped, 0)
        before = shelf.rows[start - 1] if 0 < start <= len(shelf.rows) else None
        parts: list[Part] = []
        size = 0
        for index, row in enumerate(islice(shelf.rows, start, None), start):
            epoch = self._epoch_of(row.ordinal)
            base = box.sender.base(shelf.lane, epoch)
            # Numbers that were never saved belong to the row behind them.
            first = before.last + 1 if before is not None and before.run == row.run else base or row.first
            before = row
            gap = box.letters.gap(shelf.lane, epoch, max(min(first, row.first), base), row.last)
            if parts and (
                gap is None
                or gap[0] != parts[-1].last + 1
                or row.run != parts[-1].row.run
                or size + row.size > LETTER_BYTES
            ):
                break
            if gap is None:
                shelf.mailed = shelf.dropped + index + 1
                continue
            parts.append(Part(row, *gap))
            size += row.size
            if gap[1] < row.last or size > LETTER_BYTES:
                break
        return parts

    async def _read(self, shelf: Shelf, parts: list[Part]) -> dict[int, Record] | None:
        if not parts:
            return {}
        wanted = [part.row.key for part in parts]
        if self._last is not None and wanted == [self._last[0]]:
            return {record.seq: record for record in self._last[1].records}
        prefix = wanted[0][:-20]
        rows = dict(await self._storage.scan(prefix, wanted[0], len(wanted)))
        held: dict[int, Record] = {}
        for key in wanted:
            try:
                segment = segments.decode(rows.get(key, b""))
            except CodecError:
                shelf.why = "damaged on this disk: it is put aside once the peer is linked"
                return None
            if len(wanted) == 1 and LETTER_BYTES < parts[0].row.size <= KEPT_BYTES:
                self._last = key, segment
            held |= {record.seq: record for record in segment.records}
        return held

    def _fill(
        self, box: Box, shelf: Shelf, epoch: int, wanted: range, held: dict[int, Record], budget: int = LETTER_BYTES
    ) -> list[Record]:
        now_ms = self._now() * 1000
        records: list[Record] = []
        for seq in wanted:
            record = held.get(seq)
            if record is None or self._needless(box, shelf, epoch, seq):
                record = tombstone(seq)
            elif record.expires <= now_ms:
                # Without its payload: the peer is the one to say whether it was in time.
                record = Record(seq, record.expires, record.topic, record.protocol, b"")
            size = size_of(record)
            if size > LARGEST:
                if not records:
                    shelf.too_large = epoch, seq, size - OVERHEAD
                    self._still_too_large(box, shelf, epoch, seq)
                break
            if records and size > budget:
                break
            budget -= size
            records.append(record)
        return records

    def _needless(self, box: Box, shelf: Shelf, epoch: int, seq: int) -> bool:
        return box.sender.settled(shelf.lane, epoch, seq) or self._cancelled(shelf.peer, shelf.lane, epoch, seq)

    def _still_too_large(self, box: Box, shelf: Shelf, epoch: int, seq: int) -> bool:
        """Whether the next message is one that was found to be too large; it need not be read again to know that."""
        if shelf.too_large[:2] != (epoch, seq) or self._needless(box, shelf, epoch, seq):
            return False
        shelf.why = f"a message of {shelf.too_large[2]} bytes is too large for mail: it waits for a link"
        return True

    def _relay_of_earlier(self, box: Box, lane: int, epoch: int) -> str | None:
        """Where a letter must go for its lane to stay in order: behind the letters of earlier runs, to their relay.
        Empty when there are none, None when it has to wait."""
        run = self._ordinal_of(epoch)
        earlier = [letter for letter in box.letters.others(lane, epoch) if self._ordinal_of(letter.epoch) < run]
        if not earlier:
            return ""
        relays = {letter.relay if letter.state >= RELAYED else "" for letter in earlier}
        return relays.pop() or None if len(relays) == 1 else None
