"""Runs a program until signals end it, so that a platform stops in good order, with all files it may have."""

import asyncio
import gc
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)
MOST_DESCRIPTORS: Final = 65_536  # that a process asks for: connections are far fewer
LAST_TASKS: Final = 1.0  # seconds for what still runs when the program is over


def raise_descriptor_limit(wanted: int = MOST_DESCRIPTORS) -> int:
    """Let this process open as many files and connections as it may, ``wanted`` at most; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return wanted if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # some systems have a limit below the one they tell
        return soft
    return most


def freeze_loaded() -> None:
    """Let Python's collections leave out what is loaded by now and stays: a full one goes through all of it, and stops
    everything for 25 to 50 ms. For programs that are set up."""
    gc.collect()
    gc.freeze()


@contextmanager
def ended_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end``, in the running loop, at each SIGINT and SIGTERM; signals do what they did before, afterwards.

    Outside of the main thread there are no signals to wait for: then nothing is changed.
    """
    loop, process = asyncio.get_running_loop(), os.getpid()

    def ending(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            loop.call_soon_threadsafe(end)
            return
        earlier = before[signal.Signals(number)]  # a forked child ends as it would have
        signal.signal(number, earlier if earlier is not None else signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        for number in ENDING:
            signal.signal(number, ending)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` in an event loop of its own, as asyncio.run does; a task that will not end is left behind."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_TASKS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
