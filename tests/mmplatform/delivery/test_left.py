"""What is left with its sender: new when it comes again, in order, and nothing of its topic passes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.accounts import Account
from mmplatform.delivery import left as module
from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.left import Left
from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import WINDOW, Batch, Record
from mmplatform.errors import ProtocolError

NOW = 10**12


def record(seq: int, topic: str = "chat", protocol: str = "ms") -> Record:
    return Record(seq, NOW, topic, protocol, b"x")


def batch(*seqs: int, base: int = 1) -> Batch:
    return Batch(2, 5, base, [record(seq) for seq in seqs], [])


# The set of what is left.


steps = st.lists(
    st.tuples(st.sampled_from(["add", "take", "settle", "restore"]), st.integers(1, 30), st.sampled_from("abc")),
    max_size=80,
)


@pytest.mark.parametrize("slack", [0, module.SLACK])
@given(done=steps)
def test_what_is_left_is_what_a_dict_says(slack: int, done: list[tuple[str, int, str]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "SLACK", slack)
        left, model = Left(), dict[int, str]()
        topic_of: dict[int, str] = {}  # a number has one topic for ever
        for step, number, topic in done:
            topic = topic_of.setdefault(number, topic)
            if step == "add" and number not in model:
                left.add(record(number, topic))
                model[number] = topic
            elif step == "take" and number in model:
                del left.numbers[number], model[number]
            elif step == "settle":
                left.settle_upto(number // 3)
                model = {seq: topic for seq, topic in model.items() if seq > number // 3}
            elif step == "restore":
                left.restore(dict(left.numbers))
            assert left.numbers.keys() == model.keys()
            assert left.lowest() == min(model, default=0)
            for seq in (1, number, 31):
                for other in "abc":
                    earlier = any(one < seq and topic == other for one, topic in model.items())
                    assert left.precedes(record(seq, other)) == earlier


def test_the_same_topic_of_another_protocol_is_another() -> None:
    left = Left()
    left.add(record(1, "chat", "ms"))
    assert left.precedes(record(2, "chat", "ms"))
    assert not left.precedes(record(2, "chat", "bt"))


def test_topics_of_what_came_again_are_forgotten() -> None:
    left = Left()
    for seq in range(1, 10_000):
        left.add(record(seq, f"topic{seq}"))
        del left.numbers[seq]
    assert len(left._topics) <= module.SLACK + 2
    assert len(left._heap) <= module.SLACK + 2


# In a stream.


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(Account(1 << 30))


def take(receiver: Receiver, *seqs: int, base: int = 1) -> tuple[Stream, list[int]]:
    stream, ready = receiver.accept(batch(*seqs, base=base), NOW)
    return stream, [one.seq for one in ready]


def test_what_is_left_is_not_acknowledged_and_new_when_it_comes_again(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2, 3)
    stream.leave(record(2))
    stream.finish(1)
    stream.finish(3)
    assert (stream.ack().upto, stream.ack().ranges) == (1, [(3, 3)])
    assert (receiver.left(), receiver.unfinished) == ([(2, 5)], 0)
    assert take(receiver, 2, 3, 4)[1] == [2, 4]
    assert receiver.left() == []
    assert take(receiver, 2)[1] == [], "only once"
    stream.finish(2)
    stream.finish(4)
    assert stream.ack().upto == 4


def test_what_was_left_comes_again_in_its_order(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2, 3)
    for seq in (1, 2, 3):
        stream.leave(record(seq))
    assert stream.must_leave(record(4))
    assert not stream.must_leave(record(4, "other"))
    assert take(receiver, 3, 2)[1] == []
    assert take(receiver, 1)[1] == [1, 2, 3]
    assert not stream.must_leave(record(4))


def test_how_far_a_stream_is_counts_what_is_left(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2, 3)
    stream.leave(record(2))
    assert receiver.progress(2, 5) == (1, 0)
    take(receiver, 2)
    assert receiver.progress(2, 5) == (3, 0)


def test_what_its_sender_has_given_up_is_left_no_more(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2, 3)
    for seq in (1, 2, 3):
        stream.leave(record(seq))
    take(receiver, base=3)
    assert list(stream.left.numbers) == [3]
    take(receiver, base=4)
    assert (receiver.left(), stream.done) == ([], 3)


def test_what_is_left_is_within_the_window(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1)
    stream.leave(record(1))
    for first in range(2, WINDOW + 1, 512):
        _, ready = take(receiver, *range(first, min(first + 512, WINDOW + 1)))
        for seq in ready:
            stream.finish(seq)
    with pytest.raises(ProtocolError, match="window"):
        take(receiver, WINDOW + 2)


def test_a_batch_that_breaks_off_leaves_all_as_it_was(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2)
    stream.leave(record(1))
    with pytest.raises(ProtocolError, match="window"):
        take(receiver, 1, 3, WINDOW + 9)
    assert (list(stream.left.numbers), stream.next) == ([1], 3)
    assert take(receiver, 1, 3)[1] == [1, 3]


def test_after_a_restart_what_was_left_is_new(receiver: Receiver) -> None:
    stream, _ = take(receiver, 1, 2, 3)
    stream.leave(record(2))
    stream.finish(1)
    stream.finish(3)
    again = Receiver(Account(1 << 30))
    again.restore(2, 5, stream.kept())
    assert again.left() == []
    assert take(again, 1, 2, 3, 4)[1] == [2, 4]
