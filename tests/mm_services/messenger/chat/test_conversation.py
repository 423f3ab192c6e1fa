"""One conversation: its name, its lines by number, and how far they are."""

import pytest

from mm_services.messenger.chat import conversation as module
from mm_services.messenger.chat.conversation import Conversation, key_of
from mm_services.messenger.chat.lines import LineState
from mmplatform.identity.keys import SignId

BOB, EVE, DAN = (SignId(letter * 43 + "=") for letter in "bed")


def filled(places: range) -> Conversation:
    made = Conversation(BOB, (BOB,))
    for place in places:
        made.add(place, LineState.HEARD)
    return made


def test_names_are_of_the_members_in_any_order() -> None:
    assert key_of(()) == "*"
    assert key_of((BOB,)) == BOB
    assert key_of((BOB, EVE)) == key_of({EVE, BOB}) != key_of((BOB, EVE, DAN))
    assert key_of((BOB, EVE)).startswith("#")


def test_lines_have_numbers_places_and_states() -> None:
    talk = filled(range(0, 50, 10))
    assert (talk.first, talk.begin, talk.end) == (0, 0, 5)
    assert [talk.place(number) for number in range(5)] == [0, 10, 20, 30, 40]
    assert talk.add(50, LineState.UNSAVED) == 5
    assert talk.further(5, LineState.CARRIED)
    assert not talk.further(5, LineState.WAITING)
    assert not talk.further(6, LineState.READ)
    assert talk.state(5) == LineState.CARRIED
    assert [talk.at(place) for place in (0, 40, 50, 45, 60)] == [0, 4, 5, None, None]


def test_what_is_forgotten_leaves_numbers_as_they_are() -> None:
    talk = filled(range(10))
    talk.forget(4)
    assert (talk.first, talk.end, talk.place(4), talk.at(9), talk.at(3)) == (4, 10, 4, 9, None)
    talk.forget(2)
    assert talk.first == 4
    talk.trim(lambda place: place >= 7)
    assert talk.first == 7
    talk.cleared = 9
    assert talk.begin == 9
    talk.trim(lambda place: False)
    assert (talk.first, talk.end) == (10, 10)


def test_the_number_of_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 100)
    talk = filled(range(1000))
    assert 90 <= talk.end - talk.first <= 100
    assert talk.place(talk.end - 1) == 999
