"""Expiry of what waits costs what expires, not what waits."""

import pytest

from mmplatform.delivery import outgoing_stream as module
from mmplatform.delivery.outgoing_stream import NEVER, STALE
from mmplatform.delivery.sender import Sender
from mmplatform.delivery.wire import Ack, Record
from tests.support.watched import Watched

EPOCH = 7


def record(seq: int, expires: int, size: int = 1) -> Record:
    return Record(seq, expires, "t", "ms", bytes(size))


def acknowledge(sender: Sender, upto: int) -> None:
    sender.acknowledge(Ack(2, EPOCH, upto, [], [], []))


def test_one_that_expires_alone_costs_no_look_at_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "deque", Watched)
    sender, number = Sender(), 1000
    sender.push(2, EPOCH, [record(seq, 1000 + seq) for seq in range(1, number + 1)])
    monkeypatch.setattr(Watched, "looks", 0)
    for seq in range(1, number + 1):
        assert sender.next_expiry == 1000 + seq
        assert [each.seqs for each in sender.expire(1000 + seq)] == [[seq]]
    assert 0 < Watched.looks < 20 * number
    assert sender.idle
    assert sender.next_expiry == NEVER


def test_what_goes_out_in_pieces_does_not_make_the_next_sweep_due_at_once() -> None:
    sender = Sender()
    sender.push(2, EPOCH, [record(1, 50, 100_000), record(2, 90)])
    sender.take(1000, 1000, 0)
    assert sender.in_flight(2, EPOCH, 1)
    assert sender.expire(60) == []
    assert sender.next_expiry == 90
    sender.link_down()
    assert sender.next_expiry == 50
    assert [each.seqs for each in sender.expire(60)] == [[1]]


def test_what_was_in_flight_at_a_sweep_expires_in_its_time_once_the_link_is_gone() -> None:
    sender = Sender()
    sender.push(2, EPOCH, [record(seq, 50 * seq) for seq in (1, 2, 3)])
    assert sender.expire(10) == []
    sender.take(1 << 20, 1 << 20, 10)
    assert sender.expire(110) == [], "what is in flight is the peer's to judge"
    sender.link_down()
    assert [each.seqs for each in sender.expire(110)] == [[1, 2]]
    assert sender.next_expiry == 150
    assert [each.seqs for each in sender.expire(150)] == [[3]]


def test_what_is_settled_does_not_stay_in_memory_until_it_would_have_expired() -> None:
    sender = Sender()
    for seq in range(1, 20 * STALE, 2):
        sender.push(2, EPOCH, [record(seq, 10**9 + seq), record(seq + 1, 10 + seq)])
        sender.expire(10 + seq)
        sender.take(1 << 20, 1 << 20, 0)
        acknowledge(sender, seq + 1)
    sender.push(2, EPOCH, [record(20 * STALE + 1, 10**10)])
    sender.expire(0)
    assert len(sender._lanes[2][0].due) <= STALE + 2


def test_what_expired_at_the_front_is_passed_by_the_base() -> None:
    sender = Sender()
    sender.push(2, EPOCH, [record(1, 50), record(2, 50), record(3, 10**12)])
    (result,) = sender.expire(50)
    assert (result.base, result.seqs) == (3, [1, 2])
    (batch,), _ = sender.take(1 << 20, 1 << 16, 50)
    assert (batch.base, [each.seq for each in batch.records]) == (3, [3])


def test_what_was_in_flight_expires_once_the_link_is_gone() -> None:
    sender = Sender()
    sender.push(2, EPOCH, [record(1, 50), record(2, 90)])
    sender.take(1 << 20, 1 << 16, 0)
    assert sender.expire(10) == []
    assert sender.next_expiry == NEVER
    sender.link_down()
    assert sender.next_expiry == 50
    assert [each.seqs for each in sender.expire(60)] == [[1]]
    assert sender.next_expiry == 90


def test_a_base_that_passes_what_expired_on_its_way_is_told() -> None:
    """It expired as it went out, its tombstone came back with the link, and nothing else will move the base: the row
    of the message would stay for ever."""
    sender = Sender()
    sender.link_up([])
    sender.push(2, EPOCH, [record(1, 10)])
    _, [expired] = sender.take(1000, 1000, 10)
    assert (expired.seqs, expired.base) == ([1], 1)
    sender.link_down()
    [passed] = sender.expire(20)
    assert (passed.seqs, passed.outcomes, passed.base) == ([], {}, 2)
    assert sender.idle
    assert sender.expire(30) == []
