"""How many connections a relay holds, and who gives way when they are too many."""

from hypothesis import given
from hypothesis import strategies as st

from mm_relay.doors.limits import ConnectionLimits, Unproven, network
from mmplatform.accounts import network_of_host


def test_connections_with_a_sign_in_fill_the_caps() -> None:
    limits: ConnectionLimits[int] = ConnectionLimits(most=3, most_an_address=2)
    for number, ip in enumerate(["192.0.2.1", "192.0.2.1", "192.0.2.2"]):
        assert limits.refuses(ip) == ""
        assert limits.opened(number, ip) is None
        limits.signed_in(number, ip)
    assert limits.refuses("192.0.2.2") == "this relay is full"
    limits.closed(2, "192.0.2.2", signed_in=True)
    assert limits.refuses("192.0.2.1") == "too many connections from this address"
    assert limits.refuses("192.0.2.2") == ""
    limits.closed(1, "192.0.2.1", signed_in=True)
    assert limits.refuses("192.0.2.1") == ""


def test_the_oldest_silent_connection_of_an_address_gives_way_to_one_more_of_it() -> None:
    limits: ConnectionLimits[int] = ConnectionLimits(most_an_address=2)
    assert limits.opened(0, "192.0.2.9") is None
    assert limits.opened(1, "192.0.2.1") is None
    assert limits.opened(2, "192.0.2.1") is None
    assert limits.refuses("192.0.2.1") == ""
    assert limits.opened(3, "192.0.2.1") == 1
    limits.closed(1, "192.0.2.1", signed_in=False)
    limits.signed_in(2, "192.0.2.1")
    assert limits.opened(4, "192.0.2.1") == 3


def test_of_too_many_silent_connections_the_oldest_of_the_largest_network_gives_way() -> None:
    limits: ConnectionLimits[int] = ConnectionLimits(most_unproven=4)
    for number, ip in enumerate(["198.51.100.7", "192.0.2.1", "192.0.2.2", "192.0.2.3"]):
        assert limits.opened(number, ip) is None
    assert limits.refuses("203.0.113.5") == ""
    assert limits.opened(4, "203.0.113.5") == 1
    limits.closed(1, "192.0.2.1", signed_in=False)
    assert limits.opened(5, "203.0.113.5") == 2


def test_who_has_signed_in_never_gives_way() -> None:
    limits: ConnectionLimits[int] = ConnectionLimits(most_unproven=1)
    assert limits.opened(0, "192.0.2.1") is None
    limits.signed_in(0, "192.0.2.1")
    assert limits.opened(1, "192.0.2.1") is None
    assert limits.opened(2, "198.51.100.1") == 1


def test_one_ipv6_network_is_one_address() -> None:
    assert network("2001:db8:0:1::1") == network("2001:db8:0:1:ffff::2") != network("2001:db8:0:2::1")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("fe80::1%eth0") == "fe80::/64"
    assert network_of_host("192.0.2.1") == network_of_host("::ffff:192.0.2.200") != network_of_host("192.0.3.1")
    assert network_of_host("2001:db8::1") == network("2001:db8::1")


@given(st.lists(st.tuples(st.sampled_from(["1.1.1.1", "1.1.1.2", "2.2.2.2", "2001:db8::1"]), st.booleans())))
def test_who_has_left_is_not_counted(came: list[tuple[str, bool]]) -> None:
    limits: ConnectionLimits[int] = ConnectionLimits()
    for number, (ip, signed_in) in enumerate(came):
        limits.opened(number, ip)
        if signed_in:
            limits.signed_in(number, ip)
    assert limits.unproven == sum(not signed_in for _, signed_in in came)
    for number, (ip, signed_in) in enumerate(came):
        limits.closed(number, ip, signed_in)
    assert limits == ConnectionLimits()
    assert limits.waiting.oldest_of_largest() is None


def test_who_is_forgotten_twice_counts_once() -> None:
    unproven: Unproven[int] = Unproven()
    unproven.add(1, "192.0.2.1")
    unproven.remove(1, "192.0.2.1")
    unproven.remove(1, "192.0.2.1")
    assert len(unproven) == 0
