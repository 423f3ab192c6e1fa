"""To which carriers bundles go, in which order, and what comes of it in a simulation."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.packets import MAX_COPIES, MAX_TABLE
from mm_services.messenger.protocol.predictability import UNIT
from mm_services.messenger.protocol.routing import (
    COPIES,
    MOST_TOLD,
    Epidemic,
    Prophet,
    Routed,
    RoutingPolicy,
    SprayAndWait,
    policy,
)
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import SignId
from tests.support.contact_traces import POLICIES, Outcome, run, scenarios

OWN, BUS, FAR, OTHER = (SignId(one) for one in ("own", "bus", "far", "other"))
NOW = 1_800_000_000.0
ALL: list[Callable[[], RoutingPolicy]] = [Epidemic, SprayAndWait, lambda: Prophet(OWN)]


def routed(*recipients: SignId, created: int = 1, copies: int = 0) -> Routed:
    return Routed(created.to_bytes(16), recipients, created, copies)


# What holds of all.


@pytest.mark.parametrize("make", ALL)
def test_a_recipient_gets_its_bundles_without_copies(make: Callable[[], RoutingPolicy]) -> None:
    assert make().hands(routed(FAR, BUS, copies=1), BUS, NOW) == 0
    assert make().hands(routed(BUS, copies=8), BUS, NOW) == 0


@pytest.mark.parametrize("make", ALL)
def test_what_is_for_everybody_goes_to_everybody(make: Callable[[], RoutingPolicy]) -> None:
    assert make().hands(routed(), BUS, NOW) == 0


@pytest.mark.parametrize("make", ALL)
def test_a_table_that_is_none_is_refused(make: Callable[[], RoutingPolicy]) -> None:
    for table in ({FAR: 2.0}, {SignId(str(number)): 0.1 for number in range(MAX_TABLE + 1)}):
        with pytest.raises(ProtocolError, match="bad-table"):
            make().told(BUS, table, NOW)


recipients = st.sets(st.sampled_from([BUS, FAR, OTHER])).map(tuple)
bundles = st.builds(Routed, st.binary(min_size=16, max_size=16), recipients, st.integers(1, 5), st.integers(0, 9))


@given(st.lists(bundles), st.sampled_from(range(3)))
def test_what_is_for_the_peer_goes_first_and_then_the_oldest(found: list[Routed], which: int) -> None:
    chooser = ALL[which]()
    order = chooser.chosen(found, BUS, NOW)
    assert sorted(order, key=lambda each: (BUS not in each[0].recipients, each[0].created, each[0].id)) == order
    assert {one.id for one, _ in order} == {one.id for one in found if chooser.hands(one, BUS, NOW) is not None}


@given(st.lists(bundles), st.sampled_from(range(3)))
def test_no_more_copies_are_given_than_there_are(found: list[Routed], which: int) -> None:
    for bundle, copies in ALL[which]().chosen(found, BUS, NOW):
        assert 0 <= copies <= bundle.copies // 2


# Each by itself.


def test_epidemic_hands_on_all() -> None:
    assert Epidemic().hands(routed(FAR), BUS, NOW) == 0
    assert Epidemic().table(NOW) == {}
    assert Epidemic().state() == []


def test_spray_halves_its_copies_and_waits_with_the_last() -> None:
    spray = SprayAndWait()
    assert spray.copies == COPIES
    given = [spray.hands(routed(FAR, copies=copies), BUS, NOW) for copies in (9, 8, 3, 2, 1, 0)]
    assert given == [4, 4, 1, 1, None, None]


def test_a_liar_has_us_hand_on_no_more_copies_than_so_many() -> None:
    assert SprayAndWait().hands(routed(FAR, copies=2**53 - 1), BUS, NOW) == MAX_COPIES // 2


def test_prophet_hands_to_who_is_likelier_to_meet_one_of_them() -> None:
    prophet = Prophet(OWN)
    assert prophet.hands(routed(FAR), BUS, NOW) is None
    prophet.met(BUS, NOW)
    prophet.told(BUS, {FAR: 0.6}, NOW)
    assert prophet.table(NOW) == {BUS: 0.5, FAR: pytest.approx(0.27)}
    assert prophet.hands(routed(FAR), BUS, NOW) == 0
    assert prophet.hands(routed(OTHER, FAR), BUS, NOW) == 0
    assert prophet.hands(routed(OTHER), BUS, NOW) is None
    prophet.met(FAR, NOW)
    prophet.met(FAR, NOW + 3600)
    assert prophet.hands(routed(FAR), BUS, NOW + 3600) is None  # we are likelier
    prophet.told(BUS, {}, NOW + 3600)  # only what was told last counts
    assert prophet.hands(routed(FAR), BUS, NOW + 10**6) is None


def test_what_was_told_ages_as_ours_does() -> None:
    prophet = Prophet(OWN)
    prophet.met(FAR, NOW)
    prophet.told(BUS, {FAR: 0.51}, NOW)
    assert prophet.hands(routed(FAR), BUS, NOW + 500 * UNIT) == 0
    prophet.told(BUS, {FAR: 0.49}, NOW)
    assert prophet.hands(routed(FAR), BUS, NOW + 500 * UNIT) is None


def test_tables_of_so_many_carriers_are_remembered() -> None:
    prophet = Prophet(OWN)
    for number in range(MOST_TOLD + 1):
        prophet.told(SignId(f"bus-{number}"), {FAR: 0.6}, NOW)
        prophet.told(BUS, {FAR: 0.6}, NOW)
    goes = [prophet.hands(routed(FAR), SignId(f"bus-{number}"), NOW) for number in range(MOST_TOLD + 1)]
    assert goes == [None, None] + [0] * (MOST_TOLD - 1)
    assert prophet.hands(routed(FAR), BUS, NOW) == 0


def test_prophet_knows_again_what_was_saved() -> None:
    prophet = Prophet(OWN)
    prophet.met(BUS, NOW)
    again = policy("prophet", OWN, prophet.state())
    assert again.table(NOW) == prophet.table(NOW) == {BUS: 0.5}


def test_policies_have_names() -> None:
    assert [type(policy(name, OWN)) for name in POLICIES] == [Epidemic, SprayAndWait, Prophet]
    assert policy("spray", OWN, copies=3).copies == 3
    with pytest.raises(ValueError, match="no policy 'flood'; there are epidemic, spray, prophet"):
        policy("flood", OWN)


# All together, simulated.


def outcomes(movement: str, seed: int) -> dict[str, Outcome]:
    [(contacts, sent)] = [(contacts, sent) for name, contacts, sent in scenarios(seed) if name == movement]
    return {name: run(make, contacts, sent) for name, make in POLICIES.items()}


@pytest.mark.parametrize("seed", range(3))
def test_among_those_who_wander_spray_costs_half_and_delivers_as_much(seed: int) -> None:
    found = outcomes("wandering", seed)
    assert found["epidemic"].ratio == 1.0
    assert found["spray"].ratio >= 0.98
    assert found["spray"].transmissions < 0.5 * found["epidemic"].transmissions
    assert found["epidemic"].delay < found["spray"].delay < 2 * found["epidemic"].delay


@pytest.mark.parametrize("seed", range(3))
def test_between_villages_prophet_knows_the_buses(seed: int) -> None:
    found = outcomes("villages", seed)
    assert found["prophet"].ratio >= 0.98
    assert found["spray"].ratio <= 0.85
    assert found["prophet"].transmissions < 0.8 * found["epidemic"].transmissions
    assert found["prophet"].delay < 2 * found["epidemic"].delay
