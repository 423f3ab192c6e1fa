"""``python -m tests.sim.dht --nodes 200 --seed 1``: our DHT and the stock package on one hostile network, and hops."""

import argparse
import time
from math import log2

from tests.sim.dht.scenario import Measured, Scenario, run
from tests.support.exit_codes import exit_with

SHARES = {"dead": 0.3, "hostile": 0.2, "loss": 0.05}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--look-ups", type=int, default=1000)
    parser.add_argument(
        "--hops", type=int, nargs="*", default=[50, 100, 200, 500, 1000], help="sizes of quiet networks"
    )
    options = parser.parse_args()
    if options.hops:
        print("hops to the record in networks without loss and lies (k = 20, whose tables hold small networks whole)")
        print(f"{'nodes':>7} {'log2 n':>7} {'mean hops':>10} {'asked':>6} {'p50 ms':>7}")
        for size in options.hops:
            quiet = _quiet(size, options.seed)
            mean, asked = _mean(quiet.hops), _mean(quiet.asked)
            print(f"{size:7} {log2(size):7.1f} {mean:10.2f} {asked:6.1f} {quiet.percentile(50):7.0f}", flush=True)
    print(f"\n{options.nodes} nodes, seed {options.seed}, {options.look_ups} look-ups:", end=" ")
    print("40 ms round trip, 5 % loss, 30 % dead, 20 % hostile")
    ours, seconds = _timed(lambda: run(options.nodes, options.seed, options.look_ups, **SHARES))
    try:
        from tests.sim.dht import stock
    except ModuleNotFoundError:
        print("  the stock package is not installed: pip install 'mm-platform[stock-dht]'")
    else:
        theirs, their_seconds = _timed(lambda: stock.run(options.nodes, options.seed, options.look_ups, **SHARES))
        _say("kademlia (stock)", theirs, their_seconds)
    _say("mm_services.kademlia", ours, seconds)
    print(_line(ours))
    return 0 if ours.share() >= 99 and not ours.wrong else 1


def _quiet(size: int, seed: int) -> Measured:
    scenario = Scenario(size, seed, records=100)
    scenario.grow()
    scenario.publish(1)
    return scenario.look_up(200)


def _timed(work):  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def _say(name: str, measured: Measured, seconds: float) -> None:
    print(f"  {name}: {_line(measured)}, forged values returned {measured.wrong}   [{seconds:.0f} s to simulate]")


def _line(measured: Measured) -> str:
    return f"found {measured.share():.1f} %, p50 {measured.percentile(50):.0f} ms, p99 {measured.percentile(99):.0f} ms"


def _mean(numbers: list[int]) -> float:
    return sum(numbers) / max(1, len(numbers))


if __name__ == "__main__":
    exit_with(main)
