"""A receiver whose handlers finish when told, and what comes to it."""

from mmplatform.accounts import Account
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import TAKEN, Ack, Batch, Ending, Piece, Record, encode_packet

EPOCH = 5
NOW = 10**12


def record(seq: int, payload: bytes = b"x") -> Record:
    return Record(seq, NOW, "t", "ms", payload)


def batch(*seqs: int, base: int = 1, epoch: int = EPOCH, lane: int = 2, pieces: list[Piece] | None = None) -> Batch:
    return Batch(lane, epoch, base, [record(seq) for seq in seqs], pieces or [])


def pieces(seq: int, size: int, each: int, start: int = 0, end: int | None = None) -> list[Piece]:
    blob = encode_packet(record(seq, bytes(size)))
    stop = len(blob) if end is None else end
    return [
        Piece(seq, offset, len(blob), blob[offset : min(offset + each, stop)]) for offset in range(start, stop, each)
    ]


class ReceivingNode:
    """A receiver whose handlers finish when told."""

    def __init__(self, budget: int = 1 << 40) -> None:
        self.budget = Account(budget)
        self.receiver = Receiver(self.budget)

    def take(self, batch: Batch, now: int = NOW) -> list[int]:
        self.stream, ready = self.receiver.accept(batch, now)
        return [each.seq for each in ready]

    def finish(self, *seqs: int, ending: Ending = TAKEN) -> None:
        for seq in seqs:
            self.stream.finish(seq, ending)

    def handle(self, *seqs: int, **more: int) -> list[int]:
        taken = self.take(batch(*seqs, **more))
        self.finish(*taken)
        return taken

    def ack(self) -> Ack:
        ((stream, _, ack),) = self.receiver.checkpoint()
        self.receiver.saved([stream])
        return ack

    def restarted(self) -> "ReceivingNode":
        node = ReceivingNode()
        for stream in self.receiver._streams.values():
            node.receiver.restore(stream.lane, stream.epoch, stream.kept())
        return node
