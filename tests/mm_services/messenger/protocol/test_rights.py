"""Who may: the first rule decides, and each peer is counted by itself."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.rights import ALLOWED, DENIED, MOST_COUNTED, Permission, RateAcl, Rights
from mm_services.messenger.protocol.rules import DEFAULT, Rule, open_to_everyone
from mmplatform.identity.keys import SignId

OWN, BOB, EVE, STRANGER, PHONE = (SignId(one) for one in ("own", "bob", "eve", "stranger", "phone"))
CIRCLES = {"friends": {BOB, EVE}, "self": {OWN, PHONE}, "@noisy": {EVE, STRANGER}, "bob": {BOB}}
EVERYONE = ("everyone",)


def belongs(peer: SignId, principal: str) -> bool:
    return peer in CIRCLES.get(principal, ()) or peer == principal


def acl(*rules: Rule) -> RateAcl:
    return RateAcl(rules, belongs)


def crowd(count: int, name: str = "crowd") -> list[SignId]:
    return [SignId(f"{name}-{number}") for number in range(count)]


# Which rule.


def test_the_first_that_matches_decides() -> None:
    lists = acl(Rule(("bob",), (), 0), Rule(("friends",)), Rule(EVERYONE, ("@noisy",), 1))
    assert lists.check(BOB, 0.0) == DENIED
    assert lists.check(EVE, 0.0) == ALLOWED
    assert lists.check(STRANGER, 0.0) == DENIED
    assert lists.check(SignId("anna"), 0.0) == ALLOWED
    assert lists.check(SignId("anna"), 0.0) == Permission(pause=60.0)


def test_who_is_excepted_goes_on_to_the_next_rule() -> None:
    lists = acl(Rule(("friends",), ("@noisy",)), Rule(("@noisy",), (), 1))
    assert [lists.check(BOB, 0.0), lists.check(BOB, 0.0)] == [ALLOWED, ALLOWED]
    assert [lists.check(EVE, 0.0), lists.check(EVE, 0.0)] == [ALLOWED, Permission(pause=60.0)]


def test_who_matches_nothing_may_not() -> None:
    assert acl().check(BOB, 0.0) == DENIED
    assert acl(Rule(("friends",))).check(STRANGER, 0.0) == DENIED
    assert DENIED.denied
    assert not DENIED.allowed
    assert ALLOWED.allowed
    assert not Permission(pause=1.0).allowed


principals = st.lists(st.sampled_from(["everyone", *CIRCLES]), max_size=3).map(tuple)
rules = st.lists(st.builds(Rule, principals, principals, st.sampled_from([None, 0, 5.0])), max_size=5)


@given(rules, st.sampled_from([BOB, EVE, STRANGER, PHONE]))
def test_it_is_as_the_rules_say(listed: Sequence[Rule], peer: SignId) -> None:
    def one_of(names: tuple[str, ...]) -> bool:
        return "everyone" in names or any(peer in CIRCLES.get(name, ()) for name in names)

    decides = next((rule for rule in listed if one_of(rule.who) and not one_of(rule.not_who)), None)
    assert acl(*listed).check(peer, 0.0).allowed == (decides is not None and decides.rate != 0)


# Rates.


def test_so_many_a_minute_then_a_pause_after_which_one_more() -> None:
    lists = acl(Rule(EVERYONE, (), 6))
    assert [lists.check(BOB, 100.0) for _ in range(6)] == [ALLOWED] * 6
    assert lists.check(BOB, 100.0) == Permission(pause=10.0)
    assert lists.check(BOB, 105.0) == Permission(pause=5.0)  # asking too early costs nothing
    assert lists.check(BOB, 110.0) == ALLOWED
    assert lists.check(BOB, 110.0).pause == pytest.approx(10.0)


@given(st.floats(0.01, 10_000), st.floats(0, 1e10), st.integers(1, 200))
def test_after_the_pause_that_was_named_one_may(rate: float, now: float, times: int) -> None:
    lists = acl(Rule(EVERYONE, (), rate))
    for _ in range(times):
        pause = lists.check(BOB, now).pause
        now += pause
        assert not pause or lists.check(BOB, now).allowed


@given(st.floats(0.5, 100), st.lists(st.floats(0, 30), min_size=1, max_size=100))
def test_nobody_gets_more_than_the_rate(rate: float, pauses: list[float]) -> None:
    lists, now, allowed = acl(Rule(EVERYONE, (), rate)), 0.0, 0
    for pause in pauses:
        now += pause
        allowed += sum(lists.check(BOB, now).allowed for _ in range(30))
        assert allowed <= max(rate, 1) + rate * now / 60 + 0.01


def test_one_that_does_too_much_takes_nothing_from_others() -> None:
    lists = acl(Rule(EVERYONE, (), 6))
    while lists.check(EVE, 0.0).allowed:
        pass
    assert [lists.check(BOB, 0.0) for _ in range(6)] == [ALLOWED] * 6


def test_many_at_once_are_waited_for_afterwards() -> None:
    lists = acl(Rule(EVERYONE, (), 60))
    assert lists.check(BOB, 0.0, cost=90) == ALLOWED
    assert lists.check(BOB, 0.0) == Permission(pause=31.0)
    assert lists.check(BOB, 31.0) == ALLOWED


def test_asking_counts_nothing() -> None:
    lists = acl(Rule(EVERYONE, (), 1))
    assert [lists.check(BOB, 0.0, cost=0) for _ in range(5)] == [ALLOWED] * 5
    assert lists.check(BOB, 0.0) == ALLOWED
    assert not lists.check(BOB, 0.0, cost=0).allowed


def test_a_clock_that_is_put_back_stops_nobody() -> None:
    lists = acl(Rule(EVERYONE, (), 1))
    assert lists.check(BOB, 1e9) == ALLOWED
    assert lists.check(BOB, 1e9 - 86_400) == ALLOWED
    assert lists.check(BOB, 1e9 - 86_400).pause == 60.0


# Crowds.


def counted(lists: RateAcl) -> int:
    return sum(len(rates._buckets) for _, rates in lists._entries if rates is not None)


def test_a_crowd_takes_no_more_room_and_shares_one_count() -> None:
    lists = acl(Rule(EVERYONE, (), 2))
    first = crowd(MOST_COUNTED)
    assert all(lists.check(one, 0.0).allowed for one in first)
    late = [lists.check(one, 0.0) for one in crowd(50_000, "late")]
    assert sum(one.allowed for one in late) == 2
    assert counted(lists) == MOST_COUNTED
    assert lists.check(first[0], 0.0).allowed  # who was there first keeps its own count
    assert not lists.check(first[0], 0.0).allowed


def test_a_crowd_of_strangers_takes_nothing_from_friends() -> None:
    lists = acl(Rule(("friends",), (), 6), Rule(EVERYONE, (), 2))
    for one in crowd(3 * MOST_COUNTED):
        lists.check(one, 0.0)
    assert [lists.check(BOB, 0.0) for _ in range(6)] == [ALLOWED] * 6


def test_room_comes_back_when_a_crowd_is_quiet() -> None:
    lists = acl(Rule(EVERYONE, (), 2))
    for one in crowd(3 * MOST_COUNTED):
        lists.check(one, 0.0)
    assert [lists.check(one, 61.0).allowed for one in crowd(5, "new") for _ in range(3)] == [True, True, False] * 5
    assert counted(lists) == 5


def test_forgetting_a_count_forgives_nothing() -> None:
    """Whoever has done too much is not forgotten for a crowd that comes by, until its minute is over."""
    lists, rnd = acl(Rule(EVERYONE, (), 2)), random.Random(1)
    now, allowed = 0.0, 0
    for _ in range(20_000):
        now += rnd.uniform(0, 0.02)
        lists.check(SignId(f"crowd-{rnd.getrandbits(40)}"), now)
        allowed += lists.check(EVE, now).allowed
    assert allowed <= 2 + 2 * now / 60 + 1


# The four lists.


def test_without_rules_friends_and_devices_may_and_nobody_else() -> None:
    rights = Rights(OWN, belongs)
    for may in (rights.incoming, rights.outgoing, rights.sender, lambda peer, now: rights.recipients([peer], now)):
        assert [may(peer, 0.0) for peer in (OWN, PHONE, BOB, STRANGER)] == [ALLOWED, ALLOWED, ALLOWED, DENIED]


def test_each_list_is_asked_for_its_own() -> None:
    names = {"in": "incoming", "out": "outgoing", "sender": "sender"}
    for name in names:
        rights = Rights(OWN, belongs, {name: [Rule(("stranger",))]})
        assert [getattr(rights, one)(STRANGER, 0.0).allowed for one in names.values()] == [one == name for one in names]
    assert Rights(OWN, belongs, {"recipient": [Rule(("stranger",))]}).recipients([STRANGER], 0.0) == ALLOWED


def test_to_ourselves_everything_is_allowed() -> None:
    closed: dict[str, list[Rule]] = {name: [] for name in DEFAULT}
    rights = Rights(OWN, belongs, closed)
    assert [rights.incoming(OWN, 0.0), rights.incoming(PHONE, 0.0)] == [ALLOWED, DENIED]
    assert rights.recipients([STRANGER, OWN], 0.0) == ALLOWED


def test_a_bundle_is_carried_when_it_is_for_one_of_ours() -> None:
    rights = Rights(OWN, belongs, {"recipient": [Rule(("bob",), (), 1), Rule(("eve",), (), 2)]})
    assert rights.recipients([], 0.0) == ALLOWED
    assert rights.recipients([STRANGER], 0.0) == DENIED
    assert [rights.recipients([STRANGER, BOB, EVE], 0.0) for _ in range(3)] == [ALLOWED] * 3
    assert rights.recipients([STRANGER, BOB, EVE], 0.0) == Permission(pause=30.0)
    assert rights.recipients([BOB, STRANGER], 0.0) == Permission(pause=60.0)


def test_strangers_may_once_everyone_is_let_in() -> None:
    rights = Rights(OWN, belongs, open_to_everyone(DEFAULT, 2))
    assert [rights.incoming(STRANGER, 0.0) for _ in range(3)] == [ALLOWED, ALLOWED, Permission(pause=30.0)]
    assert [rights.incoming(BOB, 0.0) for _ in range(99)] == [ALLOWED] * 99
    assert rights.outgoing(STRANGER, 0.0, cost=2) == ALLOWED
