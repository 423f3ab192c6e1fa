"""All about relays in one go: ``python -m benchmarks.relay [--quick] [--output results/relay.json]``.

Live and stored messages beside their peers (R1, R2, R5 of :mod:`benchmarks.run`), idle connections, honest pairs beside
a flood, and a dead relay beside others. The exit code is 1 when a target was missed.
"""

import argparse
import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import relay_dead_link, relay_flood, relay_idle, results, run
from benchmarks.table import aligned
from tests.support.exit_codes import exit_with

HERE = Path(__file__).resolve().parent
WORKLOADS = "R1,R2,R5"
CONNECTIONS, QUICK_CONNECTIONS = 5000, 500
TWINS = 10_000  # of RMB, idle on TLS
TWINS_MB = 400  # of memory, at most
PEERS = "mm-relay,mm-direct,nats-tls,mosquitto-tls,redis-fsync,jetstream-fsync"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers and fewer rounds")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "relay.json")
    options = parser.parse_args()
    workloads = options.output.with_name("relay-workloads.json")
    quick = ["--quick"] if options.quick else []
    failed = run.main(["--only", WORKLOADS, "--peers", PEERS, "--output", str(workloads), *quick])
    print()
    found = asyncio.run(_measure(options.quick))
    verdicts = _verdicts(found)
    print(relay_idle.render([relay_idle.Row(**row) for row in found["idle"]]))
    print()
    print(aligned([("target", "wanted", "measured", ""), *verdicts]))
    results.write(options.output, found | {"workloads": json.loads(workloads.read_text())})
    print(f"\nwritten: {options.output}")
    return 1 if failed or any(row[3] != "met" for row in verdicts) else 0


async def _measure(quick: bool) -> dict[str, Any]:
    connections = QUICK_CONNECTIONS if quick else CONNECTIONS
    idle = [await relay_idle.measure(connections, plain) for plain in (False, True)]
    idle.append(await relay_idle.measure(connections if quick else TWINS, False, rmb=True))
    flood = await relay_flood.measure(2 if quick else 5)
    print(relay_flood.render(flood))
    dead = await relay_dead_link.measure(1 if quick else 3)
    print(relay_dead_link.render(dead) + "\n")
    return {
        "idle": [asdict(row) for row in idle],
        "flood": flood.figures(),
        "deadLane": dead.figures(),
    }


def _verdicts(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    lost, ratio = sum(row["lost"] for row in found["idle"]), found["flood"]["ratio"]
    twins = relay_idle.Row(**found["idle"][-1]).mb_of(TWINS)
    shares = [("live", found["deadLane"]["liveShare"]), ("mail", found["deadLane"]["mailShare"])]
    return [
        ("idle connections lost", "<= 0", str(lost), _met(lost == 0)),
        (f"MB with {TWINS:,} idle twins", f"<= {TWINS_MB}", f"{twins:.0f}", _met(twins <= TWINS_MB)),
        ("p99 beside a flood / p99", f"<= {relay_flood.LIMIT:g}", f"{ratio:.2f}", _met(ratio <= relay_flood.LIMIT)),
        *(
            (f"{what} beside dead relays / without", f">= {relay_dead_link.LIMIT:g}", f"{share:.2f}",
             _met(share >= relay_dead_link.LIMIT))
            for what, share in shares
        ),
    ]  # fmt: skip


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    exit_with(main)
