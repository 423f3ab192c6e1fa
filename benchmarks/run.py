"""``python -m benchmarks.run``: measure, print the tables, write ``results/latest.json`` and ``results/full.json``."""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import local, pipelining, results, table, targets, tls
from benchmarks.progress import Progress
from benchmarks.registry import PEERS, Entry
from benchmarks.results import PLATFORM, RELAYED, Measurement
from benchmarks.runner import Runner, Settings, plan
from benchmarks.workloads import PIPELINING, WORKLOADS
from tests.support.exit_codes import exit_with

HERE = Path(__file__).resolve().parent
LOCAL = "local"
PARTS = (*WORKLOADS, PIPELINING.name, LOCAL)
FULL_ROUNDS, FULL_SECONDS = 5, 330
QUICK_ROUNDS, QUICK_SECONDS = 3, 45
QUICK_SHARE = 0.3
LOCAL_TIMEOUT = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else FULL_SECONDS)
    started = time.monotonic()
    entries = [PEERS[name] for name in options.peers]
    missing = {entry.name: entry.missing for entry in entries if entry.missing}
    present = [entry for entry in entries if entry.name not in missing]
    rows, local_rows = asyncio.run(_measure(options, present))
    seconds = time.monotonic() - started
    return _conclude(options, rows, local_rows, missing, seconds)


async def _measure(options: argparse.Namespace, entries: Sequence[Entry]) -> tuple[list[Measurement], list[local.Row]]:
    settings = Settings(
        options.state,
        options.loop,
        share=QUICK_SHARE if options.quick else 1.0,
        timeout=10.0 if options.quick else 30.0,
    )
    deadline = time.monotonic() + options.seconds
    steps = plan(entries, [part for part in options.only if part != LOCAL], options.rounds)
    if any(entry.tls for entry in entries):
        tls.create(options.state / "tls")
    runner, rows, local_rows = Runner(settings), list[Measurement](), list[local.Row]()
    with _progress(len(steps) + (LOCAL in options.only)) as progress:
        if LOCAL in options.only:
            progress.begin("in one process")
            local_rows = await _local(options.quick)
            progress.end()
        begun = time.monotonic()
        for number, task, entry in steps:
            if rows and number > rows[-1].round and not _time_for(number, begun, deadline):
                break
            progress.begin(f"round {number + 1}: {task.name} {entry.name}")
            row = await runner.run((number, task, entry))
            rows += [row] if row else []
            progress.end(row)
    return rows, local_rows


def _time_for(number: int, begun: float, deadline: float) -> bool:
    """Whether one more round, as long as the ``number`` before it, would end in time."""
    now = time.monotonic()
    return now + (now - begun) / number <= deadline


async def _local(quick: bool) -> list[local.Row]:
    command = [sys.executable, "-m", "benchmarks.local", *(["--quick"] if quick else [])]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=HERE.parent)
    try:
        async with asyncio.timeout(LOCAL_TIMEOUT):
            output, _ = await process.communicate()
        return [local.Row(**row) for row in json.loads(output)]
    except (TimeoutError, ValueError) as error:
        return [local.Row("everything", "", error=f"python -m benchmarks.local: {error or 'time-out'}")]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _conclude(
    options: argparse.Namespace,
    rows: Sequence[Measurement],
    local_rows: Sequence[local.Row],
    missing: dict[str, str],
    seconds: float,
) -> int:
    """Print and write; the exit code is 1 when the platform or its relay could not be measured, or a peer had to be."""
    summaries, failed = results.summarise(rows), results.failures(rows)
    costs = pipelining.costs(rows)
    rounds = max((row.round for row in rows), default=-1) + 1
    in_process = {row.name: row.mm for row in local_rows if row.mm is not None}
    verdicts = targets.measured(summaries, pipelining.collapse(costs) if costs else None, in_process)
    tables = [table.render(summaries, failed, missing)] if summaries or failed or missing else []
    tables += [pipelining.render(costs)] if costs else []
    tables += [
        f"{PIPELINING.name}  {peer}  failed: {reason}" for peer, reason in failed.get(PIPELINING.name, {}).items()
    ]
    tables += [local.render(local_rows)] if local_rows else []
    tables += [targets.render(verdicts)]
    print("\n\n".join(tables))
    results.write(options.output, results.latest(summaries))
    more = {
        "settings": {"quick": options.quick, "rounds": rounds, "loop": options.loop, "seconds": round(seconds)},
        "missing": missing,
        "failed": failed,
        "pipelining": costs,
        "local": [asdict(row) for row in local_rows],
        "targets": [{"name": t.name, "limit": t.limit, "at_most": t.at_most, "measured": v} for t, v in verdicts],
    }
    results.write(options.output.with_name("full.json"), results.full(rows, summaries, **more))
    print(
        f"\n{rounds} rounds in {seconds:.0f} s; written: {options.output} and {options.output.with_name('full.json')}"
    )
    unmeasured = {*missing, *(peer for peers in failed.values() for peer in peers)}
    return 1 if unmeasured and (options.complete or unmeasured & {PLATFORM, RELAYED}) else 0


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Progress]:
    progress = Progress(total)
    try:
        yield progress
    finally:
        progress.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="This platform beside its peers.")
    parser.add_argument(
        "--quick", action="store_true", help="fewer messages a round, as many rounds as fit into a minute"
    )
    parser.add_argument("--only", type=_choices(PARTS), default=list(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--peers", type=_choices(tuple(PEERS)), default=list(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--complete", action="store_true", help="fail when a peer cannot be measured")
    parser.add_argument("--rounds", type=_positive, help=f"{FULL_ROUNDS}, with --quick {QUICK_ROUNDS}")
    parser.add_argument(
        "--seconds", type=_positive, help=f"start no round that ends later: {FULL_SECONDS}, {QUICK_SECONDS}"
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "latest.json", help="full.json goes beside it"
    )
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default=_default_loop(), help="of all asyncio peers")
    parser.add_argument("--state", type=Path, default=HERE / ".state", help="folder for logs and what brokers store")
    return parser


def _choices(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in chosen if name not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is not of {', '.join(known)}")
        return chosen

    return parse


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _default_loop() -> str:
    return "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"


if __name__ == "__main__":
    exit_with(main)
