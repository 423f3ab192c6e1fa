"""What a batch costs the receiver follows from the batch, not from what is held."""

import pytest

from mmplatform.accounts import Account
from mmplatform.delivery.receiver import MAX_STREAMS, Receiver
from mmplatform.delivery.wire import Batch, Record
from mmplatform.errors import ProtocolError
from tests.support.watched import WalkedSet


def batch(base: int, *seqs: int) -> Batch:
    return Batch(2, 1, base, [Record(seq, 10**13, "t", "ms", b"") for seq in seqs], [])


def test_a_base_that_moves_by_one_walks_over_nothing_that_is_finished_or_waits() -> None:
    receiver = Receiver(Account(2**30))
    stream, _ = receiver.accept(batch(1, *range(1, 5000)), 0)
    for seq in range(2, 5000, 2):
        stream.finish(seq)
    stream.finished = finished = WalkedSet(stream.finished)
    receiver.accept(batch(1, *range(5001, 8000)), 0)
    for base in range(2, 2000):
        receiver.accept(batch(base), 0)
    assert finished.walked == 0
    assert stream.finished is finished
    assert stream.done == 1998


def test_a_base_that_jumps_forgets_all_below() -> None:
    receiver = Receiver(Account(2**30))
    stream, _ = receiver.accept(batch(1, 1, 2, 3, 4, 5, 8, 9, 50), 0)
    stream.finish(3)
    stream.finish(5)
    receiver.accept(batch(1000), 0)
    assert (stream.done, stream.finished, stream.stash, stream.next) == (999, set(), {}, 1000)


def test_a_stream_whose_handlers_are_at_work_is_never_forgotten() -> None:
    receiver = Receiver(Account(2**30))
    busy, _ = receiver.accept(batch(1, 1), 0)
    for epoch in range(2, 3 * MAX_STREAMS):
        other, [record] = receiver.accept(Batch(2, epoch, 1, [Record(1, 10**13, "t", "ms", b"")], []), epoch)
        other.finish(record.seq)
    assert receiver.accept(batch(1, 1), 0) == (busy, [])
    assert busy.unfinished == 1


def test_no_more_streams_are_taken_than_can_be_kept_while_handlers_are_at_work() -> None:
    receiver = Receiver(Account(2**30))
    for epoch in range(1, MAX_STREAMS + 1):
        receiver.accept(Batch(2, epoch, 1, [Record(1, 10**13, "t", "ms", b"")], []), epoch)
    with pytest.raises(ProtocolError, match="overloaded"):
        receiver.accept(Batch(2, 999, 1, [Record(1, 10**13, "t", "ms", b"")], []), 1)
