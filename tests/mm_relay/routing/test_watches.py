"""Who waits for whom: told once, forgotten with whoever asked, bounded."""

import pytest

from mm_relay.routing import watches
from mm_relay.routing.watches import Watches
from mm_transports.relay.protocol.items import RELAY
from tests.support.flows import attachment

A, B, C = (bytes([number]) * 32 for number in range(3))


def test_each_is_told_once() -> None:
    known, one, two = Watches(), attachment("one"), attachment("two")
    known.add(one, A, C)
    known.add(one, A, C)
    known.add(two, B, C)
    assert len(known) == 2
    assert known.take(C) == [(one, A), (two, B)]
    assert known.take(C) == []
    assert len(known) == len(one.watches) == len(two.watches) == 0


def test_who_left_is_not_told() -> None:
    known, one = Watches(), attachment("one", RELAY)
    known.add(one, A, C)
    known.add(one, B, C)
    known.leave(one)
    assert known.take(C) == []
    assert len(known) == 0


def test_the_oldest_wish_of_all_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "IN_ALL", 2)
    known, one, two = Watches(), attachment("one"), attachment("two")
    known.add(one, A, B)
    known.add(two, B, A)
    known.add(two, B, C)
    assert len(known) == 2
    assert known.take(B) == []
    assert known.take(A) == known.take(C) == [(two, B)]
