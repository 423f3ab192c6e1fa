"""One node's half of one peer, as peers/peer.py and the two stores use the machines, but pure and killable.

Everything that would survive a kill is on the :class:`Disk`; a restart builds new machines from it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mmplatform.delivery.fragments import Budget
from mmplatform.delivery.receiver import Receiver, Stream
from mmplatform.delivery.sender import LANES, Sender, Settled
from mmplatform.delivery.wire import (
    Ack,
    Frame,
    Record,
    Resumption,
    decode_packet,
    decode_resume,
    encode_packet,
    tombstone,
)

Key = tuple[int, int, int]  # lane, epoch, sequence


@dataclass
class Disk:
    """What a node has saved about one peer."""

    outbox: dict[tuple[int, int], dict[int, Record]] = field(default_factory=dict)  # oldest epoch first
    handled: dict[tuple[int, int], bytes] = field(default_factory=dict)
    cancelled: set[Key] = field(default_factory=set)


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
    """``handle(endpoint, lane, epoch, record)`` gives the outcome's reason, or None to finish later."""

    def __init__(
        self,
        handle: Callable[["Endpoint", int, int, Record], str | None],
        settled: Callable[["Endpoint", Settled], None],
        epoch: int,
    ) -> None:
        self.handle, self.settled = handle, settled
        self.disk = Disk()
        self.boot(epoch)

    def boot(self, epoch: int) -> None:
        """Start from what is on the disk; ``epoch`` is that of this run."""
        self.epoch = epoch
        self.sender = Sender()
        self.receiver = Receiver(Budget(1 << 30))
        self.link: Link | None = None
        self.links: list[Link] = []
        self.acks: dict[tuple[int, int], Ack] = {}
        self.unfinished: list[tuple[Stream, Record]] = []
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

    def accept(self, lane: int, topic: str, payload: bytes, expires: int) -> Key:
        """Save one message, then give it to the sender."""
        seq = self.next_seq[lane]
        self.next_seq[lane] += 1
        record = Record(seq, expires, topic, "ms", payload)
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
        frame = decode_packet(data)
        assert isinstance(frame, Frame)
        for ack in frame.acks:
            settled = self.sender.acknowledge(ack)
            if settled is not None:
                self.settle(settled)
        for batch in frame.batches:
            stream, ready = self.receiver.accept(batch, now)
            for record in ready:
                self._hand_over(stream, record, frame.now)
        self.remind()

    def _hand_over(self, stream: Stream, record: Record, sender_now: int) -> None:
        reason: str | None = ""
        if record.topic:
            reason = "expired" if record.expires <= sender_now else self.handle(self, stream.lane, stream.epoch, record)
        if reason is None:
            self.unfinished.append((stream, record))
        else:
            stream.finish(record.seq, reason)

    def finish(self, index: int, reason: str) -> None:
        """A handler that took its time is done."""
        stream, record = self.unfinished.pop(index)
        stream.finish(record.seq, reason)

    def checkpoint(self) -> None:
        """Save what is handled, then acknowledge it."""
        for stream, kept, ack in self.receiver.checkpoint():
            self.disk.handled[stream.lane, stream.epoch] = kept
            self.acks[ack.lane, ack.epoch] = ack

    def remind(self) -> None:
        for ack in self.receiver.reminders():
            self.acks[ack.lane, ack.epoch] = ack

    # Links.

    def resume(self) -> bytes:
        return encode_packet(Resumption(1, 0, self.receiver.acks()))

    def link_up(self, link: Link, acks: list[Ack]) -> None:
        self.links.append(link)
        self.use(link, acks)

    def use(self, link: Link, acks: list[Ack]) -> None:
        """What was told over another link may be lost with it."""
        self.link = link
        self.acks.update({(ack.lane, ack.epoch): ack for ack in self.receiver.acks()})
        for settled in self.sender.link_up(acks):
            self.settle(settled)

    def link_lost(self, link: Link) -> None:
        """Another link that is still up takes over."""
        if link in self.links:
            self.links.remove(link)
        if link is self.link:
            self.link = None
            self.sender.link_down()
            if self.links:
                self.use(self.links[-1], [])
