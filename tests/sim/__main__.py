"""``python -m tests.sim --seed 7 --peers 10 --messages 1000`` plays one run again and says what came of it."""

import argparse

from tests.sim.network import Network
from tests.support.exit_codes import exit_with


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1, help="this many seeds, from --seed on")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.runs):
        outcome = Network(seed, options.peers, options.messages).run()
        print(outcome)
        failed += bool(outcome.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    exit_with(main)
