"""Accounts: what one holds counts for all it belongs to, and who holds most gives way."""

import random

import pytest

from mmplatform.accounts import Account, Accounts, Shares, network_of
from mmplatform.errors import ProtocolError


class Holding:
    """Something held for a party, which gives way."""

    def __init__(self, above: Account, limit: int = 1000) -> None:
        self.gave_way = 0
        self.account = Account(limit, above, self.give_way)

    def give_way(self) -> None:
        self.gave_way += 1
        self.account.credit(self.account.used)


def refused(account: Account, size: int) -> bool:
    try:
        account.charge(size)
    except ProtocolError as error:
        assert error.reason == "overloaded"  # noqa: PT017 - no error is fine, too
        return True
    return False


def test_what_is_held_counts_in_every_account_above() -> None:
    shares = Shares(100, 60)
    one, other = shares.of("net", "one"), shares.of("net", "other")
    one.charge(30)
    other.charge(20)
    assert (one.used, other.used, shares.of("net").used, shares.total.used) == (30, 20, 50, 50)
    one.credit(30)
    assert (one.used, shares.of("net").used, shares.total.used) == (0, 20, 20)


def test_what_has_no_room_in_one_account_is_held_in_none() -> None:
    shares = Shares(100, 60)
    one, other = shares.of("net", "one"), shares.of("net", "other")
    one.charge(40)
    assert refused(other, 21)
    assert (other.used, shares.of("net").used, shares.total.used) == (0, 40, 40)
    other.charge(20)
    assert refused(shares.of("elsewhere"), 41)
    assert not refused(shares.of("elsewhere"), 40)


def test_an_account_is_over_when_half_of_it_or_of_one_above_is_taken() -> None:
    shares = Shares(100, 60)
    one, other = shares.of("net", "one"), shares.of("net", "other")
    one.charge(30)
    assert [account.over for account in (one, other)] == [False, False]
    one.charge(1)
    assert [account.over for account in (one, other)] == [True, True], "their network is, too"
    assert not shares.of("elsewhere").over


def test_an_account_is_gone_when_nobody_holds_it() -> None:
    shares = Shares(100, 60)
    account = shares.of("net", "one")
    assert shares.of("net", "one") is account
    assert len(shares) == 2
    del account
    assert len(shares) == 0


def test_a_full_house_has_the_idlest_of_the_largest_party_give_way() -> None:
    shares = Shares(100, 60)
    small = Holding(shares.of("small", "x"))
    small.account.charge(40)  # it holds most of all peers, and its network not
    many = [Holding(shares.of("large", str(number))) for number in range(5)]
    for held in many:
        held.account.charge(10)
    many[0].account.charge(5)  # not the idlest any more
    newcomer = Holding(shares.of("newcomer", "y"))
    newcomer.account.charge(15)
    assert [held.gave_way for held in many] == [0, 1, 0, 0, 0]
    assert (small.gave_way, newcomer.gave_way, newcomer.account.used) == (0, 0, 15)
    newcomer.account.charge(8)
    assert [held.gave_way for held in many] == [0, 1, 1, 0, 0]
    assert shares.total.used == 40 + 35 + 23


def test_a_full_network_has_its_own_idlest_give_way_and_nobody_else() -> None:
    shares = Shares(1000, 60)
    larger = Holding(shares.of("elsewhere", "z"))
    larger.account.charge(59)
    first, second = Holding(shares.of("net", "one")), Holding(shares.of("net", "two"))
    first.account.charge(30)
    second.account.charge(30)
    second.account.charge(0)
    newcomer = Holding(shares.of("net", "three"))
    newcomer.account.charge(1)
    assert (larger.gave_way, first.gave_way, second.gave_way, newcomer.account.used) == (0, 1, 0, 1)


def test_the_largest_party_itself_gets_no_more_from_the_others() -> None:
    shares = Shares(100, 90)
    small = Holding(shares.of("small", "x"))
    small.account.charge(20)
    large = Holding(shares.of("large", "y"))
    large.account.charge(75)
    assert refused(large.account, 6)
    assert (small.gave_way, large.gave_way, large.account.used) == (0, 0, 75)


