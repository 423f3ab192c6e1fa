"""Requests that wait for their handlers while a program sets them up."""

from typing import cast

import pytest

from mmplatform.durable.inbox import Inbox
from mmplatform.durable.kept import Kept
from mmplatform.peers.reception import PARKED, Reception


class Parked:
    """A request that nobody listens to, until somebody does."""

    size = 1

    def __init__(self) -> None:
        self.heard = False
        self.answers: list[str] = []

    def try_again(self) -> bool:
        if self.heard:
            self.answers.append("handled")
        return self.heard

    def give_up(self) -> None:
        self.answers.append("nobody")


class FakeInbox:
    """What a reception sets."""


@pytest.fixture
def reception() -> Reception:
    inbox = cast("Inbox", FakeInbox())
    kept = cast("Kept", FakeInbox())
    return Reception(inbox, kept, (), ("friends",), lambda peer: False, lambda peer: None, lambda: 0.0)


def test_requests_that_nobody_came_for_are_answered_when_all_is_set_up(reception: Reception) -> None:
    heard, unheard = Parked(), Parked()
    assert reception.park(heard)
    assert reception.park(unheard)
    reception.subscribed()
    assert (heard.answers, unheard.answers) == ([], [])
    heard.heard = True
    reception.set_up()
    assert (heard.answers, unheard.answers) == (["handled"], ["nobody"])
    assert not reception.park(Parked())


def test_no_more_requests_wait_than_there_is_room_for(reception: Reception) -> None:
    parked = [Parked() for _ in range(PARKED)]
    assert all(reception.park(request) for request in parked)
    assert not reception.park(Parked())
    reception.set_up()
    assert {tuple(request.answers) for request in parked} == {("nobody",)}
