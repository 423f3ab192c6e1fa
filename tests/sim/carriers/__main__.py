"""``python -m tests.sim.carriers [--lives 10000]``: rings, zones, mules and lives of carriers in virtual time."""

import argparse
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mm_services.messenger.protocol.limits import SKEW
from tests.sim.carriers import scenario
from tests.sim.carriers.world import run
from tests.support.exit_codes import exit_with

SCENARIOS: dict[str, Callable[[Path], Coroutine[Any, Any, Any]]] = {
    "64 in a ring, 6 neighbours chosen": lambda folder: scenario.ring(folder, 64, 6, 6),
    "the same, 20 % of them dead": lambda folder: scenario.ring(folder, 64, 6, 10, dead=0.2),
    "64 in a ring, 2 neighbours chosen": lambda folder: scenario.ring(folder, 64, 2, 50),
    "32 in a ring, 1 neighbour chosen": lambda folder: scenario.ring(folder, 32, 1, 50),
    "25 in 10 zones": scenario.zones,
    "ten write to one": lambda folder: scenario.flood(folder, 0, 20),
    "the same, somebody floods over all": lambda folder: scenario.flood(folder, 20, 20),
    "a mule, 500 letters each way": lambda folder: scenario.mule(folder, scenario.letters(500)),
    "the same, a kill each 3 s": lambda folder: scenario.mule(folder, scenario.letters(500), kill_every=3.0),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=1000, help="seeded runs of carriers that move about")
    options = parser.parse_args()
    for name, play in SCENARIOS.items():
        began = time.monotonic()
        print(f"{name}: {_played(play)}  ({time.monotonic() - began:.0f} s)", flush=True)
    for skew in (0.0, SKEW / 2):
        lives = [_life(seed, skew) for seed in range(options.lives)]
        written, got = sum(life.written for life in lives), sum(life.got for life in lives)
        hops, seconds = max(life.hops_beyond for life in lives), max(life.seconds_beyond for life in lives)
        print(
            f"{len(lives)} lives, clocks {2 * skew / 3600:.0f} h apart: {written} bundles, got {got} times",
            end="",
        )
        print(f"; beyond the most hops {hops}, beyond the lifespan {seconds:.1f} s", flush=True)
    return 0


def _life(seed: int, skew: float) -> scenario.Life:
    life: scenario.Life = _played(lambda folder: scenario.lives(folder, seed, skew))
    return life


def _played(play: Callable[[Path], Coroutine[Any, Any, Any]]) -> Any:
    with tempfile.TemporaryDirectory(prefix="mm-carriers-") as folder:
        return run(play(Path(folder)))


if __name__ == "__main__":
    exit_with(main)
