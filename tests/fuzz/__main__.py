"""Fuzzes every parser that takes bytes of others: ``make fuzz SECONDS=60``.

``python -m tests.fuzz [--seconds 60] [--only name,name] [--jobs 2] [--keep] [--list]``, with atheris. The targets share
the seconds; each runs in a process of its own, guided by coverage, from the seeds of docs/protocol/vectors and from
what tests/fuzz/corpus has, and mutates MessagePack as values, behind boxes and signatures. A typed error is what a
parser is for; anything else, and whatever takes a second, is a find: it is written to tests/fuzz/finds, and
``python -m tests.fuzz --replay FILE`` shows it again. ``--keep`` saves the smallest inputs that reached something new.
The last line is ``targets N, inputs N, finds N``, and the exit code is 0 only without finds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.support.exit_codes import exit_with

JOBS = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--only", default="", help="names of targets, with commas between them")
    parser.add_argument("--jobs", type=int, default=JOBS, help="processes at a time")
    parser.add_argument("--keep", action="store_true", help="save inputs that reached something new")
    parser.add_argument("--replay", type=Path, help="run one input, without the fuzzer")
    parser.add_argument("--once", action="store_true", help="run every seed and saved input once, without the fuzzer")
    parser.add_argument("--list", action="store_true", help="say what is fuzzed")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay)
    if options.once:
        return once()
    from tests.fuzz import instrumented

    targets = instrumented.load()
    if options.list:
        print("\n".join(targets))
        return 0
    names = [name for name in options.only.split(",") if name] or list(targets)
    if unknown := set(names) - targets.keys():
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are {', '.join(targets)}")
    with tempfile.TemporaryDirectory(prefix="mm-fuzz-") as folder:
        return run(names, options.seconds, options.jobs, Path(folder), options.keep)


def run(names: list[str], seconds: float, jobs: int, folder: Path, keep: bool) -> int:
    """Give each target its share of the time, ``jobs`` of them at a time."""
    from tests.fuzz.slices import Slice, Verdict  # imports the platform, which has to be instrumented before
    from tests.fuzz.target import TARGETS

    share = seconds * jobs / sum(TARGETS[name].weight for name in names)
    waiting, running, verdicts = list(names), dict[int, Slice](), list[Verdict]()
    while waiting or running:
        while waiting and len(running) < jobs:
            begun = Slice(waiting.pop(0), folder, share)
            running[begun.start()] = begun
        pid, status = os.wait()
        ended = running.pop(pid)
        verdicts.append(ended.verdict(status, keep))
        print(verdicts[-1], flush=True)
    finds = sum(len(verdict.finds) for verdict in verdicts)
    print(f"targets {len(verdicts)}, inputs {sum(verdict.inputs for verdict in verdicts)}, finds {finds}")
    return 1 if finds else 0


def replay(path: Path) -> int:
    """Run one input, whose target is the first part of its name; its error is raised."""
    from tests.fuzz.target import load

    name = path.name.partition("-")[0]
    begun = time.process_time()
    load()[name].begin()(path.read_bytes())
    print(f"{name}: nothing is wrong; {time.process_time() - begun:.2f} s")
    return 0


def once() -> int:
    """Run every seed and every saved input; the first error is raised."""
    from tests.fuzz.target import load

    count = 0
    for target in load().values():
        take = target.begin()
        for data in target.inputs():
            take(data)
            count += 1
    print(f"{count} inputs, nothing is wrong")
    return 0


if __name__ == "__main__":
    exit_with(main)
