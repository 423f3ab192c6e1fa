"""The sending machine when its peer keeps messages, or leaves them here."""

import pytest

from mmplatform.delivery.sender import NEVER, Sender
from mmplatform.delivery.wire import Ack, End, Record
from mmplatform.message import Outcome

EPOCH = 5
FAR = 10**12


@pytest.fixture
def sender() -> Sender:
    sender = Sender()
    sender.link_up([])
    sender.push(2, EPOCH, [Record(seq, FAR + seq, "t", "ms", b"x") for seq in range(1, 7)])
    return sender


def take(sender: Sender) -> list[int]:
    batches, _ = sender.take(1 << 30, 1 << 16, 0)
    return [record.seq for batch in batches for record in batch.records if record.topic]


def ack(upto: int, *ranges: tuple[int, int], outcomes: list[tuple[int, int, End, str]] | None = None) -> Ack:
    return Ack(2, EPOCH, upto, list(ranges), outcomes or [], [])


def test_what_the_peer_keeps_is_settled_and_has_no_outcome(sender: Sender) -> None:
    take(sender)
    settled = sender.acknowledge(ack(4, outcomes=[(2, 3, End.KEPT, ""), (4, 4, End.REFUSED, "no")]))
    assert settled is not None
    assert settled.seqs == [1, 2, 3, 4]
    assert settled.kept == [(2, 3, FAR + 3)]
    assert settled.outcomes == {4: Outcome("refused", "no")}


def test_what_the_peer_keeps_out_of_turn_is_told_once(sender: Sender) -> None:
    take(sender)
    kept = [(2, 2, End.KEPT, ""), (4, 4, End.KEPT, "")]
    settled = sender.acknowledge(ack(0, (2, 2), (4, 4), outcomes=kept))
    assert settled is not None
    assert settled.kept == [(2, 2, FAR + 2), (4, 4, FAR + 4)]
    again = sender.acknowledge(ack(4, outcomes=kept))
    assert again is not None
    assert (again.seqs, again.kept) == ([1, 3], [])


def test_what_the_peer_left_goes_out_again_without_what_is_acknowledged(sender: Sender) -> None:
    assert take(sender) == [1, 2, 3, 4, 5, 6]
    sender.acknowledge(ack(1, (3, 4)))
    assert take(sender) == []
    sender.again(2, EPOCH)
    assert sender.ready
    assert take(sender) == [2, 5, 6]
    assert take(sender) == []


def test_what_the_peer_left_expires_in_its_time(sender: Sender) -> None:
    take(sender)
    assert sender.next_expiry == NEVER or sender.next_expiry > 0
    sender.again(2, EPOCH)
    assert sender.next_expiry <= FAR + 1
    [settled] = sender.expire(FAR + 2)
    assert {seq: outcome.state for seq, outcome in settled.outcomes.items()} == {1: "expired", 2: "expired"}


def test_a_stream_that_is_not_known_is_not_sent_again(sender: Sender) -> None:
    take(sender)
    sender.again(2, EPOCH + 1)
    sender.again(3, EPOCH)
    assert take(sender) == []
