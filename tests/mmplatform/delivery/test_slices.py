"""A frame in slices holds what the frame holds, in order, and no slice holds many items."""

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.slices import WORK, WORK_OF_STREAM, sliced, weight
from mmplatform.delivery.wire import Ack, Batch, End, Event, Frame, Piece, Record, Reply, Request

numbers = st.integers(0, 40)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    return Frame(
        7,
        3,
        [Ack(2, n + 1, n, [], [(n, n, End.FAILED, "")] * n, []) for n in range(draw(st.integers(0, 3)))],
        [
            Batch(
                2,
                n + 1,
                n,
                [Record(k + 1, 9, "t", "ms", b"") for k in range(draw(numbers))],
                [Piece(k, 0, 9, b"x") for k in range(draw(numbers))],
            )
            for n in range(draw(st.integers(0, 4)))
        ],
        [Event(f"t{n}", "ms", b"") for n in range(draw(numbers))],
        [Request(n, "t", "ms", b"") for n in range(draw(numbers))],
        [Reply(n, 0, b"") for n in range(draw(numbers))],
    )


@given(frames(), st.integers(1, 50))
def test_nothing_is_lost_or_moved(frame: Frame, most: int) -> None:
    parts = list(sliced(frame, most))
    assert [ack for part in parts for ack in part.acks] == frame.acks
    assert [event for part in parts for event in part.events] == frame.events
    assert [request for part in parts for request in part.requests] == frame.requests
    assert [reply for part in parts for reply in part.replies] == frame.replies
    for batch in frame.batches:
        of = [part for each in parts for part in each.batches if part.epoch == batch.epoch]
        assert [record for part in of for record in part.records] == batch.records
        assert [piece for part in of for piece in part.pieces] == batch.pieces
        assert {(part.lane, part.base) for part in of} == {(batch.lane, batch.base)}
    assert all((part.now, part.floor) == (frame.now, frame.floor) for part in parts)
    assert not any(part.empty for part in parts)


@given(frames(), st.integers(1, 50))
def test_no_slice_is_heavier_than_one_batch_and_its_items(frame: Frame, most: int) -> None:
    for part in sliced(frame, most):
        if not part.acks:
            assert weight(part) <= max(WORK, most) + WORK_OF_STREAM


def test_everything_weighs() -> None:
    assert weight(Frame(0, 0, [], [Batch(2, 1, 1, [], [])] * 256, [], [], [])) == 256 * WORK_OF_STREAM
    assert weight(Frame(0, 0, [Ack(2, 1, 0, [], [(1, 1, End.FAILED, "")] * 8192, [])], [], [], [], [])) == 513
    assert weight(Frame(0, 0, [], [], [Event("t", "ms", b"")] * 5, [Request(1, "t", "ms", b"")], [])) == 5 + WORK
