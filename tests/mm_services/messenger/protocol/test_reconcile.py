"""Two stores find out what differs: all of it, for few bytes, and against those who lie."""

import contextlib
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mm_services.messenger.protocol import reconcile
from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.packets import MAX_DIFF
from mm_services.messenger.protocol.reconcile import MOST_LACKING, MOST_REQUESTS, Difference, Reconciler, answer
from mm_services.messenger.protocol.reconcile_packets import PAGE, ListedIds, Prints, Whole, request
from mmplatform.codec import encode
from mmplatform.errors import ProtocolError
from tests.support.id_stores import SALT, carried_on, compared, ids_of, joined

KIB = 1024
MANY = ids_of(100_000)

near = st.binary(min_size=1, max_size=2).map(lambda last: last.rjust(ID, b"\0"))
far = st.binary(min_size=ID, max_size=ID)
made_alike = st.binary(min_size=1, max_size=1).map(lambda first: first.ljust(ID, b"\xff"))
stores = st.sets(near | far | made_alike, max_size=200)


# What is found.


@given(stores, stores, stores, st.binary(min_size=16, max_size=16))
@example({bytes(ID)}, {b"\xff" * ID}, set(), SALT)
def test_all_that_differs_is_found(common: set[bytes], ours: set[bytes], theirs: set[bytes], salt: bytes) -> None:
    comparison = compared(common | ours, common | theirs, salt)
    assert comparison.pair == (theirs - ours - common, ours - theirs - common)
    assert comparison.found.complete


@given(st.integers(0, 3000), st.integers(0, 600), st.integers(0, 600), st.integers(0, 2**32))
def test_all_that_differs_of_more_is_found(count: int, more: int, other: int, seed: int) -> None:
    common, ours, theirs = ids_of(count, seed), ids_of(more, seed + 1), ids_of(other, seed + 2)
    comparison = compared(common | ours, common | theirs)
    assert comparison.pair == (theirs, ours)
    assert comparison.found.complete


@pytest.mark.parametrize("prefix", [b"\0\0\0\0\0\0\0\0\0", b"\xff" * 9, b"\x80"])
def test_ids_that_were_made_to_begin_alike_are_found_in_pages(prefix: bytes) -> None:
    """No range is too full: more than a page is in the smallest one."""
    crowd, common = ids_of(2 * PAGE + 10, 1, prefix), ids_of(500)
    comparison = compared(common, common | crowd)
    assert comparison.pair == (crowd, set())
    assert max(comparison.replies) <= MAX_DIFF
    assert compared(common | crowd, common).pair == (set(), crowd)


# What it costs.


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_of_a_hundred_thousand_cost_two_trips(seed: int) -> None:
    ours, theirs = ids_of(50, seed + 10), ids_of(50, seed + 20)
    comparison = compared(MANY | ours, MANY | theirs, seed.to_bytes(16))
    assert comparison.pair == (theirs, ours)
    assert comparison.trips == 2
    assert comparison.size < 36 * KIB


@pytest.mark.parametrize(("ours", "theirs"), [(100, 0), (0, 100)])
def test_a_hundred_on_one_side_cost_as_much(ours: int, theirs: int) -> None:
    comparison = compared(MANY | ids_of(ours, 1), MANY | ids_of(theirs, 2))
    assert comparison.trips == 2
    assert comparison.size < 36 * KIB


def test_equal_stores_cost_one_trip_of_few_bytes() -> None:
    for store in (MANY, ids_of(1000), ids_of(10), set()):
        comparison = compared(store, store)
        assert comparison.pair == (set(), set())
        assert comparison.trips == 1
        assert comparison.size < 50


def test_one_of_few_costs_little() -> None:
    assert compared(ids_of(10), ids_of(11)).size < 300
    comparison = compared(ids_of(1000), ids_of(1001))
    assert comparison.trips == 2
    assert comparison.size < KIB


