"""The real clock of tests, in one place: wait until something holds, see that it stays so, keep the pace of a load.

No test sleeps by itself (tests/test_tests.py): what is long enough on a busy machine is too long on all others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final, TypeVar

T = TypeVar("T")
Condition = Callable[[], object | Awaitable[object]]

DEADLINE: Final = 20.0  # seconds until something must have happened; nothing takes longer because of it
LONGEST: Final = 1.0  # seconds that a test may watch or pause at once
LOOK: Final = 0.001  # seconds between two looks at what has no event


async def until(condition: Condition, timeout: float = DEADLINE) -> None:
    """Wait until ``condition`` is true; fail after ``timeout`` seconds. It may be a coroutine function."""
    async with asyncio.timeout(timeout):
        while not await _holds(condition):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(LOOK)


async def stays(condition: Condition, seconds: float) -> None:
    """Fail unless ``condition`` is true from now on for ``seconds``: nothing tells that something did not happen."""
    assert seconds <= LONGEST
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert await _holds(condition)
        await asyncio.sleep(LOOK)
    assert await _holds(condition)


async def pace(seconds: float) -> None:
    """Pause between two steps of a load, of an attack or of a random life, which have a pace of their own."""
    assert seconds <= LONGEST
    await asyncio.sleep(seconds)


def wait_until(condition: Callable[[], T], timeout: float = 1.5 * DEADLINE) -> T:
    """Block until ``condition`` is true, in tests of processes; fail after ``timeout`` seconds.

    Returns:
        What was true.
    """
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(5 * LOOK)
    return found


async def _holds(condition: Condition) -> object:
    found = condition()
    return await found if isawaitable(found) else found
