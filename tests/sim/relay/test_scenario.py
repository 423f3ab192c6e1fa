"""Seeded trouble for relays: order per flow, nothing twice, bounded memory, every pause resumed, every end told.

``python -m tests.sim.relay`` plays a seed again.
"""

import pytest

from tests.sim.relay.__main__ import KINDS, play
from tests.sim.relay.scenario import SMALL


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_g7_g9_g14_under_trouble(kind: str, seed: int) -> None:
    outcome = play(kind, seed, 500)
    assert outcome.wrong == [], f"python -m tests.sim.relay --kind {kind} --seed {seed} --steps 500"
    assert outcome.delivered > 50
    assert outcome.paused > 0
    assert outcome.most <= SMALL.total
    assert outcome.half_open <= outcome.opened // 10


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["federation", "all"])
def test_liars_and_links_that_are_cut(kind: str, seed: int) -> None:
    outcome = play(kind, seed, 500, liars=True, cuts=True)
    assert outcome.wrong == [], f"python -m tests.sim.relay --kind {kind} --seed {seed} --steps 500 --liars --cuts"
    assert outcome.delivered > 50


def test_one_seed_gives_one_run() -> None:
    assert str(play("all", 7, 200)) == str(play("all", 7, 200))
