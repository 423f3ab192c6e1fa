"""Every accepted envelope ends in exactly one way and its sender sees it, whatever happens to relays and sessions."""

import subprocess
import sys

import pytest

from tests.sim.relay_mail.scenario import Life

pytestmark = pytest.mark.slow  # all of it takes many seconds


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_g1_g3_g4_g5_g10_a_troubled_life(seed: int) -> None:
    outcome = Life(seed, steps=150).run()
    assert outcome.wrong == [], f"python -m tests.sim.relay_mail --steps 150 --seed {seed}"
    assert outcome.accepted > 50
    assert outcome.ends["delivered"] > 30


@pytest.mark.parametrize("seed", range(3))
def test_g2_g14_without_trouble_everything_comes_once_and_in_order(seed: int) -> None:
    outcome = Life(seed, steps=100, trouble=False).run()
    assert outcome.wrong == []
    assert outcome.repeated == 0
    assert outcome.ends["delivered"] > 100


def test_one_seed_gives_one_run() -> None:
    assert Life(7, steps=40).run() == Life(7, steps=40).run()


def test_the_command_plays_a_run_again() -> None:
    command = [sys.executable, "-m", "tests.sim.relay_mail", "--seed", "3", "--steps", "60"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 3: accepted ")
    assert done.stdout.endswith("wrong: nothing\n")
