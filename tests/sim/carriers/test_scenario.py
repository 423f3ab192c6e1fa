"""How far, how often and how long bundles go among many carriers, in virtual time."""

from pathlib import Path

import pytest

from mm_services.messenger.protocol.limits import BLOCK, SKEW
from mmplatform.token_bucket import BURST
from tests.sim.carriers.scenario import A_MINUTE, CHOICE, HONEST, flood, letters, lives, mule, ring, zones
from tests.sim.carriers.world import TRIP, run

PER_KILL = 64 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "limit", "most_hops", "dead", "most_neighbours"),
    [(64, 6, 6, 0.0, 12), (64, 6, 10, 0.2, 12), (64, 2, 50, 0.0, 4), (32, 1, 50, 0.0, 2)],
)
def test_one_of_a_ring_is_heard_by_all_in_few_hops(
    tmp_path: Path, count: int, limit: int, most_hops: int, dead: float, most_neighbours: int
) -> None:
    spread = run(ring(tmp_path, count, limit, most_hops, dead))
    assert spread.hops <= most_hops
    assert spread.neighbours <= most_neighbours
    assert spread.offered <= count * most_neighbours


def test_a_small_ring_is_one_as_well(tmp_path: Path) -> None:
    spread = run(ring(tmp_path, 8, 3, 3))
    assert (spread.hops <= 3, spread.neighbours <= 6) == (True, True)


def test_one_of_overlapping_zones_is_heard_in_all(tmp_path: Path) -> None:
    spread = run(zones(tmp_path))
    assert spread.hops <= 50
    assert spread.offered <= 25 * spread.neighbours


def test_a_mule_brings_all_once_and_sends_nothing_twice(tmp_path: Path) -> None:
    """Where both had chosen each other one pushed what the other pulled: a large bundle went twice."""
    done = run(mule(tmp_path, [b"a" * 1000, b"b" * 20 * BLOCK, b"c" * 3 * BLOCK]))
    assert (done.arrived, done.carried, done.contacts, done.again) == (6, 6, 3, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_kill_of_either_has_little_of_a_message_sent_again(tmp_path: Path, seed: int) -> None:
    done = run(mule(tmp_path, letters(60), kill_every=1.0, seed=seed))
    assert done.arrived == 120
    assert done.kills >= 60
    assert done.of_one <= PER_KILL


@pytest.mark.parametrize("seed", range(5))
def test_no_hop_too_many_and_no_second_too_long(tmp_path: Path, seed: int) -> None:
    life = run(lives(tmp_path, seed))
    assert life.written == 6
    assert life.hops_beyond <= 0
    assert life.seconds_beyond <= 5


@pytest.mark.parametrize("seed", range(5))
def test_clocks_that_are_wrong_by_two_days_keep_nobody_from_a_message(tmp_path: Path, seed: int) -> None:
    right, wrong = run(lives(tmp_path / "right", seed)), run(lives(tmp_path / "wrong", seed, skew=SKEW / 2))
    assert wrong == right, "as long as no two of them are further apart than is allowed for"


@pytest.mark.slow
def test_a_sender_that_floods_over_ten_carriers_is_held_to_its_own_rate(tmp_path: Path) -> None:
    """Each of the ten offered what waited again as soon as one more would be taken: thousands of offers a second."""
    seconds = 20
    quiet, flooded = (run(flood(tmp_path / f"{rate}", rate, seconds)) for rate in (0, 20))
    assert flooded.honest == quiet.honest == HONEST * seconds
    assert 0 < flooded.flood <= (seconds + 2 * CHOICE + BURST) * A_MINUTE / 60
    assert flooded.p99 <= quiet.p99 + TRIP, "it waits for one push of the flood, at most"
