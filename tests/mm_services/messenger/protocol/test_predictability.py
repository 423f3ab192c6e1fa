"""How likely a carrier meets another one: the equations of RFC 6693, and what others may say."""

from math import inf, nan

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol.packets import MAX_TABLE
from mm_services.messenger.protocol.predictability import GAMMA, LEAST, TYPICAL, UNIT, Likelihood, Predictability
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import SignId

OWN, BUS, FAR, OTHER = (SignId(one) for one in ("own", "bus", "far", "other"))
NOW = 1_800_000_000.0
names = st.sampled_from([BUS, FAR, OTHER])


def known(*met: SignId) -> Predictability:
    found = Predictability(OWN)
    for peer in met:
        found.meet(peer, NOW)
    return found


# Encounters, ageing, transitivity.


def test_the_first_meeting_counts_a_half() -> None:
    assert known().of(BUS, NOW) == 0.0
    assert known(BUS).of(BUS, NOW) == 0.5


def test_a_later_meeting_counts_the_more_the_longer_it_took() -> None:
    """P = P_old + (1 - delta - P_old) * P_encounter, P_encounter = 0.7 * interval / I_typ up to 0.7."""
    for seconds, share in ((0.0, 0.0), (TYPICAL / 2, 0.35), (TYPICAL, 0.7), (2 * TYPICAL, 0.7)):
        found = known(BUS)
        old = found.of(BUS, NOW + seconds)
        found.meet(BUS, NOW + seconds)
        assert found.of(BUS, NOW + seconds) == pytest.approx(old + (0.99 - old) * share)


def test_time_makes_it_less_likely() -> None:
    assert known(BUS).of(BUS, NOW + UNIT) == pytest.approx(0.5 * GAMMA)
    assert known(BUS).of(BUS, NOW + 100 * UNIT) == pytest.approx(0.5 * GAMMA**100)
    assert known(BUS).of(BUS, NOW - 3600) == 0.5  # a clock that was put back


def test_who_was_not_met_for_long_is_met_for_the_first_time_again() -> None:
    found = known(BUS)
    late = NOW + 2000 * UNIT
    assert found.of(BUS, late) < 0.1
    found.meet(BUS, late)
    assert found.of(BUS, late) == 0.5


def test_what_others_meet_is_likely_too() -> None:
    """P(A,C) = max(P_old, P(A,B) * P(B,C) * beta)."""
    found = known(BUS)
    found.hear(BUS, {FAR: 0.8, OWN: 1.0, BUS: 1.0}, NOW)
    assert found.of(FAR, NOW) == pytest.approx(0.5 * 0.8 * 0.9)
    assert found.of(OWN, NOW) == 0.0
    assert found.of(BUS, NOW) == 0.5
    found.hear(BUS, {FAR: 0.1}, NOW)
    assert found.of(FAR, NOW) == pytest.approx(0.36)
    found.meet(FAR, NOW)  # never met before: how long it took is not known
    assert found.of(FAR, NOW) == pytest.approx(0.36 + (0.99 - 0.36) * 0.5)


def test_who_was_not_met_is_believed_nothing() -> None:
    found = known()
    found.hear(BUS, {FAR: 1.0}, NOW)
    assert found.of(FAR, NOW) == 0.0


@given(st.lists(st.tuples(names, st.floats(0, 1), st.floats(0, 10_000)), max_size=50))
def test_it_is_always_a_likelihood(story: list[tuple[SignId, float, float]]) -> None:
    found, now = known(), NOW
    for peer, value, pause in story:
        now += pause
        before = found.of(peer, now)
        found.meet(peer, now)
        assert found.of(peer, now) >= before
        found.hear(peer, {FAR: value, OWN: value}, now)
        assert all(LEAST <= one <= 0.99 for one in found.table(now).values())
        assert OWN not in found.table(now)


# What is told.


def test_the_likeliest_are_told_first_and_the_least_likely_not_at_all() -> None:
    found = known(BUS)
    found.hear(BUS, {FAR: 0.05, OTHER: 0.9}, NOW)
    assert list(found.table(NOW)) == [BUS, OTHER, FAR]
    assert list(found.table(NOW + 900 * UNIT)) == [BUS, OTHER]
    assert found.table(NOW + 10_000 * UNIT) == {}


@pytest.mark.parametrize("value", [-0.1, 1.1, nan, inf, -inf])
def test_what_is_no_likelihood_is_refused_with_all_that_came(value: float) -> None:
    found = known(BUS)
    with pytest.raises(ProtocolError, match="bad-table"):
        found.hear(BUS, {OTHER: 0.5, FAR: value}, NOW)
    assert list(found.table(NOW)) == [BUS]


def test_too_large_a_table_is_refused() -> None:
    crowd = {SignId(str(number)): 0.5 for number in range(MAX_TABLE + 1)}
    with pytest.raises(ProtocolError, match="bad-table"):
        known(BUS).hear(BUS, crowd, NOW)


def test_a_liar_drives_out_nobody_that_we_met_nor_all_that_others_told() -> None:
    found = known(BUS, OTHER)
    honest = {SignId(f"far-{number}"): 0.1 for number in range(300)}
    found.hear(OTHER, honest, NOW)
    for attempt in range(3):
        found.hear(BUS, {SignId(f"made-{attempt}-{number}"): 1.0 for number in range(MAX_TABLE)}, NOW)
    table = found.table(NOW)
    assert len(table) == MAX_TABLE
    assert {BUS, OTHER} <= set(table)
    assert set(honest) <= set(table)


def test_of_too_many_met_the_likeliest_stay() -> None:
    found = Predictability(OWN)
    for number in range(MAX_TABLE + 100):
        found.meet(SignId(str(number)), NOW + number)
    assert set(found.table(NOW + 2000)) == {str(number) for number in range(100, MAX_TABLE + 100)}


# What is saved.


def test_what_was_saved_is_known_again() -> None:
    found = known(BUS)
    found.hear(BUS, {FAR: 0.8}, NOW)
    saved = msgpack.unpackb(msgpack.packb(found.state()))
    again = Predictability(OWN, saved)
    for later in (0.0, 5000.0):
        assert again.table(NOW + later) == found.table(NOW + later) != {}
        found.meet(BUS, NOW + later)
        again.meet(BUS, NOW + later)


@pytest.mark.parametrize(
    "row",
    [
        None, 7, "far", [], ["far"], ["far", 2.0, 1.0, 0.0, ""], ["far", nan, 1.0, 0.0, ""], ["far", 0.5, inf, 0.0, ""],
        ["far", 0.5, 1.0, -1.0, ""], ["far", 0.5, 1.0, 0.0, 3], [3, 0.5, 1.0, 0.0, ""], ["far", "0.5", 1.0, 0.0, ""],
    ],
)  # fmt: skip
def test_what_was_damaged_on_disk_is_left_out(row: object) -> None:
    good = ["bus", 0.5, NOW, NOW, ""]
    assert Predictability(OWN, [row, good]).table(NOW) == {BUS: 0.5}


def test_no_more_is_taken_from_disk_than_fits() -> None:
    rows = ([str(number), 0.5, NOW, NOW, ""] for number in range(10**9))
    assert len(Predictability(OWN, rows).table(NOW)) == MAX_TABLE


def test_a_likelihood_ages_by_itself() -> None:
    assert Likelihood(1.0, NOW).aged(NOW + 2 * UNIT) == pytest.approx(GAMMA**2)