def test_what_would_never_fit_has_nobody_give_way() -> None:
    shares = Shares(100, 60)
    held = Holding(shares.of("net", "one"))
    held.account.charge(50)
    assert refused(Holding(shares.of("net", "two")).account, 61)
    assert refused(Holding(shares.of("net", "three"), limit=5).account, 6)
    assert held.gave_way == 0


def test_what_cannot_give_way_stays() -> None:
    shares = Shares(100, 100)
    waiting = shares.of("waiting", "x")
    waiting.charge(90)
    held = Holding(shares.of("net", "y"))
    held.account.charge(10)
    assert refused(waiting, 11)
    assert held.gave_way == 0
    assert not refused(shares.of("other", "z"), 10)
    assert held.gave_way == 1


def test_who_comes_from_elsewhere_counts_there() -> None:
    shares = Shares(100, 60)
    here, there = shares.of("here", "x"), shares.of("there", "x")
    held = Holding(here)
    held.account.charge(20)
    held.account.move(there)
    assert (held.account.used, here.used, there.used, shares.total.used) == (20, 0, 20, 20)
    held.account.move(there)
    known = Accounts().of("x", "there", known=True)
    held.account.move(known)
    assert (held.account.used, there.used, shares.total.used, known.used) == (20, 0, 0, 20)
    filler = Holding(shares.of("there", "y"))
    filler.account.charge(60)
    assert held.gave_way == 0
    held.give_way()
    assert known.used == 0


def test_strangers_never_make_a_friend_give_way() -> None:
    accounts = Accounts()
    friend = Holding(accounts.of("friend", "192.0.2.0/24", known=True), limit=1 << 30)
    friend.account.charge(100 << 20)
    strangers = [Holding(accounts.of(str(key), f"net {key % 20}", known=False), limit=1 << 30) for key in range(100)]
    for stranger in strangers:
        refused(stranger.account, 2 << 20)
    assert friend.gave_way == 0
    assert accounts.strangers.total.used <= accounts.strangers.total.limit
    assert not refused(friend.account, 1 << 20)


def test_who_holds_nothing_is_not_kept_among_those_who_can_give_way() -> None:
    held = Holding(Shares(100, 60).of("net", "x"))
    held.account.charge(0)
    held.account.charge(5)
    held.account.credit(5)
    held.account.charge(0)
    assert not held.account._idlest_first


def test_sums_hold_whatever_happens() -> None:
    draw = random.Random(1)
    shares = Shares(100, 40)
    parties = [Holding(shares.of(f"net {n % 4}", str(n)), limit=30) for n in range(12)]
    for _ in range(5000):
        held = draw.choice(parties)
        if draw.random() < 0.3:
            held.account.credit(draw.randint(0, held.account.used))
        elif draw.random() < 0.1:
            held.account.move(shares.of(f"net {draw.randrange(4)}", "x"))
        else:
            refused(held.account, draw.randrange(20))
        assert shares.total.used == sum(each.account.used for each in parties)
        assert all(0 <= each.account.used <= 30 for each in parties)
    for held in parties:
        held.account.credit(held.account.used)
    assert shares.total.used == 0
    assert not shares.total._idlest_first


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("tcp://192.0.2.77:4000", "192.0.2.0/24"),
        ("tcp://[2001:db8:1:2:3:4:5:6]:4000", "2001:db8:1:2::/64"),
        ("tcp://[fe80::1%eth0]:4000", "fe80::/64"),
        ("tcp://[::ffff:192.0.2.77]:4000", "192.0.2.0/24"),
        ("tcp://192.0.2.77", "192.0.2.0/24"),
        ("memory://17", "17"),
        ("webrtc:", "webrtc:"),
        ("tcp:closed", "tcp:closed"),
        ("", ""),
    ],
)
def test_an_address_stands_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_who_comes_over_a_relay_is_not_of_its_network() -> None:
    relay = "relay+wss://relay.example:443/abc"
    assert network_of(relay, relayed=True) == network_of("relay+wss://relay.example:443/def", relayed=True)
    assert network_of(relay, relayed=True) != network_of(relay)
