"""Keeps every accepted message until it is settled: saved first, then sent.

What was put in one loop turn is one row a lane, saved in one transaction; the senders hold only the front of each
lane in memory, the rest is read back when its turn comes. Rows are deleted when all their messages are settled.
"""

import asyncio
import logging
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import ReferenceType, ref

from mmplatform.delivery.letters import RELAYED, Letter, peer_of
from mmplatform.delivery.receipts import PROTOCOL as RECEIPT
from mmplatform.delivery.receipts import Entry, encode_receipts
from mmplatform.delivery.sender import Settled
from mmplatform.delivery.wire import OVERHEAD, Ack, Record, tombstone
from mmplatform.durable.admission import Admission
from mmplatform.durable.earlier_rows import kept_letters, kept_rows, read_records, read_rows
from mmplatform.durable.expiry import ExpiryWatch
from mmplatform.durable.fates import Fates
from mmplatform.durable.peer_queues import PeerQueues
from mmplatform.durable.queues import READ_AGAIN, LaneQueue, PeerQueue, Saving
from mmplatform.durable.received import Received
from mmplatform.durable.rows import ROW_BYTES, MessageKey, Row, row_prefix, split
from mmplatform.durable.runs import Runs
from mmplatform.durable.shared import SHARED_FROM, SharedPayloads
from mmplatform.durable.staging import Staging
from mmplatform.durable.unsynced import UnsyncedRows, all_done, retrieve
from mmplatform.errors import CodecError, NotRunning, StorageError
from mmplatform.message import DELIVERED, Cancel, Delivery, Outcome, Priority, make_id
from mmplatform.storage.contract import Row as StorageRow
from mmplatform.storage.contract import Storage
from mmplatform.token_bucket import TokenBucket

RESIDENT_BYTES: Final = 8 * 1024 * 1024  # bytes of one lane that are in memory while its peer is linked
AWAY_BYTES: Final = 1024 * 1024  # bytes of one lane that are in memory while its peer is away
RECEIPT_EXPIRY: Final = 30 * 24 * 3600.0  # seconds after which a receipt is given up
LONGEST_PAUSE: Final = 60.0  # seconds until rows that could not be read are looked up again, at most
DAMAGED: Final = Outcome("refused", "damaged on this disk before it was sent")

log = logging.getLogger("mmplatform.durable")


