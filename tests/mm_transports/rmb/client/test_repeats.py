"""What came counts once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.client.repeats import COPIES, Repeats

names = st.tuples(st.integers(1, 3), st.sampled_from("abc"), st.sampled_from(["RmbRequest", "RmbResponse"]))


def test_an_envelope_counts_once_and_each_copy_is_acknowledged() -> None:
    repeats, told = Repeats(), list[str]()
    name = (10, "uid", "RmbRequest")
    assert repeats.first(name, 0, lambda: told.append("first"))
    assert not repeats.first(name, 1, lambda: told.append("second"))
    assert told == []  # it is being dealt with
    repeats.done(name, 100, 1)
    assert told == ["first", "second"]
    assert not repeats.first(name, 99, lambda: told.append("third"))
    assert told == ["first", "second", "third"]
    assert repeats.count == 2
    assert repeats.first(name, 100, lambda: None)  # its time is over: so is that of each envelope under this name


def test_one_that_was_not_dealt_with_comes_again() -> None:
    repeats = Repeats()
    name = (10, "uid", "RmbRequest")
    assert repeats.first(name, 0, lambda: None)
    repeats.again(name)
    assert repeats.first(name, 0, lambda: None)
    repeats.done((11, "other", "RmbRequest"), 1, 0)  # never came
    assert len(repeats) == 0


def test_who_sends_much_has_its_own_forgotten() -> None:
    repeats = Repeats(most=10, share=6)
    honest = (1, "honest", "RmbRequest")
    for name in [honest, *((2, str(number), "RmbRequest") for number in range(20))]:
        assert repeats.first(name, 0, lambda: None)
        repeats.done(name, 100, 0)
    assert honest in repeats
    assert len(repeats) == 7
    for twin in range(3, 50):
        repeats.first((twin, "x", "RmbRequest"), 0, lambda: None)
        repeats.done((twin, "x", "RmbRequest"), 100, 0)
    assert len(repeats) == 10


@given(st.lists(st.tuples(names, st.integers(0, 20), st.booleans()), max_size=60))
def test_no_envelope_is_dealt_with_twice_in_its_time(came: list[tuple[tuple[int, str, str], int, bool]]) -> None:
    repeats, ends, acknowledged = Repeats(most=1000, share=1000), dict[tuple[int, str, str], int](), Counter[int]()
    for now, (name, life, deals) in enumerate(came):
        first = repeats.first(name, now, lambda now=now: acknowledged.update([now]))  # type: ignore[misc]
        if first:
            assert ends.get(name, now) <= now
            if deals:
                ends[name] = now + life
                repeats.done(name, now + life, now)
            else:
                repeats.again(name)
        else:
            assert ends[name] > now
    assert all(count == 1 for count in acknowledged.values())


def test_one_that_comes_again_and_again_while_it_is_dealt_with_takes_no_room() -> None:
    repeats, told = Repeats(), list[int]()
    name = (10, "uid", "RmbRequest")
    for number in range(1000):
        assert repeats.first(name, 0, lambda number=number: told.append(number)) is (number == 0)  # type: ignore[misc]
    repeats.done(name, 100, 0)
    assert told == list(range(1000 - COPIES, 1000))  # those of the newest connection among them
    assert repeats.count == 999
