"""Nodes on loopback, with keys of their own: other tests may run beside these and be heard, too."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_services.mdns.interfaces import hears_itself


@pytest.fixture(scope="session")
def multicast() -> None:
    """For tests that need it on loopback."""
    if not hears_itself("127.0.0.1"):
        pytest.skip("loopback carries no multicast here")


@pytest.fixture(autouse=True)
async def nothing_escapes(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No exception that the event loop had to report, no error in the log, no task left over."""
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    yield
    assert escaped == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mm ")] == []
