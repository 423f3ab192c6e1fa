"""Rows that are gone are known as such to whoever may have read them before, and to nobody for longer."""

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.durable.gone import Gone


def test_a_row_that_went_while_it_was_read_is_known() -> None:
    gone = Gone()
    with gone.reading():
        gone.add([1])
        gone.deleted([1])
        assert 1 in gone
    assert 1 not in gone


def test_a_row_is_known_until_its_deletion_is_saved() -> None:
    gone = Gone()
    gone.add([1])
    with gone.reading():
        pass
    assert 1 in gone
    gone.deleted([1])
    assert 1 not in gone


def test_who_began_later_does_not_hold_what_went_before() -> None:
    gone = Gone()
    first = gone.begin()
    gone.add([1])
    gone.deleted([1])
    second = gone.begin()
    gone.add([2])
    gone.deleted([2])
    gone.end(first)
    assert (1 in gone, 2 in gone) == (False, True)
    gone.end(second)
    assert 2 not in gone


def test_readers_that_break_off_hold_nothing() -> None:
    gone = Gone()
    try:
        with gone.reading():
            gone.add([1])
            gone.deleted([1])
            raise ValueError
    except ValueError:
        assert 1 not in gone


steps = st.lists(st.tuples(st.sampled_from(["begin", "end", "add", "saved"]), st.integers(0, 5)), max_size=60)


@given(steps)
def test_what_a_reader_may_have_read_is_known_to_be_gone(done: list[tuple[str, int]]) -> None:
    """The model: a row is on disk until its deletion is saved; a reader has read all that was on disk at its begin."""
    gone, number = Gone(), 0
    unsaved: list[int] = []
    readers: list[tuple[int, set[int]]] = []  # with what each may still come upon, though it is gone
    for step, choice in done:
        if step == "begin":
            readers.append((gone.begin(), set(unsaved)))
        elif step == "end" and readers:
            gone.end(readers.pop(choice % len(readers))[0])
        elif step == "add":
            number += 1
            gone.add([number])
            unsaved.append(number)
            for _, read in readers:
                read.add(number)
        elif step == "saved" and unsaved:
            gone.deleted([unsaved.pop(choice % len(unsaved))])
        for _, read in readers:
            assert all(row in gone for row in read)
        assert all(row in gone for row in unsaved)
    for began, _ in readers:
        gone.end(began)
    gone.deleted(unsaved)
    assert not gone._numbers
    assert not gone._deleted
