"""What is left with its sender: found by topic, in its order, and bounded by what is left now."""

import random

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.left import SLACK, Left
from mmplatform.delivery.wire import Record


def record(seq: int, topic: str = "a", protocol: str = "ms") -> Record:
    return Record(seq, 1, topic, protocol, b"")


def test_only_an_earlier_message_of_the_same_topic_precedes() -> None:
    left = Left()
    assert not left.precedes(record(5))
    left.add(record(3))
    assert left.precedes(record(4))
    assert not left.precedes(record(2))
    assert not left.precedes(record(3)), "itself"
    assert not left.precedes(record(4, "b"))
    assert not left.precedes(record(4, "a", "other"))


def test_what_is_settled_at_the_sender_is_left_no_more() -> None:
    left = Left()
    for seq in (1, 2, 5):
        left.add(record(seq))
    left.settle_upto(2)
    assert (left.lowest(), left.precedes(record(5)), left.precedes(record(6))) == (5, False, True)
    left.settle_upto(9)
    assert (left.lowest(), left.precedes(record(99))) == (0, False)


def test_a_peer_that_invents_topics_fills_no_memory() -> None:
    """One after the other is left, under a topic of its own, and comes again as a tombstone."""
    left = Left()
    left.add(record(1, "first"))
    for seq in range(2, 10_000):
        left.add(record(seq, f"topic {seq}"))
        left.add(record(seq, f"topic {seq}"))
        del left.numbers[seq]
    assert len(left._heap) <= 2 * SLACK
    assert len(left._topics) <= 2 * SLACK
    assert left.lowest() == 1


@given(st.lists(st.tuples(st.integers(1, 12), st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(0, 99))
def test_it_is_a_set_of_numbers_by_topic(steps: list[tuple[int, str, bool]], seed: int) -> None:
    draw, left, model = random.Random(seed), Left(), dict[int, str]()
    topics = {seq: draw.choice("ab") for seq in range(1, 13)}  # a number has one topic for good
    for seq, topic, leaves in steps:
        if leaves:
            left.add(record(seq, topics[seq]))
            model[seq] = topics[seq]
        elif seq in model:
            del left.numbers[seq], model[seq]
        elif draw.random() < 0.1:
            left.restore(dict(left.numbers))
        assert left.lowest() == min(model, default=0)
        assert left.precedes(record(seq, topic)) == any(n < seq and t == topic for n, t in model.items())
