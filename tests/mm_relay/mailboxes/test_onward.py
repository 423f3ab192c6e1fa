"""Deposits that go on to another relay are answered when that one has them, or when it is clear that it has not."""

import pytest

from mm_relay.mailboxes import onward
from mm_relay.mailboxes.onward import Onward
from mm_relay.stores.contract import StoredEnvelope
from mm_transports.relay.protocol.items import Stored
from tests.sim.relay_mail.office import deposit, key

THERE = key("there")


class Desk:
    def __init__(self) -> None:
        self.told: list[tuple[bytes, Stored]] = []
        self.clock = 100.0
        self.onward = Onward(lambda sender, said: self.told.append((sender, said)), lambda: self.clock)

    def leave(self, lost: bool = False) -> tuple[bytes, bytes, bytes]:
        one = deposit("bob")
        mail = StoredEnvelope(1, key("alice"), one.peer, one.id, 500, one.envelope, "", "relay+wss://there")
        self.onward.kept(THERE, mail, lost)
        return mail.sender, mail.target, mail.id

    def heard(self) -> list[tuple[bytes, bool]]:
        told, self.told = self.told, []
        assert all((sender, said.peer, said.expires) == (key("alice"), key("bob"), 500) for sender, said in told)
        return [(said.id, said.held_up) for _, said in told]


def test_the_answer_comes_when_the_other_relay_has_it() -> None:
    desk = Desk()
    name = desk.leave()
    assert desk.heard() == []
    assert desk.onward.passed_on(THERE, name)
    assert desk.heard() == [(name[2], False)]
    assert not desk.onward.passed_on(THERE, name), "it is told once"
    desk.clock += onward.PATIENCE
    desk.onward.tick()
    assert desk.heard() == []


def test_of_a_relay_that_is_lost_it_is_said_at_once() -> None:
    desk = Desk()
    name = desk.leave(lost=True)
    assert desk.heard() == [(name[2], True)]


def test_what_cannot_go_on_is_held_up() -> None:
    desk = Desk()
    names = [desk.leave() for _ in range(3)]
    desk.onward.held_up(THERE, names[1])
    assert desk.heard() == [(names[1][2], True)]
    desk.onward.held_up(key("elsewhere"))
    assert desk.heard() == []
    desk.onward.held_up(THERE)
    assert desk.heard() == [(names[0][2], True), (names[2][2], True)]


def test_nobody_waits_for_long() -> None:
    desk = Desk()
    first = desk.leave()
    desk.clock += onward.PATIENCE - 0.1
    second = desk.leave()
    desk.onward.tick()
    assert desk.heard() == []
    desk.clock += 0.2
    desk.onward.tick()
    assert desk.heard() == [(first[2], True)]
    desk.onward.passed_on(THERE, second)
    assert desk.heard() == [(second[2], False)]


def test_answers_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onward, "WAITING", 2)
    desk = Desk()
    names = [desk.leave() for _ in range(3)]
    assert desk.heard() == [(names[0][2], True)]
