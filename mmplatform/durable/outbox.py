"""Keeps every accepted message until it is settled: saved first, then sent (design section 5).

What was put in one loop turn is one row a lane, saved in one transaction; the senders hold only the front of each
lane in memory, the rest is read back when its turn comes. Rows are deleted when all their messages are settled.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple
from weakref import ref

from mmplatform.codec import Decoder, Struct, encode
from mmplatform.delivery.letters import PREFIX as LETTERS
from mmplatform.delivery.letters import RELAYED, TOLD, Letter, peer_of
from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import OVERHEAD, Ack, Record, tombstone
from mmplatform.durable.queues import (
    PEER_BYTES,
    ROW_BYTES,
    Box,
    Row,
    Saving,
    Segment,
    Shelf,
    cancelled_key,
    parse_key,
    segments,
    split,
)  # fmt: skip
from mmplatform.errors import CodecError, NotRunning, StorageCorrupt, StorageError
from mmplatform.message import CANCELLED, DELIVERED, Delivery, Outcome, Priority, parse_id
from mmplatform.storage.contract import Row as StorageRow
from mmplatform.storage.contract import Storage

RESIDENT_BYTES: Final = 8 * 1024 * 1024  # of one lane, in memory while its peer is linked
AWAY_BYTES: Final = 1024 * 1024  # and while it is not
RUNS_KEPT: Final = 256  # earlier runs whose messages can still be asked for by id
DAMAGED: Final = Outcome("refused", False, "damaged on this disk before it was sent")
FATES_KEPT: Final = 10_000  # messages that ended otherwise than delivered stay known until this many newer ones did


class Fate(Struct, array_like=True):
    state: str
    reason: str


_fates = Decoder(Fate, 4096)
_runs = Decoder(list[tuple[int, int]], 1024 * 1024)


class Waiting(NamedTuple):
    """One message that is not settled; ``expires_in`` in seconds, ``size`` in bytes of payload. ``why`` is what keeps
    it from being mailed, when something does."""

    id: str
    peer: str
    topic: str
    size: int
    priority: str
    expires_in: float
    state: str
    why: str = ""


class Outbox:
    """The durable queue of a node. ``wake(peer)`` is called when there is something new to send to it."""

    def __init__(
        self,
        storage: Storage,
        epoch: int,
        now: Callable[[], float],
        wake: Callable[[str], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.epoch = epoch
        self._storage, self._now, self._wake, self._failed = storage, now, wake, failed
        self._boxes: dict[str, Box] = {}
        self._staged: list[Shelf] = []
        self._attached: list[StorageRow] = []
        self._deleted: list[StorageRow] = []
        self._deleting = False
        self._cancelled: set[tuple[str, int, int, int]] = set()
        self._epochs: dict[int, int] = {}  # ordinal of a run -> its epoch; keys sort by ordinal, so runs go in order
        self._ordinals: dict[int, int] = {}
        self._settled_waiters: list[tuple[Box | None, asyncio.Future[None]]] = []
        self._closed = False
        self.ended: Counter[str] = Counter()  # messages settled in this run, by state
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        """Take up what an earlier run left, and register this run's epoch."""
        self._loop = asyncio.get_running_loop()
        await self._take_up()
        await self._register()
        await self._take_up_cancelled()
        await self._take_up_letters()
        await self._forget_fates()

    async def close(self) -> None:
        """Save what is staged and stop reading; nothing that was accepted is lost."""
        if self._staged:
            self._flush()
        if self._deleted:
            self._delete_now()
        self._closed = True
        for box in self._boxes.values():
            self._relieve(box)
        loaders = [shelf.loader for box in self._boxes.values() for shelf in box.shelves if shelf.loader is not None]
        for loader in loaders:
            loader.cancel()
        await asyncio.gather(*loaders, return_exceptions=True)
        for box in self._boxes.values():
            for shelf in box.shelves:
                shelf.stop()

    def box(self, peer: str) -> Box:
        """What waits for ``peer``."""
        box = self._boxes.get(peer)
        if box is None:
            box = self._boxes[peer] = Box(peer, self._note)
        return box

    def boxes(self) -> list[Box]:
        """What waits, of everybody."""
        return list(self._boxes.values())

    def epoch_of(self, ordinal: int) -> int:
        """The epoch of a run, by its number on disk."""
        return self._epochs[ordinal]

    def ordinal_of(self, epoch: int) -> int:
        """The number on disk of the run with this epoch; 0 when it is not known."""
        return self._ordinals.get(epoch, 0)

    def is_cancelled(self, peer: str, lane: int, epoch: int, seq: int) -> bool:
        """Whether a message was taken back, and its row still holds it."""
        return (peer, lane, epoch, seq) in self._cancelled

    @property
    def accepted(self) -> int:
        """Messages put in this run."""
        return sum(shelf.next_seq - 1 for box in self._boxes.values() for shelf in box.shelves)

    @property
    def count(self) -> int:
        """About how many messages wait: those that were settled out of turn count until what is before them is."""
        return sum(
            row.last - max(row.first, box.sender.base(shelf.lane, self._epochs[row.ordinal])) + 1
            for box in self._boxes.values()
            for shelf in box.shelves
            for row in shelf.rows
        )

    def release(self, peer: str) -> None:
        """Forget a peer to whom nothing was ever sent in this run, and for whom nothing waits."""
        box = self._boxes.get(peer)
        if box is not None and box.empty and all(shelf.next_seq == 1 for shelf in box.shelves):
            del self._boxes[peer]

    def peers(self) -> list[str]:
        """Peers for whom something waits."""
        return [peer for peer, box in self._boxes.items() if not box.empty]

    def waits(self, peer: str) -> bool:
        """Whether something waits for ``peer``."""
        box = self._boxes.get(peer)
        return box is not None and not box.empty

    def put(
        self, box: Box, lane: int, topic: str, protocol: str, payload: bytes, expires_ms: int
    ) -> tuple[Delivery, asyncio.Future[None]]:
        """Accept one message. The future resolves once it is saved, or raises the StorageError that prevented it."""
        shelf = box.shelves[lane]
        seq = shelf.next_seq
        shelf.next_seq = seq + 1
        if not shelf.staged:
            self._stage(shelf)
        shelf.staged.append(Record(seq, expires_ms, topic, protocol, payload))
        saved = self._loop.create_future()
        shelf.waiters.append(saved)
        size = len(payload) + OVERHEAD
        shelf.staged_bytes += size
        box.bytes += size
        delivery = Delivery(shelf.peer, lane, self.epoch, seq)
        shelf.deliveries[seq] = ref(delivery)
        return delivery, saved

    def attach(self, rows: Sequence[StorageRow]) -> None:
        """Save ``rows`` in the same transaction as what was put in this loop turn."""
        self._attached += rows

    async def room(self, box: Box) -> None:
        """Wait until less than PEER_BYTES wait for the peer."""
        while box.bytes >= PEER_BYTES:
            self._check_open()
            if box.room is None or box.room.done():
                box.room = asyncio.get_running_loop().create_future()
            await asyncio.shield(box.room)

    async def empty(self, peer: str | None = None) -> None:
        """Wait until all that waits (for one peer, or for all) is settled."""
        while not (self.box(peer).empty if peer is not None else all(box.empty for box in self._boxes.values())):
            self._check_open()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settled_waiters.append((None if peer is None else self.box(peer), future))
            await future

    def acknowledge(self, peer: str, ack: Ack) -> None:
        """The peer handled these. What of them is still on disk only is settled as it is read."""
        box = self.box(peer)
        if ack.epoch not in self._ordinals:
            return
        settled = box.sender.acknowledge(ack)
        if settled is not None:
            self.settle(peer, settled)
        shelf = box.shelves[ack.lane]
        if shelf.loaded < len(shelf.rows):
            highest = max(ack.upto, ack.ranges[-1][1] if ack.ranges else 0)
            known = box.heard.get((ack.lane, ack.epoch))
            if highest > box.sender.top(ack.lane, ack.epoch) and (known is None or known.upto <= ack.upto):
                box.heard[ack.lane, ack.epoch] = ack

    def relayed(self, box: Box, letter: Letter) -> None:
        """Tell the deliveries in a letter whether it is at a relay."""
        shelf = box.shelves[letter.lane]
        if letter.epoch != self.epoch or not shelf.deliveries:
            return
        for seq in range(letter.first, letter.last + 1):
            held = shelf.deliveries.get(seq)
            delivery = held() if held is not None else None
            if delivery is not None:
                delivery.relayed = letter.state >= RELAYED

    def settle(self, peer: str, settled: Settled) -> None:
        """Tell the waiting of the outcomes and delete the rows that hold nothing else."""
        box = self.box(peer)
        shelf = box.shelves[settled.lane]
        self.ended["delivered"] += len(settled.seqs) - len(settled.outcomes)
        for seq, outcome in settled.outcomes.items():
            self.ended[outcome.state] += 1
            self._note_fate(f"{settled.epoch}.{settled.lane}.{seq}@{peer}", outcome)
        if settled.epoch == self.epoch:
            pop, outcomes = shelf.deliveries.pop, settled.outcomes
            for seq in settled.seqs:
                held = pop(seq, None)
                delivery = held() if held is not None else None
                if delivery is not None:
                    delivery.settle(outcomes.get(seq, DELIVERED) if outcomes else DELIVERED)
        if settled.epoch in self._ordinals:
            self._drop_rows(box, shelf, self._prefix(shelf, settled.epoch), settled.base)
            if box.letters:
                box.letters.settle(settled.lane, settled.epoch, settled.base)

    def refill(self, peer: str) -> None:
        """Read the next rows of lanes that run low; called when a link came up or something was settled."""
        box = self._boxes.get(peer)
        if box is None or self._closed:
            return
        for shelf in box.shelves:
            low = shelf.resident < (RESIDENT_BYTES // 2 if box.linked else 1)
            if low and shelf.loader is None and shelf.loaded < len(shelf.rows):
                shelf.loader = self._loop.create_task(self._load(box, shelf), name="mm outbox reader")

    async def waiting(self, peer: str | None = None) -> list[Waiting]:
        """What is not settled, oldest first within each peer and lane."""
        found: list[Waiting] = []
        now_ms = self._now() * 1000
        for name, box in list(self._boxes.items()):
            if peer is not None and name != peer:
                continue
            for shelf in box.shelves:
                for row in list(shelf.rows):
                    value = await self._storage.get(row.key)
                    try:
                        segment = segments.decode(value or b"")
                    except CodecError:
                        continue  # the loader reports it
                    for record in segment.records:
                        known = (name, shelf.lane, segment.epoch, record.seq)
                        settled = box.sender.settled(shelf.lane, segment.epoch, record.seq)
                        if not settled and known not in self._cancelled and record.expires > now_ms:
                            state = self._waiting_state(box, shelf.lane, segment.epoch, record.seq)
                            found.append(
                                Waiting(
                                    f"{segment.epoch}.{shelf.lane}.{record.seq}@{name}",
                                    name,
                                    record.topic,
                                    len(record.payload),
                                    Priority(shelf.lane).name.lower(),
                                    (record.expires - now_ms) / 1000,
                                    state,
                                    (shelf.why or box.why) if state == "waiting" else "",
                                )
                            )
        return found

    async def cancel(self, delivery_id: str) -> bool:
        """Take back one message. False when it is on its way, settled or unknown. Raises ValueError for a bad id."""
        peer, lane, epoch, seq = parse_id(delivery_id)
        box = self._boxes.get(peer)
        if box is None or await self.state(delivery_id) not in ("waiting", "sent"):
            return False
        if box.sender.holds(lane, epoch, seq) and box.sender.in_flight(lane, epoch, seq):
            return False
        if box.letters.state(lane, epoch, seq) >= TOLD:
            return False
        known = (peer, lane, epoch, seq)
        await self._storage.put(cancelled_key(known), b"")
        if known in self._cancelled:
            return True
        gone = self._place(box, lane, epoch, seq) not in ("waiting", "sent")
        gone = gone or box.letters.state(lane, epoch, seq) >= TOLD
        if gone or (box.sender.holds(lane, epoch, seq) and not box.sender.cancel(lane, epoch, seq)):
            self._delete(cancelled_key(known))  # it went out meanwhile
            return False
        self._cancelled.add(known)
        self.settle(peer, Settled(lane, epoch, box.sender.base(lane, epoch), [seq], {seq: CANCELLED}))
        self.refill(peer)
        return True

    async def state(self, delivery_id: str) -> str:
        """waiting | sent | relayed | delivered | expired | refused | cancelled | unknown. Raises ValueError for a bad
        id."""
        peer, lane, epoch, seq = parse_id(delivery_id)
        fate = await self._storage.get(b"fate/" + delivery_id.encode())
        if fate is not None:
            return _fates.decode(fate).state
        box = self._boxes.get(peer)
        if epoch not in self._ordinals or (box is None and epoch == self.epoch):
            return "unknown"
        if box is None:
            return "delivered"
        return self._place(box, lane, epoch, seq)

    def _place(self, box: Box, lane: int, epoch: int, seq: int) -> str:
        """The state of a message that is not known to have ended."""
        shelf, prefix = box.shelves[lane], self._prefix(box.shelves[lane], epoch)
        if box.sender.settled(lane, epoch, seq):
            return "delivered"
        if any(row.key.startswith(prefix) and row.first <= seq <= row.last for row in shelf.rows):
            return self._waiting_state(box, lane, epoch, seq)
        if epoch != self.epoch:
            return "delivered"
        return "waiting" if (shelf.staged or shelf.writing) and seq < shelf.next_seq else "unknown"

    def _waiting_state(self, box: Box, lane: int, epoch: int, seq: int) -> str:
        """The state of a message that is kept."""
        if box.linked and box.sender.in_flight(lane, epoch, seq):
            return "sent"
        return "relayed" if box.letters.state(lane, epoch, seq) >= RELAYED else "waiting"

    def _stage(self, shelf: Shelf) -> None:
        if not self._staged:
            self._loop.call_soon(self._flush)
        self._staged.append(shelf)
        if len(shelf.deliveries) > shelf.sweep_at:
            shelf.sweep()

    def _flush(self) -> None:
        shelves, self._staged = self._staged, []
        batch = [self._take_staged(shelf) for shelf in shelves]
        attached, self._attached = self._attached, []
        if not batch and not attached:
            return
        try:
            rows = [(row.key, encode(Segment(self.epoch, part))) for saving in batch for row, part in saving.parts]
            future = self._storage.write([*rows, *attached], sync=True)
        except Exception as error:
            self._not_saved(batch, error)
            return
        future.add_done_callback(lambda done: self._saved(batch, done))

    def _take_staged(self, shelf: Shelf) -> Saving:
        records, waiters, size = shelf.staged, shelf.waiters, shelf.staged_bytes
        shelf.staged, shelf.waiters, shelf.staged_bytes = [], [], 0
        shelf.writing += 1
        parts = [records] if size <= ROW_BYTES else split(records)
        return Saving(shelf, waiters, [(self._row(shelf, part), part) for part in parts])

    def _row(self, shelf: Shelf, records: list[Record]) -> Row:
        first, last = records[0].seq, records[-1].seq
        key = self._prefix(shelf, self.epoch) + first.to_bytes(8) + last.to_bytes(8)
        return Row(key, first, last, sum([len(record.payload) for record in records]) + OVERHEAD * len(records))

    def _saved(self, batch: list[Saving], done: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._not_saved(batch, error)
            return
        for shelf, waiters, parts in batch:
            shelf.writing -= 1
            box = self._boxes[shelf.peer]
            limit = RESIDENT_BYTES if box.linked else AWAY_BYTES
            for row, records in parts:
                shelf.rows.append(row)
                if shelf.loaded == len(shelf.rows) - 1 and shelf.resident < limit:
                    self._push(box, shelf, row, self.epoch, records)
            if shelf.loaded < len(shelf.rows):
                self.refill(shelf.peer)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._wake(shelf.peer)

    def _not_saved(self, batch: list[Saving], error: BaseException) -> None:
        """Their numbers are used again, unless later ones are given out: then :meth:`_push` fills the gap."""
        reason = error if isinstance(error, StorageError) else StorageError(str(error))
        for shelf, waiters, parts in batch:
            shelf.writing -= 1
            self._boxes[shelf.peer].bytes -= sum(row.size for row, _ in parts)
            for row, _ in parts:
                for seq in range(row.first, row.last + 1):
                    shelf.deliveries.pop(seq, None)
            if not (shelf.staged or shelf.writing) and shelf.next_seq == parts[-1][0].last + 1:
                shelf.next_seq = parts[0][0].first
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(reason)
            self._relieve(self._boxes[shelf.peer])

    def _push(self, box: Box, shelf: Shelf, row: Row, epoch: int, records: list[Record]) -> None:
        """Give one row to the sender; numbers that were never saved, or are damaged, become tombstones."""
        run, last = row.run, row.last
        before = shelf.pushed[1] if shelf.pushed[0] == run else row.first - 1
        if records and before + 1 == records[0].seq and len(records) == last - before and not self._cancelled:
            box.sender.push(shelf.lane, epoch, records)
        else:
            held = {r.seq: r for r in records if (shelf.peer, shelf.lane, epoch, r.seq) not in self._cancelled}
            box.sender.push(shelf.lane, epoch, [held.get(seq) or tombstone(seq) for seq in range(before + 1, last + 1)])
        shelf.pushed = (run, last)
        shelf.loaded += 1
        shelf.resident += row.size
        if box.sender.base(shelf.lane, epoch) > last:  # nothing of it needs to be sent
            self._drop_rows(box, shelf, run, last + 1)

    async def _load(self, box: Box, shelf: Shelf) -> None:
        try:
            limit = RESIDENT_BYTES if box.linked else AWAY_BYTES
            while shelf.loaded < len(shelf.rows) and shelf.resident < limit:
                row = shelf.rows[shelf.loaded]
                value = await self._storage.get(row.key)
                if shelf.loaded >= len(shelf.rows) or shelf.rows[shelf.loaded] is not row:
                    continue
                epoch, records = await self._read(row, value)
                self._push(box, shelf, row, epoch, records)
                if box.heard:
                    self._hear_again(box, shelf, epoch)
                if not records:
                    lost = range(row.first, row.last + 1)
                    base = box.sender.base(shelf.lane, epoch)
                    self.settle(shelf.peer, Settled(shelf.lane, epoch, base, list(lost), dict.fromkeys(lost, DAMAGED)))
                self._wake(shelf.peer)
        except StorageError as error:
            self._failed(error)
        finally:
            shelf.loader = None

    def _hear_again(self, box: Box, shelf: Shelf, epoch: int) -> None:
        """More was acknowledged than was in memory then."""
        ack = box.heard.get((shelf.lane, epoch))
        settled = box.sender.acknowledge(ack) if ack is not None else None
        if settled is not None:
            self.settle(shelf.peer, settled)
        if shelf.loaded >= len(shelf.rows):
            box.heard = {place: ack for place, ack in box.heard.items() if place[0] != shelf.lane}

    async def _read(self, row: Row, value: bytes | None) -> tuple[int, list[Record]]:
        """The records of a row; a damaged one is put aside and the rest goes on."""
        ordinal = row.ordinal
        epoch = self._epochs[ordinal]
        try:
            if value is None:
                raise CodecError("the row is gone")
            segment = segments.decode(value)
            if not epoch:  # the list of runs was damaged
                epoch = self._epochs[ordinal] = segment.epoch
                self._ordinals[epoch] = ordinal
            if segment.epoch != epoch or not segment.records:
                raise CodecError("the row is of another run")
            return epoch, segment.records
        except CodecError as error:
            self._failed(StorageCorrupt(f"messages {row.first} to {row.last} are damaged and were put aside: {error}"))
            await self._put_aside(row.key, value or b"")
            return epoch, []

    async def _put_aside(self, key: bytes, value: bytes) -> None:
        try:
            await self._storage.write([(b"quarantine/" + key, value), (key, None)])
        except StorageError as error:
            self._failed(error)

    def _drop_rows(self, box: Box, shelf: Shelf, prefix: bytes, base: int) -> None:
        rows = shelf.rows
        while rows and shelf.loaded:
            row = rows[0]
            if row.key.startswith(prefix):
                if row.last >= base:
                    break
            elif box.sender.base(shelf.lane, self._epochs[row.ordinal]) <= row.last:
                break  # by mail a later run may be settled before an earlier one
            rows.popleft()
            shelf.dropped += 1
            shelf.loaded -= 1
            shelf.resident -= row.size
            box.bytes -= row.size
            self._delete(row.key)
            if self._cancelled:
                self._forget_cancelled(shelf, row)
        self._relieve(box)

    def _forget_cancelled(self, shelf: Shelf, row: Row) -> None:
        place = (shelf.peer, shelf.lane, self._epochs[row.ordinal])
        for known in [c for c in self._cancelled if c[:3] == place and row.first <= c[3] <= row.last]:
            self._cancelled.discard(known)
            self._delete(cancelled_key(known))

    def _relieve(self, box: Box) -> None:
        """Wake those who wait for room, or for all to be settled."""
        if box.room is not None and not box.room.done() and (box.bytes < PEER_BYTES or self._closed):
            box.room.set_result(None)
        if self._settled_waiters and (box.empty or self._closed):
            waiters, self._settled_waiters = self._settled_waiters, []
            for _, waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _delete(self, key: bytes) -> None:
        """A deletion that is lost costs a repeated send, which the peer recognises: no need to wait or to sync."""
        if not self._deleting:
            self._deleting = True
            self._loop.call_soon(self._delete_now)
        self._deleted.append((key, None))

    def _delete_now(self) -> None:
        self._deleting = False
        rows, self._deleted = self._deleted, []
        if not rows:
            return
        try:
            self._storage.write(rows, sync=False).add_done_callback(partial(self._deletion_done, rows))
        except StorageError as error:
            self._failed(error)

    def _deletion_done(self, rows: list[StorageRow], done: asyncio.Future[None]) -> None:
        """What could not be deleted, as on a full disk, goes with the next."""
        if done.cancelled() or done.exception() is not None:
            self._deleted[:0] = rows

    def _note_fate(self, delivery_id: str, outcome: Outcome) -> None:
        if outcome.state == "delivered":
            return
        self._note((b"fate/" + delivery_id.encode(), encode(Fate(outcome.state, outcome.reason))))

    def _note(self, row: StorageRow) -> None:
        """Write what is no loss when it is lost."""
        try:
            self._storage.write([row], sync=False).add_done_callback(_ignore)
        except StorageError as error:
            self._failed(error)

    def _prefix(self, shelf: Shelf, epoch: int) -> bytes:
        lane = b"outbox/" + shelf.peer.encode() + b"/" + bytes([shelf.lane])
        return lane + self._ordinals[epoch].to_bytes(4)

    async def _register(self) -> None:
        """Give this run the next ordinal; runs of which nothing is left are forgotten beyond the last few."""
        known = await self._storage.get(b"node/epochs")
        try:
            runs = dict(_runs.decode(known)) if known else {}
        except CodecError as error:  # the rows say it too, see _read
            self._failed(StorageCorrupt(f"the list of earlier runs is damaged: {error}"))
            runs = {}
        held = {row.ordinal for box in self._boxes.values() for s in box.shelves for row in s.rows}
        runs[max({*runs, *held}, default=0) + 1] = self.epoch
        self._epochs = {ordinal: runs[ordinal] for ordinal in sorted(runs)[-RUNS_KEPT:]}
        self._epochs |= {ordinal: runs.get(ordinal, 0) for ordinal in held}
        self._ordinals = {epoch: ordinal for ordinal, epoch in self._epochs.items() if epoch}
        await self._storage.put(b"node/epochs", encode(sorted(self._epochs.items())))

    async def _take_up(self) -> None:
        start = b""
        while True:
            rows = await self._storage.scan(b"outbox/", start, limit=8)
            for key, value in rows:
                place = parse_key(key)
                if place is None:
                    self._failed(StorageCorrupt("a row of the outbox has a damaged key and was put aside"))
                    await self._put_aside(key, value)
                    continue
                peer, lane, first, last = place
                box = self.box(peer)
                box.shelves[lane].rows.append(Row(key, first, last, len(value)))
                box.bytes += len(value)
            if len(rows) < 8:
                return
            start = rows[-1][0] + b"\0"

    async def _take_up_cancelled(self) -> None:
        for key, _ in await self._storage.scan(b"cancelled/"):
            try:
                known = parse_id(key[10:].decode())
            except ValueError:
                known = ("", 0, 0, 0)
            box = self._boxes.get(known[0])
            if box is not None and any(row.first <= known[3] <= row.last for row in box.shelves[known[1]].rows):
                self._cancelled.add(known)
            else:
                self._delete(key)

    async def _take_up_letters(self) -> None:
        for key, value in await self._storage.scan(LETTERS):
            box = self._boxes.get(peer_of(key))
            try:
                if box is None:
                    raise CodecError("all in it is settled")
                letter = box.letters.restore(value)
                if letter.epoch not in self._ordinals or self._place(box, letter.lane, letter.epoch, letter.last) in (
                    "delivered",
                    "unknown",
                ):
                    box.letters.drop(letter)
            except CodecError:
                self._delete(key)  # at worst it is mailed once more

    async def _forget_fates(self) -> None:
        """Those of the oldest runs go first."""
        keys = [key for key, _ in await self._storage.scan(b"fate/")]
        if len(keys) > FATES_KEPT:
            for key in sorted(keys, key=self._age_of_fate)[: len(keys) - FATES_KEPT]:
                self._delete(key)

    def _age_of_fate(self, key: bytes) -> tuple[int, int]:
        try:
            _, _, epoch, seq = parse_id(key[5:].decode())
        except ValueError:
            return 0, 0
        return self._ordinals.get(epoch, 0), seq

    def _check_open(self) -> None:
        if self._closed:
            raise NotRunning("the platform is stopping")


def _ignore(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
