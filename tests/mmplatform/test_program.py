"""Programs that end by signals, in processes of their own: in order, with the handlers of before, and always."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmplatform.program import MOST_DESCRIPTORS, raise_descriptor_limit

ROOT = Path(__file__).parents[2]

HEAD = """
import asyncio, signal, sys, threading, time
from mmplatform.program import ended_by_signals, run_to_end

TERM, INT = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)  # a background job ignores SIGINT

def say(text):
    print(text, flush=True)
"""

ORDERLY = """
async def main():
    over = asyncio.Event()
    with ended_by_signals(over.set):
        say("ready")
        await over.wait()
    say("in order" if signal.getsignal(signal.SIGTERM) is TERM else "not restored")
    say("in order" if signal.getsignal(signal.SIGINT) is INT else "not restored")

run_to_end(main())
say("over")
"""

AGAIN = """
async def main():
    seen = []
    over = asyncio.Event()
    def end():
        seen.append(1)
        say(f"signal {len(seen)}")
        if len(seen) == 2:
            over.set()
    with ended_by_signals(end):
        say("ready")
        await over.wait()

run_to_end(main())
say("over")
"""

BUSY = """
async def main():
    over = asyncio.Event()
    with ended_by_signals(over.set):
        say("ready")
        while not over.is_set():
            await asyncio.sleep(0)

run_to_end(main())
say("over")
"""

STUBBORN = """
import mmplatform.program
mmplatform.program.LAST_TASKS = 0.05

async def stubborn():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            say("no")

async def polite():
    try:
        await asyncio.sleep(1000)
    finally:
        say("yes")

async def main():
    over = asyncio.Event()
    with ended_by_signals(over.set):
        tasks = [asyncio.create_task(stubborn()), asyncio.create_task(polite())]
        await asyncio.sleep(0)
        say("ready")
        await over.wait()

run_to_end(main())
say("over")
"""

RAISING = """
async def main():
    with ended_by_signals(lambda: None):
        say("ready")
        raise ValueError("mine")

try:
    run_to_end(main())
except ValueError as error:
    say(f"{error} {error.__context__} {signal.getsignal(signal.SIGTERM) is TERM}")
"""

THREAD = """
async def main():
    with ended_by_signals(lambda: None):
        raise ValueError("mine")

def run():
    try:
        run_to_end(main())
    except ValueError as error:
        say(f"{error} {signal.getsignal(signal.SIGTERM) is TERM}")

say("ready")
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""

SERVED = """
import gc, os
from mmplatform import Platform
from mmplatform.plugins.service import Service

class Ending(Service):
    async def start(self, host):
        os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self):
        pass

platform = Platform(None, connection_info=[], transports=[], services=[Ending()])
say("ready")
platform.run()
say(f"{gc.get_freeze_count() > 10_000}")
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program, and wait until it says that it is ready."""
    started: list[subprocess.Popen[str]] = []

    def begin(program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + program], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def rest(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a program says before it ends, without an error."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read()  # not communicate(), which passes by what readline() has read already
    assert (process.wait(timeout=60), process.stderr.read()) == (0, "")
    return said.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_program_in_order(start: Start, number: signal.Signals) -> None:
    process = start(ORDERLY)
    process.send_signal(number)
    assert rest(process) == ["in order", "in order", "over"]


def test_each_signal_is_told(start: Start) -> None:
    process = start(AGAIN)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "signal 1\n"
    process.send_signal(signal.SIGINT)
    assert rest(process) == ["signal 2", "over"]


def test_a_signal_is_heard_by_a_busy_loop(start: Start) -> None:
    process = start(BUSY)
    process.send_signal(signal.SIGTERM)
    assert rest(process) == ["over"]


def test_a_task_that_will_not_end_is_left_behind(start: Start) -> None:
    process = start(STUBBORN)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert sorted(said.splitlines()) == ["no", "over", "yes"]


def test_an_error_of_the_program_is_its_own(start: Start) -> None:
    assert rest(start(RAISING)) == ["mine None True"]


def test_in_another_thread_nothing_is_changed(start: Start) -> None:
    assert rest(start(THREAD)) == ["mine True"]


def test_a_program_that_runs_is_not_stopped_by_collections_of_what_was_loaded_before(start: Start) -> None:
    assert rest(start(SERVED)) == ["True"]


@pytest.mark.parametrize(
    ("limits", "asked", "found"),
    [
        ((1024, 4096), [(4096, 4096)], 4096),
        ((4096, 4096), [], 4096),
        ((1024, resource.RLIM_INFINITY), [(MOST_DESCRIPTORS, resource.RLIM_INFINITY)], MOST_DESCRIPTORS),
        ((1 << 20, 1 << 20), [], 1 << 20),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), [], MOST_DESCRIPTORS),
    ],
)
def test_a_process_takes_the_descriptors_it_may_have(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], asked: list[tuple[int, int]], found: int
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: calls.append(wanted))
    assert raise_descriptor_limit() == found
    assert calls == asked


def test_a_system_that_does_not_raise_the_limit_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, wanted: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_descriptor_limit() == 256