@pytest.mark.parametrize(("differ", "most"), [(1, 9), (10, 12), (1000, 220), (5000, 640), (20_000, 1300)])
def test_what_it_costs_grows_with_what_differs(differ: int, most: int) -> None:
    comparison = compared(MANY | ids_of(differ // 2, 1), MANY | ids_of(differ - differ // 2, 2))
    assert comparison.found.complete
    assert comparison.size < most * KIB


def test_stores_with_nothing_in_common_list_their_ids() -> None:
    ours, theirs = ids_of(10_000, 1), ids_of(10_000, 2)
    for comparison in (compared(ours, set()), compared(set(), ours)):
        assert comparison.size < 10_000 * ID + KIB
        assert comparison.trips <= 2
    comparison = compared(ours, theirs)
    assert comparison.pair == (theirs, ours)
    assert comparison.size < 1.4 * 10_000 * ID
    assert max(comparison.requests + comparison.replies) <= MAX_DIFF


def test_what_is_too_much_for_one_comparison_is_left_to_the_next() -> None:
    ours: set[bytes] = set()
    comparison = compared(ours, MANY)
    assert not comparison.found.complete
    assert MOST_LACKING <= len(comparison.found.lacking) < MOST_LACKING + PAGE
    ours.update(comparison.found.lacking)
    comparison = compared(ours, MANY)
    assert comparison.found.complete
    assert ours | comparison.pair[0] == MANY


def test_an_answer_says_what_it_cost_and_has_a_bound() -> None:
    bound = 2 * len(MANY) * ID + KIB * KIB + 128
    assert len(MANY) * ID <= compared(MANY, MANY).cost <= bound
    assert compared(MANY | ids_of(5000, 1), MANY).cost <= bound
    assert compared(set(), set()).cost < KIB


# Stores that change, and salts.


def test_what_changes_meanwhile_does_no_harm() -> None:
    """Each request finds another store: what did not change is found, and nothing that was never there."""
    rnd, common = random.Random(3), ids_of(3000)
    steady, always = ids_of(200, 1), ids_of(200, 2)
    coming = iter(sorted(ids_of(1000, 4)))
    theirs, ever = common | always, common | always

    def reply(request: bytes) -> bytes:
        came = {next(coming) for _ in range(20)}
        theirs.update(came)
        ever.update(came)
        theirs.difference_update(rnd.sample(sorted(common & theirs), 20))
        return answer(joined(theirs), request).data

    found = carried_on(Reconciler(joined(common | steady), SALT), reply)
    assert always <= set(found.lacking) <= ever - common
    assert steady <= set(found.missing)
    assert not set(found.missing) & always


def test_the_salt_is_in_every_print() -> None:
    """Prints under one salt say nothing about those under another: nothing can be prepared that looks equal."""
    ids = joined(ids_of(1000))
    first, second = (Reconciler(ids, salt).begin() for salt in (SALT, bytes(16)))
    one, other = request(first), request(second)
    assert isinstance(one, Whole)
    assert isinstance(other, Whole)
    assert one.print != other.print
    assert answer(ids[ID:], first).data != answer(ids[ID:], second).data


# Others who lie, and bytes of any kind.


@pytest.mark.parametrize("parse", [lambda data: answer(b"", data), lambda data: begun().heard(data)])
@pytest.mark.parametrize("data", [b"", b"\x90", b"\xc0", b"\x93\x05\xc4\x00\xc4\x00", bytes(MAX_DIFF + 1)])
def test_what_is_no_packet_is_refused(parse: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ProtocolError, match="bad-diff"):
        parse(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_understood(data: bytes) -> None:
    for parse in (lambda: answer(joined(ids_of(200)), data), lambda: begun().heard(data)):
        with contextlib.suppress(ProtocolError):
            parse()


def begun(ids: set[bytes] = ids_of(200), compare: bool = False) -> Reconciler:  # noqa: B008  # it is only read
    """Return one that has asked for the whole, or for the ranges that differ."""
    reconciler = Reconciler(joined(ids), SALT)
    first = reconciler.begin()
    if compare:
        assert isinstance(reconciler.heard(answer(joined(ids | ids_of(20, 9)), first).data), bytes)
    return reconciler


LOW, HIGH = bytes(ID), b"\xff" * ID


@pytest.mark.parametrize(
    "reply",
    [
        Prints(5, b""),
        Prints(5, bytes(8 * 4)),  # other ranges than those asked for
        ListedIds([0], LOW[:-1]),
        ListedIds([0], HIGH + LOW),
        ListedIds([0], LOW + LOW),
        ListedIds([], LOW),
        ListedIds([1], b""),
        ListedIds([0], LOW, HIGH),  # few have no pages
        ListedIds([0], LOW, b"\xff"),
        Whole(SALT, 0, bytes(8)),
    ],
)
def test_a_reply_that_breaks_the_rules_is_refused(reply: object) -> None:
    with pytest.raises(ProtocolError, match="bad-diff"):
        begun().heard(encode(reply))


@pytest.mark.parametrize(
    "reply",
    [
        Prints(5, bytes(8 * 2)),
        ListedIds([0, 0], b""),
        ListedIds([1, 0], b""),
        ListedIds([8191], b""),
        ListedIds([0], HIGH),  # of a range that does not differ
        ListedIds([0], LOW + bytes(15) + b"\1", LOW),  # beyond what it says it lists
    ],
)
def test_a_list_that_breaks_the_rules_is_refused(reply: object) -> None:
    with pytest.raises(ProtocolError, match="bad-diff"):
        begun(compare=True).heard(encode(reply))


def test_pages_do_not_go_back() -> None:
    crowd = ids_of(3 * PAGE, 1)
    reconciler = Reconciler(b"", SALT)
    second = reconciler.heard(answer(joined(crowd), reconciler.begin()).data)
    assert isinstance(second, bytes)
    page = answer(joined(crowd), second).data
    assert isinstance(reconciler.heard(page), bytes)
    with pytest.raises(ProtocolError, match="bad-diff"):
        reconciler.heard(page)


def test_nothing_is_heard_that_was_not_asked_for() -> None:
    done = begun()
    assert isinstance(done.heard(encode(ListedIds([], b""))), Difference)
    with pytest.raises(ProtocolError, match="not what was asked for"):
        done.heard(encode(ListedIds([], b"")))


def test_a_liar_who_creeps_is_left_after_so_many_requests() -> None:
    """One id a page, and there is always another one: it ends, and what was kept is little."""
    asked = 0

    def reply(request: bytes) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 1:
            return encode(Prints(10**15, bytes(8)))
        one = asked.to_bytes(ID)
        return encode(ListedIds([0], one, (asked + 1).to_bytes(ID)))

    found = carried_on(Reconciler(b"", SALT), reply)
    assert asked == MOST_REQUESTS
    assert len(found.lacking) == MOST_REQUESTS - 1
    assert not found.complete


def test_a_liar_who_has_too_much_is_left_when_it_is_enough() -> None:
    number = 0

    def reply(request: bytes) -> bytes:
        nonlocal number
        if not number:
            number = 1
            return encode(Prints(0, bytes(8)))
        page = b"".join(one.to_bytes(ID) for one in range(number, number + PAGE))
        number += PAGE
        return encode(ListedIds([0], page, number.to_bytes(ID)))

    assert len(carried_on(Reconciler(b"", SALT), reply).lacking) < MOST_LACKING + PAGE


def test_a_liar_who_says_that_all_differs_makes_us_send_no_more_than_our_bounds() -> None:
    sent: list[int] = []

    def reply(request: bytes) -> bytes:
        sent.append(len(request))
        if len(sent) == 1:
            return encode(Prints(2**52, bytes(8 << 10)))
        return encode(ListedIds([], b""))

    found = carried_on(Reconciler(joined(MANY), SALT), reply)
    assert found.complete
    assert len(sent) <= 10
    assert max(sent) <= MAX_DIFF


def test_the_largest_packets_fit() -> None:
    page = b"".join(one.to_bytes(ID) for one in range(PAGE))
    assert len(encode(ListedIds(list(range(8192)), page, HIGH))) <= MAX_DIFF
    assert len(encode(Prints(2**52, bytes(8 << reconcile.MOST_DEPTH)))) <= MAX_DIFF
