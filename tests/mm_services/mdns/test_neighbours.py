"""Who is here: found once, missed in time, found again, and never more than memory allows."""

import pytest

from mm_services.mdns import neighbours as module
from mm_services.mdns.announcement import Announcement
from mm_services.mdns.neighbours import Neighbours
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.world import identity

BOB, EVE = identity(2), identity(3)


def said(who: Identity = BOB, seq: int = 1) -> Announcement:
    info = NodeInfo.create(who, ("tcp://192.0.2.1:1",), seq, 2**40)
    return Announcement(who.sign_id, info, info.connection_info)


class Street:
    """Neighbours, and what was told of them."""

    def __init__(self, *friends: SignId, wanted: bool = True) -> None:
        self.told: list[tuple[str, SignId]] = []
        self.neighbours = Neighbours(
            lambda said: self.told.append(("found", said.sign_id)),
            lambda peer: self.told.append(("gone", peer)),
            lambda peer: peer in friends,
            lambda peer: wanted or peer in friends,
        )

    def miss(self, now: float, sure: bool = False) -> int:
        """Nobody of those who are due answers."""
        due = self.neighbours.ask(now)
        for neighbour in due:
            self.neighbours.silent(neighbour, sure, now)
        return len(due)


def test_who_announces_itself_is_found_once() -> None:
    street = Street()
    for now in range(3):
        street.neighbours.heard("bob", said(), now)
    assert street.told == [("found", BOB.sign_id)]
    street.neighbours.heard("bob", said(seq=2), 3)
    assert street.told == [("found", BOB.sign_id)] * 2
    assert [one.sign_id for one in street.neighbours] == [BOB.sign_id]


def test_nobody_listens_there_any_more_and_one_question_was_enough() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    assert street.neighbours.next_due() == 5
    assert street.miss(4) == 0
    assert street.miss(5, sure=True) == 1
    assert street.told[-1] == ("gone", BOB.sign_id)
    assert list(street.neighbours) == []


def test_who_is_silent_is_asked_twice_and_missed_within_15_seconds() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    [bob] = street.neighbours.ask(5)
    street.neighbours.silent(bob, False, 6.5)
    assert street.told == [("found", BOB.sign_id)]
    assert street.neighbours.next_due() == 8.5
    [bob] = street.neighbours.ask(8.5)
    street.neighbours.silent(bob, False, 10)
    assert street.told[-1] == ("gone", BOB.sign_id)


def test_one_answer_makes_up_for_one_silence() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    for now in range(5, 100, 10):
        [bob] = street.neighbours.ask(now)
        street.neighbours.silent(bob, False, now)
        [bob] = street.neighbours.ask(now + 5)
        street.neighbours.answered(bob)
    assert street.told == [("found", BOB.sign_id)]


def test_who_is_gone_is_asked_more_and_more_rarely_and_found_when_it_answers() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.miss(5, sure=True)
    pauses, now = [], 5.0
    for _ in range(8):
        due = street.neighbours.next_due()
        assert due is not None
        pauses.append(due - now)
        now = due
        street.miss(now)
    assert pauses == [5, 20, 40, 80, 80, 80, 80, 80]
    street.neighbours.heard("bob", said(), now)
    [bob] = street.neighbours.ask(now)
    street.neighbours.answered(bob)
    assert street.told == [("found", BOB.sign_id), ("gone", BOB.sign_id), ("found", BOB.sign_id)]


def test_who_has_a_link_is_not_asked_and_when_it_is_lost_at_once() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.neighbours.linked(BOB.sign_id)
    assert street.neighbours.next_due() is None
    assert street.miss(100) == 0
    street.neighbours.unlinked(BOB.sign_id, 101)
    assert street.miss(101, sure=True) == 1
    assert street.told[-1] == ("gone", BOB.sign_id)


def test_a_goodbye_is_a_reason_to_ask_not_to_believe() -> None:
    """Anybody on the network can say it in another's name."""
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.neighbours.goodbye("nobody", 1)
    street.neighbours.goodbye("bob", 1)
    assert street.neighbours.next_due() == 2
    [bob] = street.neighbours.ask(2)
    street.neighbours.answered(bob)
    assert street.told == [("found", BOB.sign_id)]
    street.miss(10, sure=True)
    assert street.told[-1] == ("gone", BOB.sign_id)
    assert len(street.neighbours) == 0


def test_the_announcement_of_who_is_gone_already_ends() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.miss(5, sure=True)
    street.neighbours.goodbye("bob", 6)
    assert len(street.neighbours) == 0
    assert street.told[1:] == [("gone", BOB.sign_id)]


def test_a_new_run_takes_the_place_of_one_that_ended_without_goodbye() -> None:
    street = Street()
    street.neighbours.heard("bob-1", said(), 0)
    street.neighbours.heard("bob-2", said(seq=2), 1)
    assert len(street.neighbours) == 1
    assert street.told == [("found", BOB.sign_id)] * 2


