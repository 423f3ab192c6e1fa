"""For every test: Hypothesis does not watch the clock, which says how busy the machine is; and what may not escape."""

import asyncio
import gc
import inspect
import logging
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("mm", deadline=None)
settings.load_profile("mm")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or the processes of tests would ignore it as well


def pytest_collection_finish() -> None:
    """Keep what was imported out of later collections of garbage, which would go through all of it in every test."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def escaped() -> AsyncIterator[list[dict[str, Any]]]:
    """An exception that the event loop had to report fails the test, unless the test takes it out of this list."""
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    yield escaped
    assert escaped == []


@pytest.fixture(autouse=True)
def loops_are_watched(request: pytest.FixtureRequest) -> None:
    """Use ``escaped`` for every test that runs on a loop."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("escaped")


@pytest.fixture
async def nothing_escapes(
    escaped: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[list[dict[str, Any]]]:
    """An error in the log fails the test, as an exception that escapes does."""
    yield escaped
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
