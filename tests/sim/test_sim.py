"""Networks of two to ten peers under trouble: nothing lost, nothing twice, in order, and everything ends."""

import subprocess
import sys

import pytest

from tests.sim.network import Network


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("peers", [2, 3, 5, 10])
def test_a_troubled_network(peers: int, seed: int) -> None:
    outcome = Network(seed * 100 + peers, peers, 150).run()
    assert outcome.wrong == [], f"python -m tests.sim --seed {outcome.seed} --peers {peers} --messages 150"
    assert outcome.sent == 150
    assert outcome.ends["delivered"] > 50


def test_one_seed_gives_one_run() -> None:
    first, second = (str(Network(7, 4, 200).run()) for _ in range(2))
    assert first == second


def test_the_command_plays_a_run_again() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seed", "3", "--peers", "3", "--messages", "50"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("seed 3: sent 50, delivered")
    assert done.stdout.endswith("wrong: nothing\n")
