"""The rates of connections and addresses."""

from mm_relay.doors.rate_limit import ADDRESS_BURST, SHARE, ConnectionRates, RateLimits

MANY = RateLimits(items=0, bytes=0, address_items=1000, address_bytes=0)


def test_all_connections_of_an_address_have_one_rate() -> None:
    rates = ConnectionRates(MANY)
    meters = [rates.meter("192.0.2.1", 0.0) for _ in range(2)]
    assert meters[0].spend(int(1000 * ADDRESS_BURST), 0, 0.0) == 0
    assert meters[1].spend(500, 0, 0.0) == 1.0  # its share is half
    assert rates.meter("192.0.2.2", 0.0).spend(100, 0, 0.0) == 0


def test_an_address_has_the_rate_of_a_tenth_of_a_second_at_once() -> None:
    """A second's worth at once kept the loop busy, and what others had sent waited for it, and for the store."""
    rates = ConnectionRates(MANY)
    assert rates.meter("192.0.2.1", 0.0).spend(100, 0, 0.0) == 0
    assert rates.meter("192.0.2.1", 0.0).spend(1000, 0, 0.0) == 2.0  # at half the rate


def test_who_takes_less_than_its_share_does_not_wait_for_who_takes_more() -> None:
    rates = ConnectionRates(MANY)
    flood, honest = rates.meter("192.0.2.1", 0.0), rates.meter("192.0.2.1", 0.0)
    waited = 0.0
    for tick in range(100):
        now = tick / 10
        flood.spend(10_000, 0, now)
        waited = max(waited, honest.spend(10, 0, now))
    assert waited <= 10 / SHARE
    assert flood.spend(0, 0, 10.0) > 100


def test_a_connection_has_its_share_however_many_share_the_address() -> None:
    rates = ConnectionRates(MANY)
    meters = [rates.meter("192.0.2.1", 0.0) for _ in range(100)]
    meters[0].spend(10_000, 0, 0.0)
    assert meters[1].spend(SHARE, 0, 0.0) == 1.0


def test_what_an_address_owes_is_remembered_when_its_connections_end() -> None:
    rates = ConnectionRates(MANY)
    meter = rates.meter("192.0.2.1", 0.0)
    meter.spend(10_000, 0, 0.0)
    rates.close(meter, "192.0.2.1", 0.0)
    again = rates.meter("192.0.2.1", 0.0)
    assert again.spend(SHARE, 0, 0.0) > 0
    rates.close(again, "192.0.2.1", 60.0)
    assert not rates._addresses


def test_a_debt_of_the_past_is_forgotten_while_the_address_owes_nothing() -> None:
    rates = ConnectionRates(RateLimits(address_items=1000))
    heavy, other = rates.meter("192.0.2.1", 0.0), rates.meter("192.0.2.1", 0.0)
    for tick in range(100):
        assert heavy.spend(90, 0, float(tick)) == 0
    other.spend(10_000, 0, 100.0)
    assert heavy.spend(1, 0, 100.0) <= 2.0
