"""How many connections a relay holds."""

from hypothesis import given
from hypothesis import strategies as st

from mm_relay.doors.limits import ConnectionLimits


def test_caps() -> None:
    limits = ConnectionLimits(most=4, most_an_address=2, most_unproven=3)
    limits.opened("192.0.2.1")
    limits.opened("192.0.2.1")
    assert limits.refuses("192.0.2.1") == "too many connections from this address"
    assert limits.refuses("192.0.2.2") == ""
    limits.opened("192.0.2.2")
    assert limits.refuses("192.0.2.3") == "too many connections that have not signed in"
    limits.signed_in()
    limits.opened("192.0.2.3")
    assert limits.refuses("192.0.2.4") == "this relay is full"
    limits.closed("192.0.2.1", signed_in=True)
    assert limits.refuses("192.0.2.1") == "too many connections that have not signed in"
    limits.closed("192.0.2.1", signed_in=False)
    assert limits.refuses("192.0.2.1") == ""


def test_one_ipv6_network_is_one_address() -> None:
    limits = ConnectionLimits(most_an_address=1)
    limits.opened("2001:db8:0:1::1")
    assert limits.refuses("2001:db8:0:1:ffff::2")
    assert not limits.refuses("2001:db8:0:2::1")
    limits.opened("::ffff:192.0.2.1")
    assert limits.refuses("192.0.2.1")
    assert not limits.refuses("::ffff:192.0.2.2")
    limits.opened("fe80::1%eth0")


@given(st.lists(st.tuples(st.sampled_from(["1.1.1.1", "2.2.2.2", "2001:db8::1"]), st.booleans())))
def test_who_has_left_is_not_counted(came: list[tuple[str, bool]]) -> None:
    limits = ConnectionLimits()
    for ip, signed_in in came:
        limits.opened(ip)
        if signed_in:
            limits.signed_in()
    assert limits.unproven == sum(not signed_in for _, signed_in in came)
    for ip, signed_in in came:
        limits.closed(ip, signed_in)
    assert limits == ConnectionLimits()
