"""Letters: which messages are in which, what is left, and what survives a restart."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.codec import encode
from mmplatform.delivery.letters import (
    ENDED,
    LONGEST_PATIENCE,
    PLANNED,
    PREFIX,
    RELAYED,
    TOLD,
    Letter,
    Letters,
    id_at,
    peer_of,
)
from mmplatform.errors import CodecError
from mmplatform.storage.contract import Row

PEER = "B" * 43 + "="


class Desk:
    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.letters = Letters(PEER, self.save, random.Random(1).randbytes)

    def save(self, row: Row) -> None:
        if row[1] is None:
            self.rows.pop(row[0], None)
        else:
            self.rows[row[0]] = row[1]

    def restarted(self) -> "Desk":
        desk = Desk()
        desk.letters._random = self.letters._random
        desk.rows = dict(self.rows)
        for value in self.rows.values():
            desk.letters.restore(value)
        return desk


def test_a_letter_is_found_by_the_id_that_it_has_at_its_relay() -> None:
    desk = Desk()
    letter = desk.letters.plan(2, 7, 1, 4)
    assert id_at(letter.id, "a") != id_at(letter.id, "b")
    desk.letters.put(letter, TOLD)
    assert desk.letters.find_left(id_at(letter.id, "a")) is None
    desk.letters.put(letter, RELAYED, 5, "a")
    desk.letters.put(letter, RELAYED, 6, "b")
    assert desk.letters.find_left(id_at(letter.id, "a")) is None, "it is at another one now"
    assert desk.letters.find_left(id_at(letter.id, "b")) is letter
    again = desk.restarted().letters
    found = again.find_left(id_at(letter.id, "b"))
    assert found is not None
    again.drop(found)
    desk.letters.settle(2, 7, 9)
    assert again.find_left(id_at(letter.id, "b")) is desk.letters.find_left(id_at(letter.id, "b")) is None


def test_a_letter_holds_its_messages_and_no_others() -> None:
    letters = Desk().letters
    assert letters.gap(2, 7, 1, 10) == (1, 10)
    first = letters.plan(2, 7, 1, 4)
    letters.plan(2, 7, 8, 9)
    assert letters.gap(2, 7, 1, 10) == (5, 7)
    assert letters.gap(2, 7, 8, 9) is None
    assert letters.gap(2, 7, 9, 12) == (10, 12)
    assert letters.gap(2, 7, 5, 4) is None
    assert letters.gap(2, 8, 1, 10) == letters.gap(1, 7, 1, 10) == (1, 10)
    assert letters.find(first.id) is first
    assert letters.find(b"x" * 16) is None


def test_what_became_of_it_is_kept_over_a_restart() -> None:
    desk = Desk()
    letter = desk.letters.plan(2, 7, 1, 4)
    assert desk.rows == {}  # nobody was told yet
    desk.letters.put(letter, TOLD)
    assert desk.restarted().letters.state(2, 7, 1) == TOLD
    desk.letters.put(letter, RELAYED, 99, "relay+ws://a/K")
    [again] = desk.restarted().letters
    assert (again.id, again.until, again.relay, again.state) == (letter.id, 99, "relay+ws://a/K", RELAYED)
    desk.letters.put(letter, ENDED, 100)
    assert [each.relay for each in desk.restarted().letters] == ["relay+ws://a/K"]
    assert desk.letters.state(2, 7, 4) == ENDED
    assert desk.letters.state(2, 7, 5) == desk.letters.state(2, 8, 4) == PLANNED


def test_what_is_settled_or_dropped_is_forgotten_on_disk_too() -> None:
    desk = Desk()
    first, second, third = (desk.letters.plan(2, 7, n, n + 1) for n in (1, 3, 5))
    for letter in (first, second, third):
        desk.letters.put(letter, RELAYED)
    desk.letters.settle(2, 7, 4)
    assert list(desk.letters) == [second, third]
    desk.letters.drop(third)
    desk.letters.drop(third)
    desk.letters.put(third, RELAYED)  # its answer came late
    assert (list(desk.letters), desk.letters.drops, len(desk.rows)) == ([second], 1, 1)
    assert desk.letters.gap(2, 7, 1, 6) == (1, 2)
    desk.letters.settle(2, 7, 5)
    desk.letters.settle(2, 7, 5)
    assert (len(desk.letters), desk.rows) == (0, {})


def test_letters_of_other_runs() -> None:
    letters = Desk().letters
    earlier = letters.plan(2, 7, 1, 4)
    letters.plan(2, 8, 1, 4)
    letters.plan(1, 7, 1, 4)
    assert letters.others(2, 8) == [earlier]


def test_patience_grows_until_something_is_settled() -> None:
    letters = Desk().letters
    waits = [letters.patience() for _ in range(10)]
    assert waits[:3] == [30, 60, 120]
    assert waits[-1] == LONGEST_PATIENCE
    letters.settle(2, 7, 1)
    assert letters.patience() == 30


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        b"\x90",
        encode(Letter(b"i" * 16, 2, 7, 5, 4)),
        encode(Letter(b"i" * 16, 2, 7, 2, 3)),
        encode(Letter(b"i" * 16, 9, 7, 5, 6)),
        encode(Letter(b"i" * 5000, 2, 7, 5, 6)),
    ],
)
def test_damaged_rows_are_refused(value: bytes) -> None:
    letters = Desk().letters
    letters.plan(2, 7, 1, 2)
    with pytest.raises(CodecError):
        letters.restore(value)
    assert len(letters) == 1


def test_the_key_names_the_peer() -> None:
    desk = Desk()
    desk.letters.put(desk.letters.plan(2, 7, 1, 1), TOLD)
    [key] = desk.rows
    assert key.startswith(PREFIX)
    assert peer_of(key) == PEER


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 9)), max_size=30))
def test_every_message_is_in_one_letter_at_most(steps: list[tuple[bool, int, int]]) -> None:
    desk = Desk()
    held: dict[int, Letter] = {}
    for plan, seq, more in steps:
        if plan:
            gap = desk.letters.gap(2, 7, seq, seq + more)
            free = [n for n in range(seq, seq + more + 1) if n not in held]
            assert (gap is None) == (not free)
            if gap is not None:
                assert gap[0] == free[0]
                assert not held.keys() & set(range(gap[0], gap[1] + 1))
                letter = desk.letters.plan(2, 7, *gap)
                desk.letters.put(letter, RELAYED)
                held |= dict.fromkeys(range(gap[0], gap[1] + 1), letter)
        elif seq in held:
            letter = held[seq]
            desk.letters.drop(letter)
            held = {n: other for n, other in held.items() if other is not letter}
    again = desk.restarted().letters
    for n in range(1, 60):
        assert (again.state(2, 7, n) == RELAYED) == (n in held)
