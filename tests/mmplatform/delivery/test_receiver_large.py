"""Messages that are larger than their sender may send: refused at the first piece, and nothing of them is held."""

import random

import pytest

from mmplatform.accounts import Account
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import MAX_HEAD, WINDOW, Batch, End, Piece, Record
from mmplatform.errors import ProtocolError

EPOCH = 5
NOW = 10**12
LARGE = 1000 + MAX_HEAD + 1


class Sparing:
    """A receiver that takes payloads of at most ``largest`` bytes."""

    def __init__(self) -> None:
        self.budget = Account(1 << 30)
        self.largest = 1000
        self.receiver = Receiver(self.budget, lambda: self.largest)
        self.stream: Stream

    def take(self, *seqs: int, pieces: list[Piece] | None = None) -> list[int]:
        records = [Record(seq, NOW, "t", "ms", b"x") for seq in seqs]
        self.stream, ready = self.receiver.accept(Batch(2, EPOCH, 1, records, pieces or []), NOW)
        return [record.seq for record in ready]

    def refuses(self, *pieces: Piece) -> str:
        with pytest.raises(ProtocolError) as caught:
            self.take(pieces=list(pieces))
        return caught.value.reason

    def acknowledged(self) -> tuple[int, list[tuple[int, int, End, str]]]:
        ((stream, _, ack),) = self.receiver.checkpoint()
        self.receiver.saved([stream])
        return ack.upto, ack.outcomes


@pytest.fixture
def node() -> Sparing:
    return Sparing()


def test_a_large_message_ends_refused_at_its_first_piece(node: Sparing) -> None:
    assert node.take(pieces=[Piece(1, 0, LARGE, b"x" * 900)]) == []
    assert node.acknowledged() == (1, [(1, 1, End.REFUSED, "too-large")])
    assert node.budget.used == 0, "nothing of it is held"
    assert node.take(pieces=[Piece(1, 900, LARGE, b"x" * 900), Piece(1, 0, LARGE, b"x")]) == []
    assert (node.budget.used, node.stream.stale) == (0, True), "the rest is on its way, and says nothing new"
    assert [ack.upto for ack in node.receiver.reminders()] == [1]
    assert node.take(2) == [2]


def test_what_fits_is_put_together(node: Sparing) -> None:
    assert node.take(pieces=[Piece(1, 0, LARGE - 1, b"x" * 900)]) == []
    assert node.budget.used == 900
    node.largest = 500
    assert node.take(pieces=[Piece(1, 900, LARGE - 1, b"x" * 900)]) == []
    assert node.budget.used == 1800, "it is said once, at the first piece, what may come"


def test_it_is_passed_in_its_turn(node: Sparing) -> None:
    assert node.take(2, pieces=[Piece(3, 0, LARGE, b"x"), Piece(3, 1, LARGE, b"x")]) == []
    assert node.take(4) == []
    assert node.take(1) == [1, 2, 4]
    for seq in (1, 2, 4):
        node.stream.finish(seq)
    assert node.acknowledged() == (4, [(3, 3, End.REFUSED, "too-large")])


def test_what_an_earlier_run_handled_behind_it_is_not_handed_out_again(node: Sparing) -> None:
    node.take(1, 2, 3)
    node.stream.finish(3)
    node.receiver.restore(2, EPOCH, node.stream.kept())
    assert node.take(1, pieces=[Piece(2, 0, LARGE, b"x")]) == [1]
    node.stream.finish(1)
    assert (node.stream.done, node.stream.next) == (3, 4)
    node.receiver.restore(2, EPOCH, node.stream.kept())
    assert node.take(3, 4) == [4]


def test_a_refusal_passes_what_an_earlier_run_handled_at_once(node: Sparing) -> None:
    node.take(1, 2)
    node.stream.finish(2)
    node.receiver = Receiver(node.budget, lambda: node.largest)
    node.receiver.restore(2, EPOCH, node.stream.kept())
    assert node.take(pieces=[Piece(1, 0, LARGE, b"x")]) == []
    assert (node.stream.done, node.stream.next) == (2, 3)
    assert node.take(2, 3) == [3]


def test_it_is_refused_within_the_window_only(node: Sparing) -> None:
    assert node.refuses(Piece(WINDOW + 1, 0, LARGE, b"x")) == "window"
    assert node.take(pieces=[Piece(WINDOW, 0, LARGE, b"x")]) == []


def test_it_stays_refused_when_the_rest_of_the_frame_is_bad(node: Sparing) -> None:
    assert node.refuses(Piece(1, 0, LARGE, b"x"), Piece(2, 5, 10, b"x")) == "bad-piece"
    assert node.take(1) == []
    assert node.take(2) == [2]


def test_one_that_was_left_is_refused_when_it_comes_again(node: Sparing) -> None:
    assert node.take(1, 2) == [1, 2]
    stream = node.stream
    stream.leave(Record(1, NOW, "t", "ms", b"x"))
    stream.finish(2)
    assert node.refuses(Piece(1, 0, LARGE, b"x"), Piece(9, 5, 10, b"x")) == "bad-piece"
    assert (stream.done, stream.next, stream.left.numbers) == (2, 3, {})


def test_random_pieces_hold_no_more_than_they_may(node: Sparing) -> None:
    draw = random.Random(1)
    seen: list[int] = []
    for _ in range(20_000):
        total = draw.choice([50, 60, LARGE, 2**53 - 1])
        piece = Piece(draw.randrange(1, 9), draw.choice([0, 0, 30, LARGE]), total, bytes(draw.randrange(1, 40)))
        try:
            seen += node.take(*draw.choices(range(1, 9), k=draw.randrange(2)), pieces=[piece])
        except ProtocolError as error:
            assert error.reason in ("bad-piece", "too-large", "bad-packet")  # noqa: PT017 - both ends are fine
        assert node.budget.used < 60 + 8 * 100
    assert len(seen) <= 8 * 20_000
