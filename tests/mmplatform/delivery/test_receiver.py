"""The receiving machine by example: once, in order, acknowledged when handled, and bounded whatever comes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.accounts import Account
from mmplatform.codec import encode
from mmplatform.delivery import incoming_stream
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.receiver import MAX_STREAMS, PARTIAL_EVERY, Receiver
from mmplatform.delivery.wire import (
    MAX_FRAME,
    MAX_RANGES,
    OVERHEAD,
    TAKEN,
    WINDOW,
    WINDOW_BYTES,
    Ack,
    Batch,
    End,
    Ending,
    Piece,
    Record,
    Resumption,
    decode_resume,
    encode_packet,
    tombstone,
)
from mmplatform.errors import CodecError, ProtocolError
from tests.support.receiving import EPOCH, NOW, ReceivingNode, batch, pieces, record

BUSY: Ending = (End.REFUSED, "busy")


@pytest.fixture
def node() -> ReceivingNode:
    return ReceivingNode()


def refused(node: ReceivingNode, batch: Batch) -> str:
    with pytest.raises(ProtocolError) as caught:
        node.take(batch)
    return caught.value.reason


# Once and in order.


def test_each_message_is_handed_out_once(node: ReceivingNode) -> None:
    assert node.take(batch(1, 2, 3)) == [1, 2, 3]
    assert node.take(batch(1, 2, 3)) == []
    assert node.take(batch(2, 3, 4)) == [4]


def test_what_comes_before_its_turn_waits(node: ReceivingNode) -> None:
    assert node.take(batch(2, 4)) == []
    assert node.take(batch(3)) == []
    assert node.budget.used == 3 * (OVERHEAD + 1)
    assert node.take(batch(2)) == []
    assert node.take(batch(1)) == [1, 2, 3, 4]
    assert node.budget.used == 0
    assert node.take(batch(1, 2, 3, 4, 5)) == [5]


def test_streams_are_apart(node: ReceivingNode) -> None:
    assert node.take(batch(1, lane=0)) == [1]
    assert node.take(batch(1, lane=2)) == [1]
    assert node.take(batch(1, epoch=6)) == [1]
    assert node.take(batch(1, epoch=6)) == []


def test_tombstones_are_handed_out_too(node: ReceivingNode) -> None:
    _, ready = node.receiver.accept(Batch(2, EPOCH, 1, [record(1), tombstone(2), record(3)], []), NOW)
    assert [(each.seq, each.topic) for each in ready] == [(1, "t"), (2, ""), (3, "t")]


def test_a_base_ahead_is_where_it_goes_on(node: ReceivingNode) -> None:
    """The sender holds nothing below: it was settled, or never saved."""
    assert node.take(batch(7, 8, base=7)) == [7, 8]
    assert node.ack().upto == 6


def test_a_base_ahead_takes_what_waits_along(node: ReceivingNode) -> None:
    node.take(batch(3, 5, 8))
    assert node.take(batch(9, base=5)) == [5]
    assert node.take(batch(6, 7, base=5)) == [6, 7, 8, 9]
    assert node.budget.used == 0


def test_a_base_ahead_keeps_what_is_finished_above(node: ReceivingNode) -> None:
    node.take(batch(1, 2, 3, 4, 5))
    node.finish(3, 4)
    node.take(batch(base=3))
    assert (node.stream.done, node.stream.finished) == (4, set())
    assert node.take(batch(5, 6, base=3)) == [6]


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=10), max_size=20), st.integers(1, 30))
def test_any_arrival_gives_the_sequence(arrivals: list[list[int]], restart_at: int) -> None:
    node = ReceivingNode()
    handed: list[int] = []
    for turn, seqs in enumerate([*arrivals, list(range(1, 31))]):
        if turn == restart_at:
            node = node.restarted()
        handed += node.handle(*seqs)
    assert handed == list(range(1, 31))
    assert node.budget.used == 0


# Acknowledgements.


def test_the_acknowledgement_stops_at_the_lowest_unfinished(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 10)))
    node.finish(1, 2, 4, 5, 8)
    assert node.ack() == Ack(2, EPOCH, 2, [(4, 5), (8, 8)], [], [])
    assert node.receiver.checkpoint() == []
    node.finish(3, 6)
    assert node.ack() == Ack(2, EPOCH, 6, [(8, 8)], [], [])
    node.finish(3)
    assert node.ack().upto == 6


def test_a_run_is_finished_in_one_step_or_one_by_one(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 10)))
    node.stream.finish_run(1, 3)
    assert node.stream.done == 3
    node.stream.finish_run(5, 6)
    assert (node.stream.done, node.stream.finished) == (3, {5, 6})
    node.stream.finish_run(4, 4)
    assert (node.stream.done, node.stream.finished) == (6, set())


def test_ranges_are_bounded(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 1000)))
    node.finish(*range(2, 1000, 2))
    assert len(node.ack().ranges) == MAX_RANGES


def test_every_outcome_of_a_window_is_told(node: ReceivingNode) -> None:
    """One that is forgotten would be told as delivered."""
    node.take(batch(*range(1, WINDOW + 1)))
    for seq in range(1, WINDOW + 1):
        node.finish(seq, ending=BUSY if seq % 2 else (End.REFUSED, "full"))
    ack = node.ack()
    assert len(ack.outcomes) == WINDOW
    data = encode_packet(Resumption(1, 1, [ack]))
    assert len(data) < 1 << 20
    assert node.restarted().receiver._streams.popitem()[1].outcomes == ack.outcomes


def test_what_comes_again_is_told_again(node: ReceivingNode) -> None:
    node.handle(1, 2)
    node.ack()
    assert node.receiver.reminders() == []
    node.take(batch(1, 2))
    (reminder,) = node.receiver.reminders()
    assert reminder.upto == 2
    assert node.receiver.reminders() == []


def test_nothing_unsaved_is_told_as_a_reminder(node: ReceivingNode) -> None:
    node.handle(1, 2)
    node.take(batch(1, 2))
    assert node.receiver.reminders() == []
    assert node.ack().upto == 2
    assert node.receiver.reminders() == [], "that was it"


def test_the_resume_state_claims_what_is_saved_only(node: ReceivingNode) -> None:
    node.handle(1)
    assert node.receiver.acks() == []
    node.ack()
    assert [ack.upto for ack in node.receiver.acks()] == [1]
    node.take(batch(2, 3))
    node.finish(2)
    assert node.receiver.acks() == []
    node.ack()
    assert [ack.upto for ack in node.receiver.acks()] == [2]


def test_the_resume_state_always_fits_a_handshake(node: ReceivingNode) -> None:
    for lane in range(4):
        for epoch in range(16):
            node.take(batch(*range(1, 300), lane=lane, epoch=2**53 - 1 - epoch, base=1), NOW + epoch)
            for seq in range(2, 300, 2):
                node.stream.finish(seq, (End.FAILED, "é" * 200) if seq < 2 * epoch else TAKEN)
    node.receiver.saved([stream for stream, _, _ in node.receiver.checkpoint()])
    acks = node.receiver.acks()
    assert acks
    data = encode_packet(Resumption(2**53 - 1, 2**53 - 1, acks))
    assert len(data) <= 64 * 1024
    assert decode_resume(data).acks == acks


def test_a_stream_with_many_outcomes_is_told_once_the_link_is_up(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 100)))
    for seq in range(1, 100):
        node.finish(seq, ending=(End.FAILED, f"reason {seq}"))
    node.receiver.saved([stream for stream, _, _ in node.receiver.checkpoint()])
    assert node.receiver.acks() == []
    node.receiver.retell()
    assert [len(ack.outcomes) for ack in node.receiver.reminders()] == [99]


# Restart.


def test_a_restart_repeats_only_what_was_not_saved(node: ReceivingNode) -> None:
    node.take(batch(*range(1, 8)))
    node.finish(1, 2, 4)
    again = node.restarted()
    node.finish(3)
    assert again.take(batch(*range(1, 9))) == [3, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", encode([1, [], []]), encode([-1, [], [], 0]), encode([2**60, [], [], 0]), encode(["1", [], [], 0]),
     encode([1, [[-5, 3]], [], 0]), encode([1, [], [[1, 1, 5]], 0]), encode([1, [], [[1, 1, "busy"]], 0]),
     encode([1, [], [[1, 1, 9, "busy"]], 0]), encode([1, [], [], 0]) + b"\0"],
)  # fmt: skip
def test_a_damaged_row_is_refused(node: ReceivingNode, data: bytes) -> None:
    with pytest.raises(CodecError):
        node.receiver.restore(2, EPOCH, data)


# Large messages.


def test_pieces_give_the_message_in_its_turn(node: ReceivingNode) -> None:
    assert node.take(batch(1, 3, pieces=pieces(2, 5000, 700, end=3500))) == [1]
    rest = pieces(2, 5000, 700, start=3500)
    _, ready = node.receiver.accept(Batch(2, EPOCH, 1, [record(4)], rest), NOW)
    assert [(each.seq, len(each.payload)) for each in ready] == [(2, 5000), (3, 1), (4, 1)]
    assert node.budget.used == 0


def test_pieces_cut_elsewhere_after_a_new_link(node: ReceivingNode) -> None:
    node.take(batch(pieces=pieces(1, 5000, 700, end=2000)))
    assert node.stream.ack().partial == [1, 2000]
    assert node.take(batch(pieces=pieces(1, 5000, 999))) == [1]


def test_pieces_that_come_again_are_answered_with_what_is_held(node: ReceivingNode) -> None:
    """Else their sender would wait at the end of its window for ever."""
    node.take(batch(pieces=pieces(1, 5000, 700, end=2000)))
    assert node.receiver.reminders() == []
    node.take(batch(pieces=pieces(1, 5000, 700, end=1400)))
    assert [ack.partial for ack in node.receiver.reminders()] == [[1, 2000]]
    assert node.take(batch(pieces=pieces(1, 5000, 700))) == [1]
    node.finish(1)
    node.ack()
    node.take(batch(pieces=pieces(1, 5000, 700, end=1400)))
    assert [(ack.upto, ack.partial) for ack in node.receiver.reminders()] == [(1, [])]


def test_progress_is_told_now_and_then(node: ReceivingNode) -> None:
    told = 0
    for piece in pieces(1, 5 * PARTIAL_EVERY, 100_000):
        node.take(batch(pieces=[piece]))
        told += len(node.receiver.reminders())
    assert told == 4


def test_a_tombstone_in_place_of_the_rest(node: ReceivingNode) -> None:
    node.take(batch(pieces=pieces(1, 5000, 700, end=2000)))
    _, ready = node.receiver.accept(Batch(2, EPOCH, 1, [tombstone(1), record(2)], []), NOW)
    assert [each.seq for each in ready] == [1, 2]
    assert node.budget.used == 0


def test_a_base_past_it_forgets_the_pieces(node: ReceivingNode) -> None:
    node.take(batch(pieces=pieces(1, 5000, 700, end=2000)))
    node.take(batch(base=2))
    assert node.budget.used == 0
    assert node.stream.ack().partial == []


def test_a_gap_in_the_pieces_is_refused(node: ReceivingNode) -> None:
    """A link is in order: whoever skips has lost track, and starts anew over a new link."""
    assert refused(node, batch(pieces=pieces(1, 5000, 700, start=700))) == "bad-piece"
    node.take(batch(pieces=pieces(1, 5000, 700, end=700)))
    assert refused(node, batch(pieces=pieces(1, 5000, 700, start=1400))) == "bad-piece"
    assert node.take(batch(pieces=pieces(1, 5000, 700))) == [1]


def test_a_stray_piece_does_not_disturb(node: ReceivingNode) -> None:
    node.take(batch(pieces=pieces(1, 5000, 700, end=2100)))
    for stray in (pieces(3, 5000, 700, start=700, end=1400), pieces(2, 5000, 700, end=700)):
        assert refused(node, batch(pieces=stray)) == "bad-piece"
    assert node.take(batch(pieces=pieces(1, 5000, 700, start=2100))) == [1]


def test_an_earlier_message_may_begin_again(node: ReceivingNode) -> None:
    """Pieces of a later one came as mail, say; the lane needs the earlier one first."""
    node.take(batch(pieces=pieces(2, 5000, 700, end=2100)))
    assert node.take(batch(pieces=pieces(1, 5000, 700))) == [1]
    assert node.take(batch(pieces=pieces(2, 5000, 700))) == [2]


def test_pieces_that_hold_another_message_are_refused(node: ReceivingNode) -> None:
    wrong = [Piece(1, piece.offset, piece.total, piece.data) for piece in pieces(2, 500, 200)]
    assert refused(node, batch(pieces=wrong)) == "bad-piece"
    assert refused(node, batch(pieces=[Piece(1, 0, 3, b"\xc1\xc1\xc1")])) == "bad-packet"


def test_a_message_larger_than_any_may_be_ends_the_link(node: ReceivingNode) -> None:
    assert refused(node, batch(pieces=[Piece(1, 0, MAX_FRAME + 1, b"x")])) == "too-large"
    assert refused(node, batch(pieces=[Piece(1, 0, 2**53 - 1, b"x")])) == "too-large"
    assert node.budget.used == 0


def test_a_refused_frame_loses_nothing_of_what_was_in_it() -> None:
    """The messages before the piece that did not fit were not handed out, so they must come again."""
    node = ReceivingNode(budget=1000)
    assert refused(node, batch(1, 2, pieces=pieces(3, 5000, 1500))) == "overloaded"
    assert node.take(batch(1, 2)) == [1, 2]


# Bounds.


def test_the_window_is_kept(node: ReceivingNode) -> None:
    assert refused(node, batch(WINDOW + 1)) == "window"
    assert node.take(batch(*range(1, WINDOW + 1))) == list(range(1, WINDOW + 1))
    assert refused(node, batch(WINDOW + 1)) == "window"
    node.finish(1)
    assert node.take(batch(WINDOW + 1)) == [WINDOW + 1]


def test_bytes_before_their_turn_are_bounded(node: ReceivingNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming_stream, "MAX_FRAME", 1000)
    room = 2 * WINDOW_BYTES + 1000
    chunk = bytes(100_000)
    assert refused(node, Batch(2, EPOCH, 1, [record(seq, chunk) for seq in range(2, 200)], [])) == "window"
    assert room - 200_000 < node.budget.used <= room


def test_bytes_before_their_turn_are_in_the_budget() -> None:
    """Many streams of one stranger share what all strangers may hold."""
    node = ReceivingNode(budget=1000)
    for epoch in range(1, 7):
        node.take(batch(2, epoch=epoch), NOW)
        node.take(Batch(2, epoch, 1, [record(3, bytes(20))], []))
    assert refused(node, Batch(2, 9, 1, [record(2, bytes(200))], [])) == "overloaded"
    assert 800 < node.budget.used <= 1000
    node.receiver.close()
    assert node.budget.used == 0


def test_streams_are_forgotten_oldest_first(node: ReceivingNode) -> None:
    for epoch in range(1, MAX_STREAMS + 3):
        node.take(batch(2, epoch=epoch, pieces=pieces(1, 500, 100, end=100)), NOW + epoch)
    assert len(node.receiver._streams) == MAX_STREAMS
    assert min(node.receiver._streams) == (2, 3)
    assert node.budget.used == MAX_STREAMS * (100 + OVERHEAD + 1)


def test_streams_that_were_not_saved_leave_nothing_to_be_deleted(node: ReceivingNode) -> None:
    """A stranger opens 40,000 a second, and its rows have a measure: the names of those that are gone would pile up."""
    for epoch in range(1, 3 * MAX_STREAMS + 1):
        node.take(batch(1, epoch=epoch), NOW + epoch)
        node.finish(1)
    assert node.receiver.forgotten == []
    assert len(node.receiver.checkpoint()) == MAX_STREAMS
    node.take(batch(1, epoch=1000), NOW + 1000)
    assert node.receiver.forgotten == [(2, 2 * MAX_STREAMS + 1)]


small = st.integers(0, 12)
any_number = small | st.integers(0, 2**53 - 1)
any_record = st.builds(Record, any_number, any_number, st.sampled_from(["", "t"]), st.just("ms"), st.binary(max_size=9))
any_piece = st.builds(Piece, any_number, any_number, any_number, st.binary(max_size=60)) | st.sampled_from(
    [piece for seq in range(1, 6) for piece in pieces(seq, 100, 40)]
)
any_batch = st.builds(
    Batch,
    st.sampled_from([0, 2]),
    st.sampled_from([EPOCH, 9]),
    small | any_number,
    st.lists(any_record, max_size=6),
    st.lists(any_piece, max_size=4),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(any_batch, max_size=15), st.integers(0, 2**32))
def test_no_batch_breaks_the_machine(batches: list[Batch], seed: int) -> None:
    draw = random.Random(seed)
    node = ReceivingNode(budget=5000)
    open_: list[tuple[Stream, int]] = []
    handed: dict[tuple[int, int], list[int]] = {}
    for each in batches:
        try:
            stream, ready = node.receiver.accept(each, NOW)
        except ProtocolError as error:
            assert error.reason in ("window", "bad-piece", "bad-packet", "overloaded", "too-large")  # noqa: PT017
        else:
            seen = handed.setdefault((stream.lane, stream.epoch), [0])
            for one in ready:
                assert one.seq > seen[-1], "in order, none twice"
                seen.append(one.seq)
                open_.append((stream, one.seq))
        while open_ and draw.random() < 0.6:
            stream, seq = open_.pop(draw.randrange(len(open_)))
            stream.finish(seq, draw.choice([TAKEN, BUSY]))
        for stream, kept, ack in node.receiver.checkpoint():
            node.receiver.saved([stream])
            assert ack.upto < stream.next
            assert all(ack.upto < low <= high for low, high in ack.ranges)
            again = Receiver(Account(1))
            again.restore(stream.lane, stream.epoch, kept)
            assert again._streams[stream.lane, stream.epoch].done == stream.done
        node.receiver.reminders()
        node.receiver.acks()
        held = sum(stream.assembler.held + stream.pending_bytes for stream in node.receiver._streams.values())
        assert node.budget.used == held <= 5000
    node.receiver.close()
    assert node.budget.used == 0
