"""One node's half of one peer, as peers/exchange.py and the stores use the machines, but pure and killable.

Everything that would survive a kill is on the :class:`Disk`; a restart builds new machines from it. A message that its
handler does not take is kept on the disk, as received, or left with its sender; how one ends that was kept is told
by a receipt, a message like any other.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mmplatform.accounts import Account
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.outcomes import outcome_of
from mmplatform.delivery.receipts import PROTOCOL as RECEIPT
from mmplatform.delivery.receipts import Entry, decode_receipt, encode_receipts
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.sender import LANES, NEVER, Sender, Settled
from mmplatform.delivery.wire import (
    TAKEN,
    Ack,
    Again,
    End,
    Ending,
    Frame,
    Record,
    Resumption,
    decode_packet,
    decode_resume,
    encode_packet,
    joined,
    tombstone,
)
from mmplatform.message import Outcome

Key = tuple[int, int, int]  # lane, epoch, sequence
Answer = Ending | str  # of a handler: how a message ends, LATER or LEAVE

KEEP: Final[Ending] = (End.KEPT, "")
EXPIRED: Final[Ending] = (End.EXPIRED, "")
LATER: Final = "later"
LEAVE: Final = "leave"


@dataclass
class Disk:
    """What a node has saved about one peer."""

    outbox: dict[tuple[int, int], dict[int, Record]] = field(default_factory=dict)  # oldest epoch first
    handled: dict[tuple[int, int], bytes] = field(default_factory=dict)
    cancelled: set[Key] = field(default_factory=set)
    inbox: dict[Key, Record] = field(default_factory=dict)  # kept for a handler to come, the oldest first
    ended: dict[Key, Ending] = field(default_factory=dict)  # of those, what their sender is not told yet
    received: set[Key] = field(default_factory=set)  # of ours, what the peer keeps


class Link:
    """An ordered connection of two endpoints; what is queued when it is cut is lost.

    As in the handshake, the one who dials says what it has, the other answers the same and uses the link from then
    on, the dialler once the answer is there.
    """

    def __init__(self, dialler: "Endpoint", far: "Endpoint", largest: int) -> None:
        self.dialler, self.far = dialler, far
        self.queues: dict[Endpoint, deque[bytes]] = {dialler: deque(), far: deque([dialler.resume()])}  # by who gets it
        self.hello: set[Endpoint] = {dialler, far}  # who has not yet got the resume state of the other
        self.largest = largest
        self.alive = True

    def other(self, end: "Endpoint") -> "Endpoint":
        return self.far if end is self.dialler else self.dialler

    def deliver(self, end: "Endpoint", now: int) -> None:
        """Give ``end`` the oldest frame on its way to it."""
        data = self.queues[end].popleft()
        if end not in self.hello:
            end.receive(data, now)
            return
        self.hello.discard(end)
        if end is self.far:
            self.queues[self.dialler].append(end.resume())
        end.link_up(self, decode_resume(data).acks)

    def cut(self) -> None:
        """End it for both at once."""
        self.alive = False
        for queue in self.queues.values():
            queue.clear()
        for end in (self.dialler, self.far):
            end.link_lost(self)


class Endpoint:
    """``handle(endpoint, lane, epoch, record)`` answers how a message ends. ``settled(endpoint, settled)`` is told of
    ours that need not be sent any more, ``ended(endpoint, key, outcome)`` how those ended that the peer had kept."""

    def __init__(
        self,
        handle: Callable[["Endpoint", int, int, Record], Answer],
        settled: Callable[["Endpoint", Settled], None],
        ended: Callable[["Endpoint", Key, Outcome], None],
        epoch: int,
    ) -> None:
        self.handle, self.settled, self.ended = handle, settled, ended
        self.disk = Disk()
        self.boot(epoch)

    def boot(self, epoch: int) -> None:
        """Start from what is on the disk; ``epoch`` is that of this run."""
        self.epoch = epoch
        self.sender = Sender()
        self.receiver = Receiver(Account(1 << 30))
        self.link: Link | None = None
        self.links: list[Link] = []
        self.acks: dict[tuple[int, int], Ack] = {}
        self.unfinished: list[tuple[Stream, Record]] = []
        self.held = dict(self.disk.inbox)
        self.staged: list[tuple[Key, Record | None]] = []  # rows of the inbox that go with the next checkpoint
        self.staged_ends: dict[Key, Ending] = {}
        self.torn = False  # whether to ask once more for what was left
        self.early: dict[Key, Outcome] = {}  # told by receipts before the acknowledgement that they belong to
        self.next_seq = [1] * LANES
        for (lane, epoch), rows in self.disk.outbox.items():
            records = [
                tombstone(seq) if (lane, epoch, seq) in self.disk.cancelled else record for seq, record in rows.items()
            ]
            self.sender.push(lane, epoch, records)
            self.drop_rows(lane, epoch)
        self.disk.outbox = {key: rows for key, rows in self.disk.outbox.items() if rows}
        for (lane, epoch), kept in self.disk.handled.items():
            self.receiver.restore(lane, epoch, kept)

    # Sending.

    def accept(self, lane: int, topic: str, payload: bytes, expires: int, protocol: str = "ms") -> Key:
        """Save one message, then give it to the sender."""
        seq = self.next_seq[lane]
        self.next_seq[lane] += 1
        record = Record(seq, expires, topic, protocol, payload)
        self.disk.outbox.setdefault((lane, self.epoch), {})[seq] = record
        self.sender.push(lane, self.epoch, [record])
        return lane, self.epoch, seq

    def cancel(self, key: Key) -> bool:
        if not self.sender.cancel(*key):
            return False
        self.disk.cancelled.add(key)
        self.drop_rows(key[0], key[1])
        return True

    def expire(self, now: int) -> None:
        for settled in self.sender.expire(now):
            self.settle(settled)

    def settle(self, settled: Settled) -> None:
        self.settled(self, settled)
        self.drop_rows(settled.lane, settled.epoch)
        for low, high, _ in settled.kept:
            for seq in range(low, high + 1):
                key = settled.lane, settled.epoch, seq
                self.disk.received.add(key)
                if key in self.early:
                    self.end_received(key, self.early.pop(key))

    def end_received(self, key: Key, outcome: Outcome) -> None:
        """Take from a receipt how a message ended that the peer had kept."""
        if key in self.disk.received:
            self.disk.received.discard(key)
            self.ended(self, key, outcome)
        elif self.sender.holds(*key) and not self.sender.settled(*key):
            self.early[key] = outcome

    def drop_rows(self, lane: int, epoch: int) -> None:
        base = self.sender.base(lane, epoch)
        rows = self.disk.outbox.get((lane, epoch), {})
        for seq in [seq for seq in rows if seq < base]:
            del rows[seq]

    def flush(self, now: int, budget: int = 64 * 1024) -> bool:
        """Send one frame over the link in use; False when there is nothing to send."""
        if self.link is None:
            return False
        batches, expired = self.sender.take(budget, self.link.largest, now)
        for settled in expired:
            self.settle(settled)
        acks, self.acks = list(self.acks.values()), {}
        if not (batches or acks):
            return False
        self.link.queues[self.link.other(self)].append(encode_packet(Frame(now, 0, acks, batches, [], [], [])))
        return True

    # Receiving.

    def receive(self, data: bytes, now: int) -> None:
        packet = decode_packet(data)
        if isinstance(packet, Again):
            self.sender.again(packet.lane, packet.epoch)
            return
        assert isinstance(packet, Frame)
        for ack in packet.acks:
            settled = self.sender.acknowledge(ack)
            if settled is not None:
                self.settle(settled)
        for batch in packet.batches:
            stream, ready = self.receiver.accept(batch, now)
            for record in ready:
                self._hand_over(stream, record, packet.now)
            self.torn = self.torn or stream.torn
            stream.torn = False
        self.remind()

    def _hand_over(self, stream: Stream, record: Record, sender_now: int) -> None:
        if not record.topic:
            stream.finish(record.seq)
        elif record.protocol == RECEIPT:
            for lane, epoch, low, high, end, text in decode_receipt(record.payload):
                for seq in range(low, high + 1):
                    self.end_received((lane, epoch, seq), outcome_of(end, text))
            stream.finish(record.seq)
        elif record.expires <= sender_now:
            stream.finish(record.seq, EXPIRED)
        elif stream.must_leave(record):
            stream.leave(record)
        elif any(held.topic == record.topic for held in self.held.values()):
            self._answered(stream, record, KEEP)
        else:
            self._answered(stream, record, self.handle(self, stream.lane, stream.epoch, record))

    def _answered(self, stream: Stream, record: Record, answer: Answer) -> None:
        if answer == LATER:
            self.unfinished.append((stream, record))
        elif answer == LEAVE:
            stream.leave(record)
        else:
            assert isinstance(answer, tuple)
            if answer == KEEP:
                key = stream.lane, stream.epoch, record.seq
                self.held[key] = record
                self.staged.append((key, record))
            stream.finish(record.seq, TAKEN if answer == TAKEN else answer)

    def finish(self, index: int, answer: Answer) -> None:
        """A handler that took its time is done; or it is gone, and the message is kept or left after all."""
        self._answered(*self.unfinished.pop(index), answer)

    def hand_held(self, now: int, number: int = 1) -> int:
        """Hand over the next ``number`` messages that were kept, as there is a handler; return how many there were."""
        keys = list(self.held)[:number]
        for key in keys:
            lane, epoch, _ = key
            record = self.held[key]
            answer = EXPIRED if record.expires <= now else self.handle(self, lane, epoch, record)
            if isinstance(answer, tuple) and answer != KEEP:
                del self.held[key]
                self.staged.append((key, None))
                self.staged_ends[key] = answer
                self.receiver.amend(*key, key[2], *answer)
        return len(keys)

    def ask_again(self) -> int:
        """Ask over the link in use for what was left with the peer; return in how many packets."""
        assert self.link is not None
        left = self.receiver.left()
        self.link.queues[self.link.other(self)].extend(encode_packet(Again(*place)) for place in left)
        return len(left)

    def checkpoint(self) -> None:
        """Save what is handled and what is kept, then acknowledge it; tell the ends that were saved before."""
        self._tell_ends()
        for key, record in self.staged:
            if record is None:
                del self.disk.inbox[key]
            else:
                self.disk.inbox[key] = record
        self.disk.ended.update(self.staged_ends)
        self.staged, self.staged_ends = [], {}
        for stream, kept, ack in self.receiver.checkpoint():
            self.disk.handled[stream.lane, stream.epoch] = kept
            self.receiver.saved([stream])
            self.note_ack(ack)

    def _tell_ends(self) -> None:
        """Accept the receipts and forget what they say, in one transaction."""
        ends: list[Entry] = [(*key, key[2], *ending) for key, ending in self.disk.ended.items()]
        for payload in encode_receipts(ends):
            self.accept(0, RECEIPT, payload, NEVER - 1, RECEIPT)
        self.disk.ended.clear()

    def remind(self) -> None:
        for ack in self.receiver.reminders():
            self.note_ack(ack)

    def note_ack(self, ack: Ack) -> None:
        place = ack.lane, ack.epoch
        self.acks[place] = joined(self.acks[place], ack) if place in self.acks else ack

    # Links.

    def resume(self) -> bytes:
        return encode_packet(Resumption(1, 0, self.receiver.acks()))

    def link_up(self, link: Link, acks: list[Ack]) -> None:
        self.links.append(link)
        self.use(link, acks)

    def use(self, link: Link, acks: list[Ack]) -> None:
        """What was told over another link may be lost with it."""
        self.link = link
        self.receiver.retell()
        self.acks.update({(ack.lane, ack.epoch): ack for ack in self.receiver.acks()})
        for settled in self.sender.link_up(acks):
            self.settle(settled)
        self.remind()

    def link_lost(self, link: Link) -> None:
        """Another link that is still up takes over."""
        if link in self.links:
            self.links.remove(link)
        if link is self.link:
            self.link = None
            self.sender.link_down()
            if self.links:
                self.use(self.links[-1], [])
