"""A ping is answered when all that was sent before it is safe, and in the order of pings."""

from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.barrier import MOST_PINGS, Barrier

STEPS = st.lists(st.one_of(st.just("add"), st.just("ping"), st.integers(0, 30)), max_size=60)


def name(number: int) -> tuple[bytes, bytes]:
    return b"box", number.to_bytes(4)


def test_a_ping_with_nothing_before_is_answered_at_once() -> None:
    assert Barrier().ping(b"pong") == [b"pong"]


def test_a_ping_waits_for_what_was_renamed() -> None:
    barrier = Barrier()
    barrier.add(name(1), 10)
    assert barrier.ping(b"pong") == []
    barrier.rename(name(1), name(2))
    assert barrier.done(name(1)) == []
    assert barrier.done(name(2)) == [b"pong"]
    assert (len(barrier), barrier.size) == (0, 0)


def test_so_many_pings_may_wait() -> None:
    barrier = Barrier()
    barrier.add(name(1), 10)
    for _ in range(MOST_PINGS):
        assert not barrier.full_of_pings
        barrier.ping(b"")
    assert barrier.full_of_pings


@given(steps=STEPS)
def test_no_ping_is_answered_early_or_late(steps: list[str | int]) -> None:
    barrier, added, left = Barrier(), 0, set[int]()
    pings: list[set[int]] = []  # what each ping waits for
    answered = 0
    for step in steps:
        if step == "add":
            barrier.add(name(added), 1)
            left.add(added)
            added += 1
            continue
        if step == "ping":
            if barrier.full_of_pings:
                continue
            pings.append(set(left))
            answered += len(barrier.ping(b"pong"))
        elif isinstance(step, int):
            answered += len(barrier.done(name(step)))
            left.discard(step)
        assert (len(barrier), barrier.size) == (len(left), len(left))
        ready = 0
        while ready < len(pings) and not pings[ready] & left:
            ready += 1
        assert answered == ready