class Outbox:
    """The durable queue of a node. ``wake(peer)`` is called when there is something new to send to ``peer``."""

    def __init__(
        self,
        storage: Storage,
        epoch: int,
        now: Callable[[], float],
        wake: Callable[[str], None],
        failed: Callable[[Exception], None],
        known: Callable[[str], bool],
        disk: TokenBucket,
    ) -> None:
        """``known`` says who is no stranger, ``disk`` what may be written for those."""
        self.epoch = epoch
        self.storage, self.now = storage, now
        self.runs = Runs(epoch)
        self.ended: Counter[str] = Counter()  # messages settled in this run, by state
        self._wake, self._failed = wake, failed
        self._unsynced = UnsyncedRows(storage, failed)
        self._queues = queues = PeerQueues(self._unsynced.put, self.runs)
        self._made = queues.made
        self.queue, self.find, self.find_made, self.peek = queues.of, queues.find, queues.made.get, queues.peek
        self.peers, self.waits = queues.waiting, queues.waits  # for whom something waits, and whether
        self.release, self.count_of = queues.release, queues.count_of
        self.fates = Fates(storage, self._unsynced, self.runs)
        self.shared = SharedPayloads(storage, self._unsynced, failed)
        self.received = Received(
            storage, self._unsynced, self.fates, self.ended, self._deliveries, self.acknowledge, self._unread, now
        )
        self.expiry = ExpiryWatch(self._made, now, self.settle, self.refill)
        self.admission = Admission(self._check_open)
        self._known, self._disk = known, disk
        self._staging: Staging
        self._attached: list[StorageRow] = []
        self.cancel: Cancel | None = None  # for the Deliveries made here; inspection.py has it
        self._opened = self._closed = False
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        """Load what earlier runs left, and register the epoch of this run. Raises StorageError."""
        self._loop = asyncio.get_running_loop()
        self._staging = Staging(self._save, self._known, self._disk)
        self._opened = True
        await self._take_up()
        await self.received.open()
        log.info("%d messages of earlier runs wait for %d peers", self.count, len(self.peers()))

    async def close(self) -> None:
        """Save what is staged and stop reading; no accepted message is lost. It may come before ``open`` is done."""
        if self._opened:
            self._staging.save_all()
        self._unsynced.close()
        self._closed = True
        self.expiry.close()
        self.received.close()
        for queue in self._made.values():
            self._relieve(queue)
        lanes = [lane_queue for queue in self._made.values() for lane_queue in queue.lanes]
        loaders = [lane_queue.loader for lane_queue in lanes if lane_queue.loader is not None]
        for loader in loaders:
            loader.cancel()
        await asyncio.gather(*loaders, return_exceptions=True)
        for lane_queue in lanes:
            lane_queue.stop()

    def queues(self) -> list[PeerQueue]:
        """Return the queues that were needed so far: of other peers, nothing but rows of earlier runs is known."""
        return list(self._made.values())

    @property
    def accepted(self) -> int:
        """Messages put in this run."""
        return self._queues.accepted

    @property
    def size(self) -> int:
        """Bytes of the messages that wait."""
        return self._queues.size

    @property
    def count(self) -> int:
        """About how many messages wait; one that was settled out of turn counts until all before it are settled."""
        return self._queues.count

    def put(
        self, queue: PeerQueue, lane: int, topic: str, protocol: str, payload: bytes, expires_ms: int
    ) -> tuple[Delivery, asyncio.Future[None]]:
        """Accept one message; the future resolves once the message is saved, or raises the StorageError."""
        lane_queue = queue.lanes.made.get(lane) or queue.lanes[lane]  # one call less for each message
        if not lane_queue.staged:
            self._staging.add(lane_queue)
            if len(lane_queue.deliveries) > lane_queue.sweep_at:
                lane_queue.sweep()
        seq = lane_queue.next_seq
        lane_queue.next_seq = seq + 1
        lane_queue.staged.append(Record(seq, expires_ms, topic, protocol, payload))
        saved: Future[None] = Future(loop=self._loop)
        lane_queue.waiters.append(saved)
        size = len(payload) + OVERHEAD
        lane_queue.staged_bytes += size
        queue.bytes += size
        self.admission.saving += size
        delivery = Delivery(lane_queue.peer, lane, self.epoch, seq, self.cancel)
        lane_queue.deliveries[seq] = ref(delivery)
        return delivery, saved

    async def put_all(
        self, queues: Sequence[PeerQueue], lane: int, topic: str, protocol: str, payload: bytes, expires_ms: int
    ) -> list[Delivery]:
        """Save one message for each of ``queues``, all or none; those with a large payload have it on disk once."""
        both = [self.put(queue, lane, topic, protocol, payload, expires_ms) for queue in queues]
        deliveries = [delivery for delivery, _ in both]
        if len(payload) >= SHARED_FROM:
            self.attach(self.shared.share(payload, self.runs.numbers[self.epoch], lane, deliveries))
        if not all(self._known(queue.peer) for queue in queues):
            self._staging.save_all()  # what waits for strangers would be saved later than the others
        await all_done([saved for _, saved in both])
        return deliveries

    def attach(self, rows: Sequence[StorageRow]) -> None:
        """Save ``rows`` in the same transaction as what was put for devices and friends in this loop turn."""
        self._attached += rows

    async def room(self, queue: PeerQueue) -> None:
        """Wait for room for one more message: see :class:`Admission`. Raises NotRunning when the outbox closes."""
        await self.admission.enter(queue)

    async def empty(self, peer: str | None = None) -> None:
        """Wait until no message (for one peer, or for all) waits. Raises NotRunning when the outbox closes first."""
        while waiting := self.peers() if peer is None else [peer] if self.waits(peer) else []:
            for queue in map(self.queue, waiting):  # in turn: looking at all whenever one is empty is quadratic
                while not queue.empty:
                    self._check_open()
                    if queue.emptied is None:
                        queue.emptied = self._loop.create_future()
                    await asyncio.shield(queue.emptied)

    def acknowledge(self, peer: str, ack: Ack) -> None:
        """Settle what ``peer`` has handled; messages that are on disk only are settled when they are read."""
        queue = self.queue(peer)
        if ack.epoch not in self.runs.numbers:
            return
        settled = queue.sender.acknowledge(ack)
        if settled is not None:
            self.settle(peer, settled)
        lane_queue = queue.lanes[ack.lane]
        if lane_queue.loaded < len(lane_queue.rows):
            highest = max(ack.upto, ack.ranges[-1][1] if ack.ranges else 0)
            known = queue.heard.get((ack.lane, ack.epoch))
            if highest > queue.sender.top(ack.lane, ack.epoch) and (known is None or known.upto <= ack.upto):
                queue.heard[ack.lane, ack.epoch] = ack

    def relayed(self, queue: PeerQueue, letter: Letter) -> None:
        """Tell the deliveries in a letter whether it is at a relay."""
        if letter.epoch == self.epoch:
            queue.lanes[letter.lane].relayed(letter.first, letter.last, letter.state >= RELAYED)

    def settle(self, peer: str, settled: Settled) -> None:
        """Tell the deliveries how their messages ended, and delete the rows whose messages are all settled."""
        queue = self.queue(peer)
        lane_queue = queue.lanes[settled.lane]
        kept = self.received.note(peer, settled) if settled.kept else ()
        self.ended["delivered"] += len(settled.seqs) - len(settled.outcomes) - len(kept)
        for seq, outcome in settled.outcomes.items():
            self.ended[outcome.state] += 1
            self.fates.note(make_id(peer, settled.lane, settled.epoch, seq), outcome)
        if settled.epoch == self.epoch:
            pop, outcomes = lane_queue.deliveries.pop, settled.outcomes
            for seq in settled.seqs:
                if seq in kept:
                    continue
                held = pop(seq, None)
                delivery = held() if held is not None else None
                if delivery is not None:
                    delivery.settle(outcomes.get(seq, DELIVERED) if outcomes else DELIVERED)
        run = self.runs.numbers.get(settled.epoch)
        if run is not None:
            self._drop_rows(queue, lane_queue, row_prefix(peer, settled.lane, run), settled.base)
            if queue.letters:
                queue.letters.settle(settled.lane, settled.epoch, settled.base)

    def tell_ends(self, peer: str, ends: list[Entry]) -> None:
        """Accept receipts for ``peer``, about its messages, and write them at once: they share one transaction with
        what was written just before."""
        expires = int((self.now() + RECEIPT_EXPIRY) * 1000)
        for payload in encode_receipts(ends):
            _, saved = self.put(self.queue(peer), Priority.CONTROL, RECEIPT, RECEIPT, payload, expires)
            saved.add_done_callback(retrieve)  # when it fails, so did the end, which is written and told again
        self._staging.save_all()

    def _deliveries(self, peer: str, lane: int, epoch: int) -> Mapping[int, ReferenceType[Delivery]]:
        """Return the Deliveries of a stream, by number: none when it is of an earlier run."""
        queue = self._made.get(peer)
        return queue.lanes[lane].deliveries if queue is not None and epoch == self.epoch else {}

    def refill(self, peer: str) -> None:
        """Read the next rows of lanes that run low; to be called when a link came up or something was settled."""
        queue = self._made.get(peer)
        if queue is None or self._closed:
            return
        for lane_queue in queue.lanes:
            low = lane_queue.resident < (RESIDENT_BYTES // 2 if queue.linked else 1)
            if low and lane_queue.loader is None and lane_queue.loaded < len(lane_queue.rows):
                lane_queue.loader = self._loop.create_task(self._load(queue, lane_queue), name="mm outbox reader")

    def _save(self, staged: list[LaneQueue]) -> None:
        batch = [self._take_staged(lane_queue) for lane_queue in staged]
        attached, self._attached = self._attached, []
        if not batch and not attached:
            return
        try:
            value = self.shared.value
            rows = [(row.key, value(self.epoch, row, part)) for saving in batch for row, part in saving.parts]
            future = self.storage.write([*rows, *attached], sync=True)
        except Exception as error:
            self._not_saved(batch, error)
            return
        future.add_done_callback(lambda done: self._saved(batch, done))

    def _take_staged(self, lane_queue: LaneQueue) -> Saving:
        records, waiters, size = lane_queue.staged, lane_queue.waiters, lane_queue.staged_bytes
        lane_queue.staged, lane_queue.waiters, lane_queue.staged_bytes = [], [], 0
        lane_queue.writing += 1
        parts = [records] if size <= ROW_BYTES else split(records)
        return Saving(lane_queue, size, waiters, [(self._row(lane_queue, part), part) for part in parts])

    def _row(self, lane_queue: LaneQueue, records: list[Record]) -> Row:
        first, last = records[0].seq, records[-1].seq
        prefix = row_prefix(lane_queue.peer, lane_queue.lane, self.runs.numbers[self.epoch])
        key = prefix + first.to_bytes(8) + last.to_bytes(8)
        return Row(key, first, last, sum([len(record.payload) for record in records]) + OVERHEAD * len(records))

    def _saved(self, batch: list[Saving], done: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._not_saved(batch, error)
            return
        for lane_queue, size, waiters, parts in batch:
            lane_queue.writing -= 1
            self.admission.saved(size)
            queue = self._made[lane_queue.peer]
            limit = RESIDENT_BYTES if queue.linked else AWAY_BYTES
            for row, records in parts:
                lane_queue.add(row)
                if lane_queue.loaded == len(lane_queue.rows) - 1 and lane_queue.resident < limit:
                    self._push(queue, lane_queue, row, self.epoch, records)
            if lane_queue.loaded < len(lane_queue.rows):
                self.refill(lane_queue.peer)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.expiry.watch(queue)
            self._wake(lane_queue.peer)

    def _not_saved(self, batch: list[Saving], error: BaseException) -> None:
        """Reuse the sequence numbers of this failed write if no later number was assigned; otherwise :meth:`_push`
        sends tombstones for them."""
        reason = error if isinstance(error, StorageError) else StorageError(str(error))
        for lane_queue, size, waiters, parts in batch:
            lane_queue.writing -= 1
            self._made[lane_queue.peer].bytes -= size
            self.admission.saved(size)
            for row, _ in parts:
                for seq in range(row.first, row.last + 1):
                    lane_queue.deliveries.pop(seq, None)
                if self.shared.wanted:
                    self.shared.release(row)
            if not (lane_queue.staged or lane_queue.writing) and lane_queue.next_seq == parts[-1][0].last + 1:
                lane_queue.next_seq = parts[0][0].first
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(reason)
            self._relieve(self._made[lane_queue.peer])

    def _push(self, queue: PeerQueue, lane_queue: LaneQueue, row: Row, epoch: int, records: list[Record]) -> None:
        """Give one row to the sender; numbers that were never saved, or are damaged, become tombstones."""
        prefix, last, lane, cancelled = row.prefix, row.last, lane_queue.lane, self.fates.cancelled
        before = lane_queue.pushed[1] if lane_queue.pushed[0] == prefix else row.first - 1
        if records and before + 1 == records[0].seq and len(records) == last - before and not cancelled:
            queue.sender.push(lane, epoch, records)
        else:
            held = {r.seq: r for r in records if (queue.peer, lane, epoch, r.seq) not in cancelled}
            queue.sender.push(lane, epoch, [held.get(seq) or tombstone(seq) for seq in range(before + 1, last + 1)])
        lane_queue.pushed = (prefix, last)
        lane_queue.loaded += 1
        lane_queue.resident += row.size
        if queue.sender.base(lane, epoch) > last:  # all of the row is settled
            self._drop_rows(queue, lane_queue, prefix, last + 1)

    async def _load(self, queue: PeerQueue, lane_queue: LaneQueue) -> None:
        try:
            limit = RESIDENT_BYTES if queue.linked else AWAY_BYTES
            while rows := lane_queue.unread(limit):
                values = await read_rows(self.storage, rows)
                for row in rows:
                    if lane_queue.loaded >= len(lane_queue.rows) or lane_queue.rows[lane_queue.loaded] is not row:
                        break  # settled meanwhile: look again
                    epoch, records = await read_records(self.storage, self.runs, self._failed, row, values.get(row.key))
                    self._push(queue, lane_queue, row, epoch, records)
                    if queue.heard:
                        self._hear_again(queue, lane_queue, epoch)
                    if not records:
                        self._give_up(queue, lane_queue.lane, row, epoch)
                lane_queue.pause = READ_AGAIN
                self.expiry.watch(queue)
                self._wake(queue.peer)
        except StorageError as error:
            self._failed(error)
            self._loop.call_later(lane_queue.pause, self.refill, queue.peer)  # perhaps nothing else would
            lane_queue.pause = min(2 * lane_queue.pause, LONGEST_PAUSE)
        finally:
            lane_queue.loader = None

    def _give_up(self, queue: PeerQueue, lane: int, row: Row, epoch: int) -> None:
        """End the messages of a damaged row."""
        lost = range(row.first, row.last + 1)
        base = queue.sender.base(lane, epoch)
        self.settle(queue.peer, Settled(lane, epoch, base, list(lost), dict.fromkeys(lost, DAMAGED)))

    def _hear_again(self, queue: PeerQueue, lane_queue: LaneQueue, epoch: int) -> None:
        """Settle messages that were acknowledged while they were on disk only."""
        ack = queue.heard.get((lane_queue.lane, epoch))
        settled = queue.sender.acknowledge(ack) if ack is not None else None
        if settled is not None:
            self.settle(lane_queue.peer, settled)
        if lane_queue.loaded >= len(lane_queue.rows):
            queue.heard = {place: ack for place, ack in queue.heard.items() if place[0] != lane_queue.lane}

    def _drop_rows(self, queue: PeerQueue, lane_queue: LaneQueue, prefix: bytes, base: int) -> None:
        rows = lane_queue.rows
        while rows and lane_queue.loaded:
            row = rows[0]
            if row.key.startswith(prefix):
                if row.last >= base:
                    break
            elif queue.sender.base(lane_queue.lane, self.runs.epochs[row.run]) <= row.last:
                break  # mail may settle a later run before an earlier one
            lane_queue.drop()
            queue.bytes -= row.size
            self._unsynced.delete(row.key)
            if self.shared.wanted:
                self.shared.release(row)
            if self.fates.cancelled:
                self.fates.drop_marks(queue.peer, lane_queue.lane, row)
        self._relieve(queue)

    def _relieve(self, queue: PeerQueue) -> None:
        """Wake those who wait for room, or for all to be settled."""
        if queue.entering and (self._closed or not self.admission.full(queue)):
            self.admission.relieve(queue)
        if queue.emptied is not None and (queue.empty or self._closed):
            queue.emptied.set_result(None)
            queue.emptied = None

    async def _take_up(self) -> None:
        """Take up what earlier runs left, and register the epoch of this run."""
        await self.shared.open()
        runs: set[int] = set()
        async for page in kept_rows(self.storage, self._failed):
            for peer, row in page:
                self._queues.rest(peer, self.shared.take_up(row))
                runs.add(row.run)
        self.shared.sweep()
        await self.runs.register(self.storage, runs, self._failed)
        await self.fates.restore(self._keeps)
        async for letters in kept_letters(self.storage):
            for key, value in letters:
                self._take_up_letter(key, value)

    def _take_up_letter(self, key: bytes, value: bytes) -> None:
        queue = self.find(peer_of(key))
        try:
            if queue is None:
                raise CodecError("all in it is settled")
            letter = queue.letters.restore(value)
            run, lane_queue = self.runs.numbers.get(letter.epoch), queue.lanes[letter.lane]
            if run is None or not lane_queue.keeps(row_prefix(queue.peer, letter.lane, run), letter.last):
                queue.letters.drop(letter)
        except CodecError:
            self._unsynced.delete(key)  # at worst the letter is mailed once more

    def _unread(self, peer: str, lane: int, low: int, high: int) -> bool:
        """Whether a row that the sender has not got holds a message of one of these numbers."""
        queue = self.find(peer)
        return queue is not None and queue.lanes[lane].unread_holds(low, high)

    def _keeps(self, message: MessageKey) -> bool:
        """Whether a row holds the message, or one of a run whose epoch is not known has its number."""
        peer, lane, epoch, seq = message
        queue = self.find(peer)
        if queue is None:
            return False
        run = self.runs.numbers.get(epoch)
        runs = [run] if run is not None else [run for run, known in self.runs.epochs.items() if not known]
        return any(queue.lanes[lane].keeps(row_prefix(peer, lane, run), seq) for run in runs)

    def _check_open(self) -> None:
        if self._closed:
            raise NotRunning("the platform is stopping")
