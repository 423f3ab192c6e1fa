"""Tells what waits in an outbox, and in which state; takes messages back."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from mmplatform.delivery.letters import RELAYED, TOLD
from mmplatform.delivery.sender import Settled
from mmplatform.durable.earlier_rows import read_rows
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import LaneQueue, PeerQueue
from mmplatform.durable.rows import READ_ROWS, MessageKey, first_of, row_prefix, segments
from mmplatform.errors import CodecError
from mmplatform.message import CANCELLED, LastState, Priority, make_id, parse_id


class QueuedMessage(NamedTuple):
    """One message that is not settled.

    ``size``: bytes of payload. ``expires_in``: seconds. ``why``: what keeps the message from being mailed, "" when
    nothing does. ``protocol``: whose message it is.
    """

    id: str
    peer: str
    topic: str
    size: int
    priority: str
    expires_in: float
    state: LastState
    why: str
    protocol: str


async def queued(outbox: Outbox, peer: str | None = None) -> AsyncIterator[QueuedMessage]:
    """Give the messages that are not settled, of one peer or of all, oldest first within each peer and lane.

    Few of them are in memory at once. What is settled meanwhile may still be given, what is put meanwhile may not.
    """
    waiting = outbox.peers() if peer is None else [peer] if outbox.waits(peer) else []
    for queue in map(outbox.peek, waiting):
        for lane_queue in queue.lanes:
            rows = list(lane_queue.rows)
            start = 0
            while some := first_of(rows[start : start + READ_ROWS]):
                start += len(some)
                values = await read_rows(outbox.storage, some)
                for row in some:
                    for message in _queued_of(outbox, queue, lane_queue, values[row.key]):
                        yield message


async def state(outbox: Outbox, delivery_id: str) -> LastState:
    """Return the state of a message by the id of its delivery, also of one that an earlier run accepted.

    The state is "waiting" (saved here), "sent" (over a link that is up, not yet acknowledged), "relayed" (on the disk
    of a relay), "received" (on the disk of its recipient), "delivered", "failed", "expired", "refused", "cancelled",
    or "unknown" for an id that this node has forgotten or never made. Raises ValueError for text that is no delivery
    id.
    """
    return (await state_and_reason(outbox, delivery_id))[0]


async def state_and_reason(outbox: Outbox, delivery_id: str) -> tuple[LastState, str]:
    """Return the :func:`state` of a message, and why it was not delivered when it was not. Raises ValueError."""
    message = parse_id(delivery_id)
    ended = await outbox.fates.outcome(delivery_id)
    return (ended.state, ended.reason) if ended is not None else (_state_of(outbox, message), "")


def _state_of(outbox: Outbox, message: MessageKey) -> LastState:
    """Return the state of a message that was not refused or cancelled, and has not failed or expired."""
    peer, lane, epoch, seq = message
    queue = outbox.find(peer)
    if outbox.received.ids.holds((peer, lane, epoch), seq):
        return "received"
    if epoch not in outbox.runs.numbers or (queue is None and epoch == outbox.epoch):
        return "unknown"
    if queue is None:
        return "delivered"
    return _state_now(outbox, queue, lane, epoch, seq)


async def cancel(outbox: Outbox, delivery_id: str) -> bool:
    """Take back one message; return False when it is on its way, settled or unknown. Raises ValueError for a bad id."""
    message = parse_id(delivery_id)
    peer, lane, epoch, seq = message
    queue = outbox.find(peer)
    if queue is None or await state(outbox, delivery_id) not in ("waiting", "sent"):
        return False
    sender = queue.sender
    if sender.holds(lane, epoch, seq) and sender.in_flight(lane, epoch, seq):
        return False
    if queue.letters.state(lane, epoch, seq) >= TOLD:
        return False
    await outbox.fates.save_mark(message)
    if message in outbox.fates.cancelled:
        return True
    if not _still_here(outbox, queue, message) or (
        sender.holds(lane, epoch, seq) and not sender.cancel(lane, epoch, seq)
    ):
        outbox.fates.drop_mark(message)  # the message went out meanwhile
        return False
    outbox.fates.cancelled.add(message)
    outbox.settle(peer, Settled(lane, epoch, sender.base(lane, epoch), [seq], {seq: CANCELLED}))
    outbox.refill(peer)
    return True


def _queued_of(outbox: Outbox, queue: PeerQueue, lane_queue: LaneQueue, value: bytes | None) -> Iterator[QueuedMessage]:
    """Give the messages of one row that are not settled."""
    try:
        segment = segments.decode(value or b"")
    except CodecError:
        return  # the outbox reports it when it loads the row
    peer, lane, epoch, now_ms = queue.peer, lane_queue.lane, segment.epoch, outbox.now() * 1000
    sizes = {seq: size for seq, size, _ in segment.shared}
    for record in segment.records:
        settled = queue.sender.settled(lane, epoch, record.seq)
        cancelled = (peer, lane, epoch, record.seq) in outbox.fates.cancelled
        if settled or cancelled or record.expires <= now_ms:
            continue
        now = _state_of_kept(queue, lane, epoch, record.seq)
        yield QueuedMessage(
            make_id(peer, lane, epoch, record.seq),
            peer,
            record.topic,
            sizes.get(record.seq, len(record.payload)),
            Priority(lane).name.lower(),
            (record.expires - now_ms) / 1000,
            now,
            (lane_queue.why or queue.why) if now == "waiting" else "",
            record.protocol,
        )


def _still_here(outbox: Outbox, queue: PeerQueue, message: MessageKey) -> bool:
    _, lane, epoch, seq = message
    here = _state_now(outbox, queue, lane, epoch, seq) in ("waiting", "sent")
    return here and queue.letters.state(lane, epoch, seq) < TOLD


def _state_now(outbox: Outbox, queue: PeerQueue, lane: int, epoch: int, seq: int) -> LastState:
    """Return the state of a message that has not expired and was not refused or cancelled."""
    lane_queue = queue.lanes[lane]
    if queue.sender.settled(lane, epoch, seq):
        return "delivered"
    if lane_queue.keeps(row_prefix(queue.peer, lane, outbox.runs.numbers[epoch]), seq):
        return _state_of_kept(queue, lane, epoch, seq)
    if epoch != outbox.epoch:
        return "delivered"
    return "waiting" if (lane_queue.staged or lane_queue.writing) and seq < lane_queue.next_seq else "unknown"


def _state_of_kept(queue: PeerQueue, lane: int, epoch: int, seq: int) -> LastState:
    """Return the state of a message that is in a row."""
    if queue.linked and queue.sender.in_flight(lane, epoch, seq):
        return "sent"
    return "relayed" if queue.letters.state(lane, epoch, seq) >= RELAYED else "waiting"
