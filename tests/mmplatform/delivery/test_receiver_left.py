"""Messages that are handed out and left with their sender: they come again, once each, in their order."""

import pytest

from mmplatform.accounts import Account
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import OVERHEAD, Batch, Piece, Record, encode_packet, tombstone
from mmplatform.errors import ProtocolError

EPOCH = 5
NOW = 10**12


def record(seq: int, size: int = 1) -> Record:
    return Record(seq, NOW, "t", "ms", bytes(size))


def pieces(seq: int, size: int, each: int) -> list[Piece]:
    blob = encode_packet(record(seq, size))
    return [Piece(seq, offset, len(blob), blob[offset : offset + each]) for offset in range(0, len(blob), each)]


class Node:
    """A receiver whose handlers take what ``listens`` says, and leave everything else."""

    def __init__(self) -> None:
        self.budget = Account(1 << 30)
        self.receiver = Receiver(self.budget)
        self.listens = False
        self.heard: list[int] = []
        self.stream: Stream

    def take(self, *records: Record, base: int = 1, slices: list[Piece] | None = None) -> list[int]:
        self.stream, ready = self.receiver.accept(Batch(2, EPOCH, base, list(records), slices or []), NOW)
        for each in ready:
            if self.stream.must_leave(each) or not (self.listens or not each.topic):
                self.stream.leave(each)
            else:
                self.stream.finish(each.seq)
                self.heard += [each.seq] if each.topic else []
        return [each.seq for each in ready]

    @property
    def left(self) -> list[int]:
        return sorted(self.stream.left.numbers)


@pytest.fixture
def node() -> Node:
    node = Node()
    node.take(*map(record, range(1, 6)))
    assert (node.left, node.heard) == ([1, 2, 3, 4, 5], [])
    return node


def test_what_is_left_is_neither_acknowledged_nor_unfinished(node: Node) -> None:
    assert node.receiver.checkpoint() == []
    assert node.receiver.unfinished == 0
    assert node.receiver.left() == [(2, EPOCH)]
    assert node.receiver.progress(2, EPOCH) == (0, 0)


def test_what_was_left_comes_again_and_is_handed_out_once(node: Node) -> None:
    node.listens = True
    assert node.take(*map(record, range(1, 6))) == [1, 2, 3, 4, 5]
    assert node.take(*map(record, range(1, 6))) == []
    assert (node.heard, node.left) == ([1, 2, 3, 4, 5], [])
    assert node.receiver.left() == []
    assert [ack.upto for _, _, ack in node.receiver.checkpoint()] == [5]


def test_a_new_message_does_not_pass_those_that_were_left(node: Node) -> None:
    node.listens = True
    assert node.take(record(6)) == [6]
    assert (node.heard, node.left) == ([], [1, 2, 3, 4, 5, 6])
    node.take(*map(record, range(1, 8)))
    assert node.heard == [1, 2, 3, 4, 5, 6, 7]


def test_one_that_comes_again_before_its_turn_waits_for_those_before_it(node: Node) -> None:
    node.listens = True
    assert node.take(record(3), record(2)) == []
    assert node.budget.used == 2 * (OVERHEAD + 1)
    assert node.take(record(1)) == [1, 2, 3]
    assert node.take(record(4), record(5)) == [4, 5]
    assert node.heard == [1, 2, 3, 4, 5]
    assert node.budget.used == 0


def test_a_large_one_is_handed_out_before_the_small_ones_of_its_batch(node: Node) -> None:
    node.listens = True
    slices = pieces(1, 5000, 700)
    assert node.take(*map(record, range(2, 8)), slices=slices[:3]) == [6, 7], "these are new, and must wait"
    assert node.heard == []
    node.take(slices=slices[3:])
    assert node.heard == [1, 2, 3, 4, 5]
    node.take(record(6), record(7))
    assert node.heard == [1, 2, 3, 4, 5, 6, 7]


def test_a_batch_with_a_large_one_and_new_ones_is_in_order(node: Node) -> None:
    node.listens = True
    assert node.take(*map(record, range(2, 8)), slices=pieces(1, 5000, 700)) == [1, 2, 3, 4, 5, 6, 7]
    assert node.heard == [1, 2, 3, 4, 5, 6, 7]


def test_the_rest_of_a_large_one_alone_is_passed_over_and_asked_for_as_a_whole(node: Node) -> None:
    """Its beginning came over another link, and was left together with it."""
    node.listens = True
    slices = pieces(1, 5000, 700)
    assert node.take(slices=slices[3:]) == []
    assert node.stream.torn
    node.stream.torn = False
    assert node.take(slices=slices[:2] + slices[4:]) == [], "a gap: as its sender held more to be here"
    assert node.stream.torn
    assert node.take(slices=slices) == [1]


def test_a_tombstone_and_a_base_end_what_was_left(node: Node) -> None:
    node.take(tombstone(1), tombstone(2))
    assert node.left == [3, 4, 5]
    node.take(base=5)
    assert node.left == [5]
    assert node.receiver.progress(2, EPOCH) == (4, 4)


def test_a_refused_batch_leaves_it_as_it_was(node: Node) -> None:
    node.listens = True
    with pytest.raises(ProtocolError, match="bad-piece"):
        node.take(record(1), record(2), slices=pieces(9, 500, 100)[1:])
    assert node.left == [1, 2, 3, 4, 5]
    assert node.take(*map(record, range(1, 6))) == [1, 2, 3, 4, 5]


def test_a_restart_forgets_what_was_left_and_gets_it_again(node: Node) -> None:
    node.take(tombstone(1))
    again = Node()
    again.receiver.restore(2, EPOCH, node.stream.kept())
    again.listens = True
    assert again.take(*map(record, range(1, 6))) == [2, 3, 4, 5]
