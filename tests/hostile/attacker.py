"""The process of an attacker: ``python -m tests.hostile.attacker NAME SOURCE SECONDS TARGET``, TARGET in JSON.

It prepares, prints ``ready``, waits for a line on its standard input, attacks for some seconds at the lowest priority,
leaves, and prints what it sent, got and found, as one line of JSON.
"""

import asyncio
import json
import os
import sys
import traceback
from contextlib import suppress

import uvloop

from tests.hostile.attack import Attack, Target
from tests.hostile.raw_link import Gone
from tests.hostile.registry import Run, load

PREPARATION = 60.0  # seconds that an attack may take to prepare
PAUSE = 0.05  # seconds before one that was cut off begins again
GRACE = 10.0  # seconds beyond its time after which an attack is cut off


async def main(name: str, source: str, seconds: float, target: Target) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    attack = Attack(target, source, seconds, _begin)
    with suppress(TimeoutError):
        async with asyncio.timeout(PREPARATION + seconds + GRACE):
            await again_and_again(attack, load()[name].run)
    attack.leave()
    await asyncio.sleep(0.05)
    report = {
        "sent": attack.traffic.sent, "received": attack.traffic.received, "connections": attack.traffic.connections,
        "findings": attack.findings, "notes": attack.notes,
    }  # fmt: skip
    print(json.dumps(report), flush=True)


async def again_and_again(attack: Attack, run: Run) -> None:
    """Attack; who is cut off, or is through early, begins again until the time is up."""
    while not (attack.started and attack.over):
        with suppress(Gone):
            await run(attack)
        await attack.go()
        await attack.pause(PAUSE)


async def _begin() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    os.nice(19)
    try:
        uvloop.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Target(**json.loads(sys.argv[4]))))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
