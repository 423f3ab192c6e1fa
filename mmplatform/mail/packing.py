"""Makes letters of the rows of a lane on disk: the next messages that are in no letter yet.

Mail has no window: messages are read from disk, and the sending machine, which holds the front of the lane for the next
link, is only asked which are settled. Tombstones stand for messages that need no sending, so that no number is missing.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from mmplatform.delivery.letters import RELAYED, Letter
from mmplatform.delivery.wire import OVERHEAD, Batch, Record, size_of, tombstone
from mmplatform.durable.fates import Fates
from mmplatform.durable.queues import LaneQueue, PeerQueue
from mmplatform.durable.rows import Row, segments
from mmplatform.durable.runs import Runs
from mmplatform.durable.shared import whole_records
from mmplatform.errors import CodecError
from mmplatform.storage.contract import Storage

LETTER_BYTES: Final = 64 * 1024  # bytes of messages in one letter; a larger message has a letter to itself
KEPT_BYTES: Final = 2 * 1024 * 1024  # the largest row that stays in memory until all letters are made of it
LARGEST: Final = 1024 * 1024 - 16 * 1024  # bytes of a message: an envelope holds no more


class Packed(NamedTuple):
    """What to seal. ``expires``: Unix milliseconds. ``only``: the relay it must be left at, empty when any will do."""

    letter: Letter
    batch: Batch
    expires: int
    only: str


class RowRange(NamedTuple):
    """Some of the messages of one row."""

    row: Row
    first: int
    last: int


class Packer:
    """Reads rows of an outbox from ``storage``; ``runs`` and ``fates`` are those of the outbox."""

    def __init__(self, storage: Storage, runs: Runs, fates: Fates, now: Callable[[], float]) -> None:
        self._storage, self._runs, self._fates, self._now = storage, runs, fates, now
        self._last: tuple[bytes, list[Record]] | None = None  # a row that more than one letter is made of

    async def next(self, queue: PeerQueue, lane: int) -> Packed | None:
        """Put the next messages of a lane in a letter; None when there are none, or when ``why`` of the lane says what
        keeps them from being mailed."""
        lane_queue = queue.lanes[lane]
        lane_queue.why = ""
        while True:
            seen = queue.letters.drops, lane_queue.dropped
            parts = self._unplanned(queue, lane_queue)
            if not parts:
                return None
            epoch = self._runs.epochs[parts[0].row.run]
            if self._still_too_large(queue, lane_queue, epoch, parts[0].first):
                return None
            only = self._relay_of_earlier(queue, lane, epoch)
            if not epoch or only is None:
                lane_queue.why = "earlier messages are at several relays, or not yet at one; it goes behind them"
                return None
            held = await self._read(lane_queue, parts)
            if held is None:
                return None
            if seen == (queue.letters.drops, lane_queue.dropped):
                break  # nothing was settled during the read
        records = self._fill(queue, lane_queue, epoch, range(parts[0].first, parts[-1].last + 1), held)
        more = len(records) <= parts[-1].last - parts[0].first or parts[-1].row is not lane_queue.rows[-1]
        if not records or not (more or any(record.topic for record in records)):
            return None
        letter = queue.letters.plan(lane, epoch, records[0].seq, records[-1].seq)
        return self._packed(queue, letter, records, only)

    async def again(self, queue: PeerQueue, letter: Letter) -> Packed | None:
        """Pack a planned letter again, which no relay is known to keep; None when nothing of it needs to be mailed."""
        lane_queue = queue.lanes[letter.lane]
        while True:
            dropped = lane_queue.dropped
            rows = [
                row
                for row in lane_queue.rows
                if row.last >= letter.first and row.first <= letter.last and self._runs.epochs[row.run] == letter.epoch
            ]
            if not rows:
                queue.letters.drop(letter)
                return None
            only = self._relay_of_earlier(queue, letter.lane, letter.epoch)
            if only is None:
                return None
            held = await self._read(lane_queue, [RowRange(row, row.first, row.last) for row in rows])
            if held is None or queue.letters.find(letter.id) is not letter:
                return None
            if dropped == lane_queue.dropped:
                break
        first = max(letter.first, queue.sender.base(letter.lane, letter.epoch))
        records = self._fill(queue, lane_queue, letter.epoch, range(first, letter.last + 1), held, LARGEST)
        if not records or records[-1].seq != letter.last:
            queue.letters.drop(letter)
            return None
        return self._packed(queue, letter, records, only)

    def _packed(self, queue: PeerQueue, letter: Letter, records: list[Record], only: str) -> Packed:
        lane, epoch = letter.lane, letter.epoch
        base = queue.sender.base(lane, epoch)
        if not base:  # nothing of this run is in memory, so none of it is settled
            base = next(r.first for r in queue.lanes[lane].rows if self._runs.epochs[r.run] == epoch)
        expires = max((record.expires for record in records if record.topic), default=int(self._now() * 1000) + 1000)
        return Packed(letter, Batch(lane, epoch, min(base, records[0].seq), records, []), expires, only)

    def _unplanned(self, queue: PeerQueue, lane_queue: LaneQueue) -> list[RowRange]:
        """Return the next messages of a lane that are in no letter: of one run, without a gap, one letter full."""
        if lane_queue.drops != queue.letters.drops:
            lane_queue.drops, lane_queue.mailed = queue.letters.drops, 0
        start = max(lane_queue.mailed - lane_queue.dropped, 0)
        before = lane_queue.rows[start - 1] if 0 < start <= len(lane_queue.rows) else None
        parts: list[RowRange] = []
        size = 0
        for index, row in enumerate(islice(lane_queue.rows, start, None), start):
            epoch = self._runs.epochs[row.run]
            base = queue.sender.base(lane_queue.lane, epoch)
            # Numbers that were never saved belong to the row behind them.
            first = before.last + 1 if before is not None and before.prefix == row.prefix else base or row.first
            before = row
            gap = queue.letters.gap(lane_queue.lane, epoch, max(min(first, row.first), base), row.last)
            if parts and (
                gap is None
                or gap[0] != parts[-1].last + 1
                or row.prefix != parts[-1].row.prefix
                or size + row.size > LETTER_BYTES
            ):
                break
            if gap is None:
                lane_queue.mailed = lane_queue.dropped + index + 1
                continue
            parts.append(RowRange(row, *gap))
            size += row.size
            if gap[1] < row.last or size > LETTER_BYTES:
                break
        return parts

    async def _read(self, lane_queue: LaneQueue, parts: list[RowRange]) -> dict[int, Record] | None:
        if not parts:
            return {}
        wanted = [part.row.key for part in parts]
        if self._last is not None and wanted == [self._last[0]]:
            return {record.seq: record for record in self._last[1]}
        prefix = wanted[0][:-20]
        rows = dict(await self._storage.scan(prefix, wanted[0], len(wanted)))
        held: dict[int, Record] = {}
        for key in wanted:
            try:
                segment = segments.decode(rows.get(key, b""))
                records = await whole_records(self._storage, segment)
            except CodecError:
                lane_queue.why = "damaged on this disk: it is put aside once the peer is linked"
                return None
            if len(wanted) == 1 and LETTER_BYTES < parts[0].row.size <= KEPT_BYTES:
                self._last = key, records
            held |= {record.seq: record for record in records}
        return held

    def _fill(
        self,
        queue: PeerQueue,
        lane_queue: LaneQueue,
        epoch: int,
        wanted: range,
        held: dict[int, Record],
        budget: int = LETTER_BYTES,
    ) -> list[Record]:
        now_ms = self._now() * 1000
        records: list[Record] = []
        for seq in wanted:
            record = held.get(seq)
            if record is None or self._needless(queue, lane_queue, epoch, seq):
                record = tombstone(seq)
            elif record.expires <= now_ms:
                # The payload stays here; the peer is the one to say whether the message came in time.
                record = Record(seq, record.expires, record.topic, record.protocol, b"")
            size = size_of(record)
            if size > LARGEST:
                if not records:
                    lane_queue.too_large = epoch, seq, size - OVERHEAD
                    self._still_too_large(queue, lane_queue, epoch, seq)
                break
            if records and size > budget:
                break
            budget -= size
            records.append(record)
        return records

    def _needless(self, queue: PeerQueue, lane_queue: LaneQueue, epoch: int, seq: int) -> bool:
        message = (queue.peer, lane_queue.lane, epoch, seq)
        return queue.sender.settled(lane_queue.lane, epoch, seq) or message in self._fates.cancelled

    def _still_too_large(self, queue: PeerQueue, lane_queue: LaneQueue, epoch: int, seq: int) -> bool:
        """Whether the next message was found to be too large before; this saves reading it again."""
        if lane_queue.too_large[:2] != (epoch, seq) or self._needless(queue, lane_queue, epoch, seq):
            return False
        lane_queue.why = f"a message of {lane_queue.too_large[2]} bytes is too large for mail: it waits for a link"
        return True

    def _relay_of_earlier(self, queue: PeerQueue, lane: int, epoch: int) -> str | None:
        """Return the relay to which a letter must go for its lane to stay in order: the one that keeps the letters of
        earlier runs. Empty when there are no such letters, None when the letter has to wait."""
        numbers = self._runs.numbers
        run = numbers.get(epoch, 0)
        earlier = [letter for letter in queue.letters.others(lane, epoch) if numbers.get(letter.epoch, 0) < run]
        if not earlier:
            return ""
        relays = {letter.relay if letter.state >= RELAYED else "" for letter in earlier}
        return relays.pop() or None if len(relays) == 1 else None
