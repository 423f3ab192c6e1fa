"""``python -m tests.sim.relay_mail --seed 7``: one life, played again."""

import argparse

from tests.sim.relay_mail.scenario import Life, Outcome


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--runs", type=int, default=1, help="so many seeds from this one on")
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--calm", action="store_true", help="no kills, cuts and lost sessions")
    given = options.parse_args()
    outcomes = [
        Life(seed, steps=given.steps, trouble=not given.calm).run()
        for seed in range(given.seed, given.seed + given.runs)
    ]
    for outcome in outcomes:
        print(line(outcome))
    return int(any(outcome.wrong for outcome in outcomes))


def line(outcome: Outcome) -> str:
    ends = ", ".join(f"{state} {count}" for state, count in sorted(outcome.ends.items()))
    declined = ", ".join(f"{reason} {count}" for reason, count in sorted(outcome.declined.items()))
    wrong = "\n  ".join(outcome.wrong) or "nothing"
    return (
        f"seed {outcome.seed}: accepted {outcome.accepted} ({ends}; ends repeated {outcome.repeated}), "
        f"declined {declined or 0}; wrong: {wrong}"
    )


raise SystemExit(main())
