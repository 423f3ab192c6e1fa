"""The attacks of ``make hostile``: enough of them, each said in a line, and chosen by name."""

import pytest

from tests.hostile.registry import STAGES, chosen, load


def test_there_are_enough_and_each_says_what_it_does() -> None:
    attacks = load().values()
    assert len(attacks) >= 40
    assert {attack.stage for attack in attacks} == set(STAGES)
    assert sum(attack.friend for attack in attacks) >= 5
    for attack in attacks:
        assert attack.what.endswith("."), attack.name
        assert len(attack.name) <= 36, "the table has no room for more"


def test_a_quick_run_has_attacks_of_every_kind_and_fewer() -> None:
    quick = chosen("", quick=True)
    assert 40 <= len(quick) < len(chosen("", quick=False))
    assert {attack.stage for attack in quick} == set(STAGES)


def test_names_choose_and_unknown_ones_are_said() -> None:
    assert [attack.name for attack in chosen("pongs,pings", quick=True)] == ["pings", "pongs"]
    with pytest.raises(ValueError, match="no attack is called pigs"):
        chosen("pigs", quick=False)
