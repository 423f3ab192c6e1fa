"""Addresses without proof: bounded, dated, and taken back by whoever named them."""

from typing import Any

import pytest

from mmplatform.directory import hints as module
from mmplatform.directory.hints import Hints
from mmplatform.errors import InvalidKey, InvalidRecord
from tests.support.world import identity

BOB, EVE = identity(2).sign_id, identity(3).sign_id


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def named(peer: Any, *addresses: Any, found_by: str = "mdns") -> dict[str, Any]:
    return {"signId": peer, "connectionInfo": list(addresses), "foundBy": found_by}


def test_the_last_hint_counts_for_an_hour() -> None:
    clock = Clock()
    hints = Hints(clock)
    assert hints.of(BOB) == ()
    assert hints.put(named(BOB, "tcp://192.0.2.1:1")) == BOB
    hints.put(named(BOB, *(f"tcp://192.0.2.1:{port}" for port in range(10))))
    assert hints.of(BOB) == tuple(f"tcp://192.0.2.1:{port}" for port in range(4))
    clock.now += 3601
    assert hints.of(BOB) == ()


def test_only_who_named_them_takes_them_back() -> None:
    hints = Hints(Clock())
    hints.put(named(BOB, "tcp://192.0.2.1:1"))
    hints.discard(BOB, "kademlia")
    assert hints.of(BOB)
    hints.discard(BOB, "mdns")
    hints.discard(BOB, "mdns")
    assert hints.of(BOB) == ()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS", 2)
    hints = Hints(Clock())
    for number in range(2, 6):
        hints.put(named(identity(number).sign_id, "tcp://192.0.2.1:1"))
    assert len(hints) == 2
    assert hints.of(BOB) == hints.of(EVE) == ()


@pytest.mark.parametrize(
    "payload",
    [None, [], {}, named(BOB, 7), named(BOB, "no uri"), named(BOB, "tcp://" + "x" * 300), {"connectionInfo": "tcp://"}],
)
def test_what_is_no_hint_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidRecord):
        Hints(Clock()).put(payload)


@pytest.mark.parametrize("peer", [None, 7, "bob", "A" * 43 + "="])
def test_a_hint_for_nobody_is_refused(peer: Any) -> None:
    with pytest.raises(InvalidKey):
        Hints(Clock()).put(named(peer, "tcp://192.0.2.1:1"))
