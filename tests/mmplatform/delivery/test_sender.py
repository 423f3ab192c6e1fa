"""The sending machine by example: what leaves, what settles, what comes back, and what it costs."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.delivery.sender import LEAST, NEVER, Sender, Settled
from mmplatform.delivery.wire import (
    OVERHEAD,
    TAKEN,
    UNHEARD,
    WINDOW,
    WINDOW_BYTES,
    Ack,
    Batch,
    End,
    Piece,
    Record,
    decode_record,
    tombstone,
)
from mmplatform.message import EXPIRED, UNHANDLED, Outcome

EPOCH = 5
FAR = 10**12
LARGEST = 64 * 1024


def record(seq: int, size: int = 1, expires: int = FAR) -> Record:
    return Record(seq, expires, "t", "ms", bytes([seq % 256]) * size)


def records(first: int, last: int, size: int = 1) -> list[Record]:
    return [record(seq, size) for seq in range(first, last + 1)]


def ack(upto: int = 0, *ranges: tuple[int, int], lane: int = 2, epoch: int = EPOCH, **more: list) -> Ack:
    return Ack(lane, epoch, upto, list(ranges), more.get("outcomes", []), more.get("partial", []))


@pytest.fixture
def sender() -> Sender:
    sender = Sender()
    sender.link_up([])
    return sender


def take(sender: Sender, budget: int = 1 << 30, largest: int = LARGEST, now: int = 0) -> list[Batch]:
    return sender.take(budget, largest, now)[0]


def seqs(batches: list[Batch]) -> list[int]:
    return [each.seq for batch in batches for each in batch.records]


def topics(batches: list[Batch]) -> list[tuple[int, bool]]:
    return [(each.seq, bool(each.topic)) for batch in batches for each in batch.records]


def settled(result: Settled | None) -> list[int]:
    assert result is not None
    return result.seqs


# Order and priority.


def test_a_new_sender_has_nothing_to_send(sender: Sender) -> None:
    assert sender.idle
    assert take(sender) == []
    assert sender.unsettled == 0
    assert sender.next_expiry == NEVER
    assert sender.base(2, EPOCH) == 0
    assert not sender.holds(2, EPOCH, 1)
    assert not sender.in_flight(2, EPOCH, 1)
    assert not sender.settled(2, EPOCH, 1)
    assert not sender.cancel(2, EPOCH, 1)
    assert sender.acknowledge(ack(5)) is None


def test_messages_leave_in_order_once(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 5))
    (batch,) = take(sender)
    assert (batch.lane, batch.epoch, batch.base) == (2, EPOCH, 1)
    assert seqs([batch]) == [1, 2, 3, 4, 5]
    assert take(sender) == []
    assert not sender.ready
    assert sender.in_flight(2, EPOCH, 5)
    assert sender.holds(2, EPOCH, 5)
    assert not sender.holds(2, EPOCH, 6)


def test_control_comes_first(sender: Sender) -> None:
    for lane in (3, 2, 1, 0):
        sender.push(lane, EPOCH, records(1, 2))
    assert [batch.lane for batch in take(sender)] == [0, 1, 2, 3]


def test_the_budget_bounds_one_frame(sender: Sender) -> None:
    sender.push(0, EPOCH, records(1, 100, 1000))
    sender.push(3, EPOCH, records(1, 100, 1000))
    (batch,) = take(sender, 10_000)
    assert 9 <= len(batch.records) <= 11
    assert sender.ready


def test_durable_messages_are_never_starved(sender: Sender) -> None:
    """A queue full of realtime messages leaves no budget; some of it goes out all the same."""
    sender.push(2, EPOCH, records(1, 1000, 100))
    for budget in (0, -(10**9)):
        (batch,) = take(sender, budget)
        assert LEAST <= sum(len(each.payload) + OVERHEAD for each in batch.records) < LEAST + 200
        assert sender.ready


def test_an_old_epoch_goes_to_its_end_before_the_next_begins(sender: Sender) -> None:
    sender.push(2, 9, records(4, 6))
    sender.push(2, EPOCH, records(1, 2))
    assert [(batch.epoch, batch.base) for batch in take(sender)] == [(9, 4)]
    assert take(sender) == []
    assert settled(sender.acknowledge(ack(5, epoch=9))) == [4, 5]
    assert take(sender) == []
    sender.acknowledge(ack(6, epoch=9))
    assert [(batch.epoch, seqs([batch])) for batch in take(sender)] == [(EPOCH, [1, 2])]
    assert sender.acknowledge(ack(9, epoch=9)) is None, "it is gone"
    sender.acknowledge(ack(2))
    assert sender.idle


def test_pushing_again_adds_to_the_same_stream(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 2))
    sender.push(2, EPOCH, records(3, 4))
    sender.push(2, EPOCH, [])
    assert seqs(take(sender)) == [1, 2, 3, 4]
    sender.acknowledge(ack(4))
    sender.push(2, EPOCH, records(3, 5))
    assert seqs(take(sender)) == [5], "what is settled is not taken up again"


# Windows.


def test_the_window_bounds_how_many_are_unsettled(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, WINDOW + 10))
    assert len(seqs(take(sender))) == WINDOW
    assert take(sender) == []
    sender.acknowledge(ack(3))
    assert seqs(take(sender)) == [WINDOW + 1, WINDOW + 2, WINDOW + 3]


def test_the_window_bounds_their_bytes(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 200, 50_000))
    sent = seqs(take(sender))
    assert len(sent) == WINDOW_BYTES // 50_064 + 1
    sender.acknowledge(ack(2))
    assert len(seqs(take(sender))) == 2


def test_a_full_lane_does_not_hold_up_another(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, WINDOW + 10))
    take(sender)
    sender.push(3, EPOCH, records(1, 2))
    sender.push(0, EPOCH, records(1, 2))
    assert [batch.lane for batch in take(sender)] == [0, 3]


# Acknowledgements.


def test_cumulative_acknowledgement(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 5))
    take(sender)
    result = sender.acknowledge(ack(3))
    assert result is not None
    assert (result.lane, result.epoch, result.base, result.seqs, result.outcomes) == (2, EPOCH, 4, [1, 2, 3], {})
    assert sender.acknowledge(ack(3)) is None
    assert sender.acknowledge(ack(2)) is None
    assert settled(sender.acknowledge(ack(2**53 - 1))) == [4, 5], "more than was ever sent means all"
    assert sender.idle
    assert sender.settled(2, EPOCH, 5)


def test_ranges(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 9))
    take(sender)
    assert settled(sender.acknowledge(ack(1, (3, 4), (7, 7)))) == [1, 3, 4, 7]
    assert [sender.settled(2, EPOCH, seq) for seq in range(1, 9)] == [
        True,
        False,
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert settled(sender.acknowledge(ack(1, (3, 5), (7, 7)))) == [5]
    assert settled(sender.acknowledge(ack(8))) == [2, 6, 8]
    assert settled(sender.acknowledge(ack(9))) == [9]


def test_a_base_that_moves_is_told_even_when_all_was_settled_before(sender: Sender) -> None:
    """Else the rows below it would stay for ever."""
    sender.push(2, EPOCH, records(1, 3))
    take(sender)
    sender.acknowledge(ack(0, (2, 3)))
    sender.acknowledge(ack(1))
    result = sender.acknowledge(ack(3))
    assert result is not None
    assert (result.base, result.seqs) == (4, [])


def test_outcomes(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 9))
    take(sender)
    told = [
        (7, 7, End.EXPIRED, ""),
        (2, 3, End.REFUSED, "busy"),
        (5, 5, *UNHEARD),
        (6, 6, End.FAILED, "ValueError: no"),
        (8, 8, *TAKEN),
        (20, 30, End.REFUSED, "x"),
    ]
    result = sender.acknowledge(ack(8, outcomes=told))
    assert result is not None
    assert result.outcomes == {
        2: Outcome("refused", "busy"),
        3: Outcome("refused", "busy"),
        5: UNHANDLED,
        6: Outcome("failed", "ValueError: no"),
        7: EXPIRED,
    }
    assert result.kept == []


def test_what_an_earlier_run_delivered_settles_while_it_waits() -> None:
    sender = Sender()
    sender.push(2, EPOCH, records(1, 9))
    (result,) = sender.link_up([ack(3, (6, 7)), ack(9, epoch=77)])
    assert result.seqs == [1, 2, 3, 6, 7]
    assert topics(take(sender)) == [(4, True), (5, True), (6, False), (7, False), (8, True), (9, True)]


def test_a_peer_that_lost_its_state_gets_tombstones_for_what_it_confirmed(sender: Sender) -> None:
    """It cannot know that 2 and 3 were settled; without them it would wait for ever."""
    sender.push(2, EPOCH, records(1, 4))
    take(sender)
    sender.acknowledge(ack(0, (2, 3)))
    sender.link_down()
    sender.link_up([])
    (batch,) = take(sender)
    assert batch.base == 1
    assert topics([batch]) == [(1, True), (2, False), (3, False), (4, True)]
    assert settled(sender.acknowledge(ack(4))) == [1, 4], "they do not end twice"


def test_all_settled_by_ranges_leaves_nothing_to_send() -> None:
    sender = Sender()
    sender.push(2, EPOCH, records(6, 8))
    (result,) = sender.link_up([ack(3, (6, 8))])
    assert (result.base, result.seqs) == (9, [6, 7, 8])
    assert sender.idle
    assert take(sender) == []


# Links.


def test_a_new_link_starts_at_the_lowest_unsettled_number(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 5))
    take(sender)
    sender.acknowledge(ack(2))
    sender.link_down()
    assert not sender.in_flight(2, EPOCH, 3)
    (result,) = sender.link_up([ack(3)])
    assert result.seqs == [3]
    assert seqs(take(sender)) == [4, 5]
    sender.link_up([])
    assert seqs(take(sender)) == [4, 5], "also when the old one was not missed"
    sender.acknowledge(ack(5))
    assert sender.idle


# Large messages.


def collect(sender: Sender, budget: int = 10_000, largest: int = 10_000) -> list[Piece]:
    return [piece for batch in take(sender, budget, largest) for piece in batch.pieces]


def test_a_large_message_leaves_in_pieces(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1), record(2, 25_000), record(3)])
    blob = b""
    order = []
    while batches := take(sender, 10_000, 10_000):
        for batch in batches:
            order += [each.seq for each in batch.records]
            for piece in batch.pieces:
                assert (piece.seq, piece.offset) == (2, len(blob))
                blob += piece.data
                order.append(-piece.seq)
    assert decode_record(blob) == record(2, 25_000)
    assert order == [1, -2, -2, 3, -2], "in one frame the records come first"
    assert sender.in_flight(2, EPOCH, 2)
    sender.acknowledge(ack(3))
    assert sender.idle


def test_the_window_bounds_pieces_until_their_arrival_is_told(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1, 3 * WINDOW_BYTES)])
    sent = sum(len(piece.data) for _ in range(2000) for piece in collect(sender))
    assert sent == WINDOW_BYTES
    assert sender.acknowledge(ack(0, partial=[1, 1_000_000])) is None
    assert sum(len(piece.data) for _ in range(2000) for piece in collect(sender)) == 1_000_000


def test_a_new_link_goes_on_where_the_peer_says(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1, 100_000)])
    for _ in range(5):
        collect(sender)
    sender.link_down()
    sender.link_up([ack(0, partial=[1, 30_000])])
    assert collect(sender)[0].offset == 30_000
    sender.link_up([])
    assert collect(sender)[0].offset == 0, "a peer that says nothing has nothing"


@pytest.mark.parametrize("partial", [[1], [2, 10], [1, 2**53 - 1], [1, 0], [0, 0], [9, 50]])
def test_senseless_progress_is_ignored(sender: Sender, partial: list[int]) -> None:
    sender.push(2, EPOCH, [record(1, 100_000), record(2)])
    sender.acknowledge(ack(0, partial=partial))
    assert collect(sender)[0].offset == 0


@pytest.mark.parametrize("how", ["larger frames", "progress of a small one", "expired", "settled", "cancelled"])
def test_pieces_of_one_message_never_go_out_as_another(sender: Sender, how: str) -> None:
    """Whatever happens to a message that is half out, the next large one starts with its own bytes."""
    sender.push(2, EPOCH, [Record(1, 50, "t", "ms", b"1" * 20_000), Record(2, FAR, "t", "ms", b"2" * 20_000)])
    now = 0
    if how == "larger frames":
        collect(sender)
        assert seqs(take(sender, 1, 50_000)) == [1]
    elif how == "progress of a small one":
        sender.acknowledge(ack(0, partial=[1, 5]))
        assert seqs(take(sender, 1, 50_000)) == [1]
    elif how == "settled":
        collect(sender)
        sender.acknowledge(ack(1))
    else:
        collect(sender)
        sender.link_down()
        if how == "expired":
            assert [each.seqs for each in sender.expire(60)] == [[1]]
            now = 60
        else:
            assert sender.cancel(2, EPOCH, 1)
        sender.link_up([])
    blob = b""
    for _ in range(5):
        for batch in take(sender, 10_000, 10_000, now):
            for piece in batch.pieces:
                assert (piece.seq, piece.offset) == (2, len(blob))
                blob += piece.data
    assert decode_record(blob).payload == b"2" * 20_000


# Expiry and cancellation.


def test_what_waits_expires_and_leaves_a_tombstone(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1), record(2, expires=50), record(3, expires=70), record(4)])
    assert sender.next_expiry == 50
    (result,) = sender.expire(50)
    assert (result.seqs, result.outcomes) == ([2], {2: EXPIRED})
    assert sender.expire(60) == []
    assert sender.next_expiry == 70
    assert topics(take(sender, now=60)) == [(1, True), (2, False), (3, True), (4, True)]
    assert sender.expire(80) == [], "what is in flight is the peer's to judge"
    assert settled(sender.acknowledge(ack(4))) == [1, 3, 4]


def test_what_expires_is_found_when_its_turn_comes(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1, expires=50), record(2)])
    (batch,), (gone,) = sender.take(1 << 20, LARGEST, 50)
    assert gone.outcomes == {1: EXPIRED}
    assert topics([batch]) == [(1, False), (2, True)]
    assert settled(sender.acknowledge(ack(2))) == [2]


def test_a_large_message_half_out_expires_once_the_link_is_gone(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1, 100_000, expires=50)])
    collect(sender)
    sender.acknowledge(ack(0, partial=[1, 5000]))
    assert sender.expire(60) == []
    sender.link_down()
    assert [each.seqs for each in sender.expire(60)] == [[1]]
    assert sender.idle


def test_cancel(sender: Sender) -> None:
    sender.push(2, EPOCH, records(1, 4))
    take(sender, 1, LARGEST)
    sender.link_up([])
    assert sender.cancel(2, EPOCH, 1)
    assert sender.base(2, EPOCH) == 2
    assert sender.cancel(2, EPOCH, 3)
    assert not sender.cancel(2, EPOCH, 3)
    assert not sender.cancel(2, EPOCH, 9)
    assert topics(take(sender)) == [(2, True), (3, False), (4, True)]
    assert not sender.cancel(2, EPOCH, 2), "it is on its way"
    assert settled(sender.acknowledge(ack(4))) == [2, 4]


def test_a_large_message_half_out_cannot_be_cancelled(sender: Sender) -> None:
    sender.push(2, EPOCH, [record(1, 100_000)])
    collect(sender)
    assert not sender.cancel(2, EPOCH, 1)


def test_tombstones_that_nothing_precedes_do_not_travel(sender: Sender) -> None:
    sender.push(2, EPOCH, [tombstone(1), tombstone(2), record(3)])
    (batch,) = take(sender)
    assert (batch.base, topics([batch])) == (3, [(3, True)])
    sender.push(2, EPOCH, [tombstone(4), record(5)])
    assert topics(take(sender)) == [(4, False), (5, True)]


# Hostile acknowledgements.


def test_wide_claims_cost_no_more_than_what_is_held(sender: Sender) -> None:
    top = 2**53 - 1
    sender.push(2, EPOCH, records(1, WINDOW * 2))
    take(sender)
    began = time.process_time()
    wide = ack(0, *[(2, top)] * 64, outcomes=[(n, top, End.REFUSED, "x") for n in range(1024)])
    assert len(settled(sender.acknowledge(wide))) == WINDOW
    for _ in range(50):
        assert sender.acknowledge(wide) is None
    assert time.process_time() - began < 2.0
    assert settled(sender.acknowledge(ack(top))) == [1, *range(WINDOW + 2, WINDOW * 2 + 1)]


numbers = st.integers(0, 40) | st.integers(0, 2**53 - 1)
any_ack = st.builds(
    Ack,
    st.integers(0, 3),
    st.sampled_from([EPOCH, 9]),
    numbers,
    st.lists(st.tuples(numbers, numbers), max_size=4),
    st.lists(st.tuples(numbers, numbers, st.sampled_from(list(End)), st.sampled_from(["busy", ""])), max_size=4),
    st.lists(numbers, max_size=2),
)


@settings(deadline=None)
@given(st.lists(any_ack, max_size=20), st.integers(0, 2**32))
def test_no_acknowledgement_breaks_the_machine(acks: list[Ack], seed: int) -> None:
    draw = random.Random(seed)
    sender = Sender()
    sender.link_up([])
    for lane in (0, 2):
        sender.push(lane, 9, [record(seq, draw.choice([1, 500])) for seq in range(1, 8)])
        sender.push(lane, EPOCH, [record(seq, draw.choice([1, 500])) for seq in range(1, 20)])
    ended: list[tuple[int, int, int]] = []
    for each in acks:
        sender.take(draw.choice([1, 10_000]), 300, 0)
        if draw.random() < 0.2:
            results = sender.link_up([each])
        else:
            result = sender.acknowledge(each)
            results = [result] if result is not None else []
        for result in results:
            ended += [(result.lane, result.epoch, seq) for seq in result.seqs]
            kept = {seq for low, high, _ in result.kept for seq in range(low, high + 1)}
            assert result.outcomes.keys() | kept <= set(result.seqs)
            assert not result.outcomes.keys() & kept, "what the peer keeps has not ended"
    assert len(ended) == len(set(ended)), "nothing ends twice"
    for lane in (0, 2):
        for epoch, top in ((9, 7), (EPOCH, 19)):
            result = sender.acknowledge(ack(top, lane=lane, epoch=epoch))
            ended += [(lane, epoch, seq) for seq in result.seqs] if result is not None else []
    assert sorted(ended) == sorted(
        (lane, epoch, seq) for lane in (0, 2) for epoch, top in ((9, 7), (EPOCH, 19)) for seq in range(1, top + 1)
    )
    assert sender.idle
