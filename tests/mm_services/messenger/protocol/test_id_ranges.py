"""Where the ids of a range are, and what stands for them."""

from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.id_ranges import SortedIds, end_of, print_of, split, unequal
from mm_services.messenger.protocol.limits import ID
from tests.support.id_stores import SALT, joined

ids = st.sets(st.binary(min_size=ID, max_size=ID) | st.binary(max_size=2).map(lambda last: last.rjust(ID, b"\0")))


def prefix(one: bytes, depth: int) -> int:
    return int.from_bytes(one) >> (8 * ID - depth)


@given(ids, st.integers(0, 20), st.data())
def test_a_range_has_the_ids_that_begin_with_its_number(found: set[bytes], depth: int, data: st.DataObject) -> None:
    numbers = st.integers(0, (1 << depth) - 1)
    ranges = sorted(data.draw(st.sets(numbers | st.sampled_from([prefix(one, depth) for one in found] or [0]))))
    bound = st.binary(min_size=ID, max_size=ID) | st.sampled_from(sorted(found) or [b""]) | st.just(b"")
    start, until = data.draw(bound), data.draw(bound)
    store = SortedIds(joined(found))
    expected = [
        one for one in sorted(found) if prefix(one, depth) in ranges and one >= start and (one < until or not until)
    ]
    assert list(store.within(store.spans(depth, ranges, start, until))) == expected


@given(ids, st.binary(min_size=ID, max_size=ID))
def test_a_place_is_that_of_the_first_not_below(found: set[bytes], bound: bytes) -> None:
    assert SortedIds(joined(found)).place(bound) == sum(one < bound for one in found)


@given(st.integers(0, 12), st.data())
def test_a_range_ends_where_the_next_begins(depth: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, (1 << depth) - 1))
    highest = ((number + 1) << (8 * ID - depth)) - 1
    assert highest.to_bytes(ID) < end_of(number, depth)
    assert number + 1 == 1 << depth or end_of(number, depth) == (highest + 1).to_bytes(ID)


def test_ranges_are_split_in_order() -> None:
    assert split([1, 3], 2) == [4, 5, 6, 7, 12, 13, 14, 15]
    assert split([1, 3], 0) == [1, 3]


def test_prints_differ_where_ids_do() -> None:
    store, other = SortedIds(joined([bytes(ID), b"\xff" * ID])), SortedIds(joined([bytes(ID), b"\xfe" * ID]))
    prints, others = (one.prints(one.spans(2, range(4)), SALT) for one in (store, other))
    assert unequal(prints, others) == [3]
    assert prints[:8] == print_of(bytes(ID), SALT)
    assert prints[8:16] == prints[16:24] == print_of(b"", SALT) != print_of(b"", bytes(16))
