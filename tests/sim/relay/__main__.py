"""``python -m tests.sim.relay --seed 7 --kind fleet`` plays one run again and says what came of it."""

import argparse
import asyncio

from tests.sim.relay.scenario import Outcome, Scenario
from tests.support.exit_codes import exit_with

KINDS = {
    "one": {"relay": 0},
    "fleet": {"relay": 3},
    "federation": {"one": 0, "other": 0},
    "all": {"one": 2, "other": 0, "third": 2},
}


def play(kind: str, seed: int, steps: int, *, liars: bool = False, cuts: bool = False, peers: int = 8) -> Outcome:
    return asyncio.run(Scenario(seed, KINDS[kind], peers, liars=liars, cuts=cuts).run(steps))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.relay", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1, help="this many seeds, from --seed on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--liars", action="store_true")
    parser.add_argument("--cuts", action="store_true")
    given = parser.parse_args()
    failed = 0
    for seed in range(given.seed, given.seed + given.runs):
        outcome = play(given.kind, seed, given.steps, liars=given.liars, cuts=given.cuts)
        print(outcome)
        failed += bool(outcome.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    exit_with(main)
