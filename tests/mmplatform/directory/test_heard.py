"""Where peers were heard of: until when, of how many, and what services may say."""

from ipaddress import ip_network

import pytest

from mmplatform.directory import heard
from mmplatform.directory.heard import VALID, HeardOn, networks_of
from mmplatform.errors import InvalidRecord
from tests.support.world import identity

ALICE, BOB, EVE = (identity(number).sign_id for number in (1, 2, 3))
LAN, OTHER = ip_network("10.1.0.0/24"), ip_network("fd00::/64")


def test_it_is_news_once_and_counts_for_an_hour() -> None:
    now = [0.0]
    book = HeardOn(lambda: now[0])
    assert not book.add(ALICE, ())
    assert book.add(ALICE, (LAN,))
    assert not book.add(ALICE, (LAN,))
    assert book.add(ALICE, (LAN, OTHER))
    assert set(book.of(ALICE)) == {LAN, OTHER}
    assert book.of(BOB) == ()
    now[0] = VALID
    assert book.of(ALICE) == ()
    assert book.add(ALICE, (LAN,))


def test_peers_and_networks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard, "MAX_PEERS", 2)
    monkeypatch.setattr(heard, "MAX_NETWORKS", 3)
    book = HeardOn(lambda: 0.0)
    for number in range(5):
        book.add(ALICE, (ip_network(f"10.0.{number}.0/24"),))
    assert [str(network) for network in book.of(ALICE)] == ["10.0.2.0/24", "10.0.3.0/24", "10.0.4.0/24"]
    book.add(BOB, (LAN,))
    book.add(EVE, (LAN,))
    assert (book.of(ALICE), book.of(BOB), book.of(EVE)) == ((), (LAN,), (LAN,))


def test_what_a_service_says() -> None:
    assert networks_of({"heardOn": ["10.1.0.0/24", "fd00::/64"]}) == (LAN, OTHER)
    assert networks_of({}) == networks_of(None) == ()
    for wrong in (["10.1.0.7/24"], ["x"], 5, [None]):
        with pytest.raises(InvalidRecord, match="heardOn"):
            networks_of({"heardOn": wrong})
