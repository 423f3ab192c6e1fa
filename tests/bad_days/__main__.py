"""Bad days of stores, relays, clusters, networks and browsers, with real processes: ``make bad-days``.

``python -m tests.bad_days [--only name,name] [--quick] [--list]``. A line a day says what senders, recipients and the
operator were told and how long it took, or what broke: something accepted that was lost, something repeated, or a
"stored", "signed in" or "ready" that was untrue for more than 15 s. What broke is said once more at the end; the last
line is ``days N, held N``, and the exit code is 0 only when the two are the same.
"""

import argparse
import asyncio
import logging
import os
import tempfile
import time
from pathlib import Path

from tests.bad_days.registry import BadDay, chosen
from tests.bad_days.scene import Broke, LeftOut, Scene
from tests.support.exit_codes import exit_with
from tests.support.registered import progress, verdict


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bad_days", description=__doc__)
    parser.add_argument("--only", default="", help="names of days, with commas between them")
    parser.add_argument("--quick", action="store_true", help="the days that take few seconds")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    options = parser.parse_args()
    try:
        days = chosen(options.only, options.quick)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{each.name:38}{each.what}" for each in days))
        return 0
    logging.getLogger("mmplatform").setLevel(logging.CRITICAL)  # what nodes are told is in the table
    return asyncio.run(run(days))


async def run(days: list[BadDay]) -> int:
    broke: list[str] = []
    begun = time.monotonic()
    for number, day in enumerate(days, 1):
        progress(f"{number}/{len(days)} {day.name}")
        started = time.monotonic()
        reason, told = await live(day)
        progress("")
        line = f"{day.name:38}{'BROKE' if reason else 'held':6}{time.monotonic() - started:5.1f} s  {'; '.join(told)}"
        if reason:
            line += f"\n{'':38}{reason}"
            broke.append(line)
        print(line, flush=True)
    print(f"{time.monotonic() - begun:.0f} s")
    return verdict("days", len(days), broke)


async def live(day: BadDay) -> tuple[str, list[str]]:
    """Return what broke, "" when nothing did, and what was told."""
    with tempfile.TemporaryDirectory(prefix="mm-day-") as folder:
        scene = Scene(Path(folder))
        try:
            async with asyncio.timeout(day.most), scene:
                await day.run(scene)
        except LeftOut as reason:
            scene.tell(f"left out: {reason}")
            return "it was left out" if os.environ.get("CI") else "", scene.told
        except Broke as broke:
            return str(broke), scene.told
        except TimeoutError:
            return f"not over after {day.most:.0f} s", scene.told
        except Exception as error:
            return f"the day itself failed: {error!r}", scene.told
        return "", scene.told


if __name__ == "__main__":
    exit_with(main)
