"""Attacks of one stranger, or one friend, on a node and on a relay, each beside honest peers: ``make hostile``.

``python -m tests.hostile [--only name,name] [--seconds 3] [--quick] [--pairs 100] [--priority 0] [--list]``. The victim
is a process on uvloop with honest peers beside it; an attacker is a process of its own at the lowest priority, with one
address and any number of keys. First nothing happens, to know how the honest peers fare in quiet; then one attack after
the other runs against the same victim, until one breaks something: the next one gets a new victim. A line an attack
says whether the victim held, or what broke; ``verdict.py`` has the bounds. The last line is ``attacks N, held N``, and
the exit code is 0 only when the two are the same.
"""

import argparse
import asyncio
import os
import time

from tests.hostile.registry import Registered, chosen
from tests.hostile.run import Director
from tests.support.exit_codes import exit_with
from tests.support.registered import progress, verdict

SECONDS = 3.0
QUICK_SECONDS = 1.5
PAIRS = 100
QUICK_PAIRS = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--only", default="", help="names of attacks, with commas between them")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long an attack lasts")
    parser.add_argument("--pairs", type=int, default=0, help="honest pairs at a relay")
    parser.add_argument("--quick", action="store_true", help="fewer attacks, shorter, with fewer pairs")
    parser.add_argument("--priority", type=int, default=0, help="nice value of all but attackers, for a busy machine")
    parser.add_argument("--list", action="store_true", help="say what there is, and attack nobody")
    options = parser.parse_args()
    try:
        attacks = chosen(options.only, options.quick)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{each.name:37}{each.what}" for each in attacks))
        return 0
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    pairs = options.pairs or (QUICK_PAIRS if options.quick else PAIRS)
    return asyncio.run(run(attacks, Director(seconds, pairs, options.quick, options.priority)))


async def run(attacks: list[Registered], director: Director) -> int:
    broke: list[str] = []
    begun = time.monotonic()
    try:
        for number, attack in enumerate(attacks, 1):
            progress(f"{number}/{len(attacks)} {attack.name}")
            reasons, figures = await director.judge(attack)
            progress("")
            line = f"{attack.name:37}{'held' if not reasons else 'BROKE'}  {figures}"
            line += "".join(f"\n{'':37}  {reason}" for reason in reasons)
            print(line, flush=True)
            if reasons:
                broke.append(line)
    finally:
        await director.close()
    print(f"{time.monotonic() - begun:.0f} s on {os.cpu_count()} cores")
    return verdict("attacks", len(attacks), broke)


if __name__ == "__main__":
    exit_with(main)