def test_a_replayed_record_cannot_declare_a_peer_gone() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.neighbours.heard("replay", said(), 0)
    street.neighbours.heard("named", Announcement(BOB.sign_id, None, ("tcp://192.0.2.66:1",)), 0)
    for neighbour in street.neighbours.ask(5):
        if neighbour.name == "bob":
            street.neighbours.answered(neighbour)
        else:
            street.neighbours.silent(neighbour, True, 5)
    assert ("gone", BOB.sign_id) not in street.told


def test_a_name_that_says_another_key_loses_the_first() -> None:
    street = Street()
    street.neighbours.heard("name", said(), 0)
    street.neighbours.heard("name", said(EVE), 1)
    assert street.told == [("found", BOB.sign_id), ("gone", BOB.sign_id), ("found", EVE.sign_id)]


def test_answers_about_who_was_replaced_meanwhile_change_nothing() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.miss(5, sure=True)
    [old] = street.neighbours.ask(100)
    street.neighbours.heard("bob", said(seq=2), 100)
    street.neighbours.answered(old)
    assert street.told == [("found", BOB.sign_id), ("gone", BOB.sign_id), ("found", BOB.sign_id)]


def test_a_flood_drives_out_strangers_and_never_friends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NEIGHBOURS", 4)
    street = Street(BOB.sign_id)
    street.neighbours.heard("bob", said(), 0)
    for number in range(10, 40):
        street.neighbours.heard(f"eve {number}", said(identity(number)), 1)
    assert len(street.neighbours) == 4
    assert next(one.sign_id for one in street.neighbours) == BOB.sign_id
    assert len([1 for event, _ in street.told if event == "gone"]) == 27
    everybody = Street(*(identity(number).sign_id for number in range(2, 8)))
    for number in range(2, 20):
        everybody.neighbours.heard(str(number), said(identity(number)), 0)
    assert len(everybody.neighbours) == 6


def test_those_who_are_gone_give_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NEIGHBOURS", 2)
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.neighbours.heard("eve", said(EVE), 1)
    [_, eve] = street.neighbours.ask(6)
    street.neighbours.silent(eve, True, 6)
    street.neighbours.heard("dave", said(identity(4)), 7)
    assert {one.sign_id for one in street.neighbours} == {BOB.sign_id, identity(4).sign_id}


def test_a_crowd_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PER_SECOND", 1)
    street = Street()
    for number in range(10, 40):
        street.neighbours.heard(str(number), said(identity(number)), 0)
    for neighbour in street.neighbours.ask(5):
        street.neighbours.answered(neighbour)
    assert street.neighbours.next_due() == 35


def test_a_stranger_that_nobody_wants_is_never_asked_and_its_goodbye_is_believed() -> None:
    street = Street(BOB.sign_id, wanted=False)
    street.neighbours.heard("bob", said(), 0)
    for number in range(10, 60):
        street.neighbours.heard(f"eve {number}", said(identity(number)), 0)
    asked = [neighbour.name for now in range(100) for neighbour in street.neighbours.ask(now)]
    assert set(asked) == {"bob"}
    street.neighbours.goodbye("eve 10", 100)
    assert street.told[-1] == ("gone", identity(10).sign_id)
    assert len(street.neighbours) == 50


def test_who_announces_the_key_of_a_friend_many_times_is_asked_as_four() -> None:
    street = Street(BOB.sign_id, wanted=False)
    street.neighbours.heard("bob", said(), 0)
    for number in range(100):
        named = Announcement(BOB.sign_id, None, (f"tcp://192.0.2.9:{number + 1}",))
        street.neighbours.heard(f"fake {number}", named, 0)
    assert len(street.neighbours.ask(5)) == 4
    assert len(street.neighbours) == 4
    street.neighbours.heard("bob again", said(seq=2), 6)
    assert [one.info.seq for one in street.neighbours if one.info is not None] == [2]


def test_questions_are_so_many_a_second_whatever_is_announced() -> None:
    friends = [identity(number).sign_id for number in range(10, 210)]
    street = Street(*friends, wanted=False)
    for number in range(10, 210):
        street.neighbours.heard(str(number), said(identity(number)), 0)
    asked = [len(street.neighbours.ask(5 + tenth / 10)) for tenth in range(100)]
    assert sum(asked) > 150
    assert max(sum(asked[start : start + 10]) for start in range(91)) <= 32 + 20
    assert sum(asked) <= 32 + 10 * 20


def test_who_is_wanted_is_asked_at_once() -> None:
    street = Street()
    street.neighbours.heard("bob", said(), 0)
    street.neighbours.hurry(BOB.sign_id, 1)
    assert street.neighbours.next_due() == 1
    assert len(street.neighbours.ask(1)) == 1
