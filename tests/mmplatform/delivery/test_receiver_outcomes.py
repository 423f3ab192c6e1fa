"""How messages ended is told once, with what acknowledges them, and again when a link may have lost it."""

import pytest

from mmplatform.delivery import receiver as receiver_module
from mmplatform.delivery.wire import MAX_RANGES, TAKEN, UNHEARD, End, Ending
from tests.support.receiving import EPOCH, ReceivingNode, batch

BUSY: Ending = (End.REFUSED, "busy")


@pytest.fixture
def node() -> ReceivingNode:
    return ReceivingNode()


def test_outcomes_are_told_once_and_again_when_a_link_may_have_lost_them(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 9)))
    node.finish(1, 2, ending=UNHEARD)
    node.finish(3)
    node.finish(5, ending=BUSY)
    assert node.ack().outcomes == [(1, 2, End.REFUSED, "unhandled"), (5, 5, End.REFUSED, "busy")]
    node.finish(4)
    assert node.ack().outcomes == []
    node.finish(7, ending=BUSY)
    assert node.ack().outcomes == [(7, 7, End.REFUSED, "busy")]
    node.receiver.retell()
    node.take(batch(9, base=4))
    node.finish(9)
    assert node.ack().outcomes == [(5, 5, End.REFUSED, "busy"), (7, 7, End.REFUSED, "busy")]


def test_an_outcome_is_told_with_the_range_that_acknowledges_its_message(node: ReceivingNode) -> None:
    """An acknowledgement has room for so many ranges; what is told without its range would be taken for delivered."""
    node.take(batch(*range(1, 401)))
    node.finish(*range(2, 401, 2), ending=BUSY)
    first = node.ack()
    assert first.outcomes == [(seq, seq, End.REFUSED, "busy") for seq, _ in first.ranges]
    node.finish(*range(1, 401, 2))
    assert node.ack().outcomes == [(seq, seq, End.REFUSED, "busy") for seq in range(2 * MAX_RANGES + 2, 401, 2)]


def test_the_end_of_what_was_kept_is_told_to_who_asks_again(node: ReceivingNode) -> None:
    """Its receipt may have come to a sender that was killed, and sends it once more."""
    node.take(batch(*range(1, 6)))
    node.finish(*range(1, 6), ending=(End.KEPT, ""))
    node.ack()
    assert node.receiver.amend(2, EPOCH, 3, 3, End.FAILED, "no")
    assert node.receiver.amend(2, EPOCH, 1, 1, *TAKEN)
    node.receiver.retell()
    assert node.ack().outcomes == [(2, 2, End.KEPT, ""), (3, 3, End.FAILED, "no"), (4, 5, End.KEPT, "")]
    assert not node.receiver.amend(2, EPOCH, 3, 3, *TAKEN), "it has ended"
    assert not node.receiver.amend(2, EPOCH + 1, 3, 3, *TAKEN)


def test_the_ends_of_a_run_that_was_kept_are_noted_in_one_step(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 11)))
    node.finish(*range(1, 5), ending=(End.KEPT, ""))
    node.finish(5, ending=(End.REFUSED, "no"))
    node.finish(*range(6, 11), ending=(End.KEPT, ""))
    node.ack()
    assert node.receiver.amend(2, EPOCH, 3, 7, End.EXPIRED, "")
    node.receiver.retell()
    assert node.ack().outcomes == [
        (1, 2, End.KEPT, ""), (3, 4, End.EXPIRED, ""), (5, 5, End.REFUSED, "no"), (6, 7, End.EXPIRED, ""),
        (8, 10, End.KEPT, ""),
    ]  # fmt: skip
    assert node.receiver.amend(2, EPOCH, 1, 9, *TAKEN)
    node.receiver.retell()
    assert [(low, high) for low, high, *_ in node.ack().outcomes] == [(3, 4), (5, 5), (6, 7), (10, 10)]


def test_what_is_being_written_is_not_acknowledged_before_it_is_there(node: ReceivingNode) -> None:
    """A repetition that comes meanwhile is answered by the acknowledgement that waits for the disk."""
    node.take(batch(1, 2))
    node.finish(1, ending=BUSY)
    ((stream, _, ack),) = node.receiver.checkpoint()
    node.take(batch(1))
    assert node.receiver.reminders() == []
    assert node.receiver.acks() == []
    node.receiver.saved([stream])
    assert ack.outcomes == [(1, 1, End.REFUSED, "busy")]
    node.take(batch(1))
    assert [again.upto for again in node.receiver.reminders()] == [1]


def test_of_too_many_outcomes_those_are_forgotten_that_were_told(
    node: ReceivingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base of their sender would say that it heard them: one that never moves it must not fill the memory."""
    monkeypatch.setattr(receiver_module, "MAX_OUTCOMES", 100)
    for number in range(10):
        node.take(batch(*range(1, 41), epoch=EPOCH + number))
        node.finish(*range(1, 41, 2), ending=BUSY)
        assert len(node.ack().outcomes) == 20
    streams = node.receiver._streams.values()
    assert sum(len(stream.outcomes) for stream in streams) <= 120
    assert len(node.receiver._streams[2, EPOCH + 9].outcomes) == 20, "the oldest streams forget first"
